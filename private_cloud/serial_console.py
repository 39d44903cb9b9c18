"""Gives a guest's Linux a serial console, in layers that are thrown away: by a word in its boot loader's files.

Run as a program, with layers as its arguments, as libguestfs calls cannot be interrupted and a process can;
it therefore imports nothing of ours.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

# The last console= is the one that init speaks on. Plymouth would keep systemd's messages to itself.
WORDS = "console=tty0 console=ttyS0,115200n8 systemd.show_status=true plymouth.enable=0"
_IN_THE_WAY = {"quiet", "rhgb", "splash"}

# Beside these, a /boot of its own holds the same without the first folder.
_PATTERNS = (
    "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/boot/efi/EFI/*/grub.cfg",
    "/boot/loader/entries/*.conf",
    "/boot/grub/menu.lst",
    "/boot/grub/grub.conf",
    "/boot/extlinux/extlinux.conf",
    "/boot/syslinux/syslinux.cfg",
    "/EFI/*/grub.cfg",
)

_KERNEL_LINE = re.compile(r"\s*(?:linux|linux16|linuxefi|kernel|append|options)\s", re.IGNORECASE)


def with_serial_console(text: str) -> str:
    """Return a boot loader's file (GRUB, BLS entry, extlinux) in which every Linux speaks on the serial port."""
    return "".join(_edited(line) for line in text.splitlines(keepends=True))


def _edited(line: str) -> str:
    body = line.rstrip("\r\n")
    # GRUB's menu also starts other things by these words, and a BLS entry names its kernel in a line of its own.
    match = _KERNEL_LINE.match(body)
    if not match or not _is_command_line(body):
        return line
    head, words = body[: match.end()], body[match.end() :].split(" ")
    kept = " ".join(word for word in words if word not in _IN_THE_WAY)
    return f"{head}{kept.rstrip()} {WORDS}{line[len(body) :]}"


def _is_command_line(body: str) -> bool:
    """Return whether the line holds a kernel's command line, rather than only its file name."""
    first, *rest = body.split()
    return first.lower() in {"append", "options"} or len(rest) > 1


def edit_layers(layers: list[str], scratch: str, *, kvm: bool) -> list[str]:
    """Edit the boot loaders' files in `layers` (qcow2) and return the paths of those that were found."""
    import guestfs  # noqa: PLC0415  # from the distribution: may be missing

    g = guestfs.GuestFS(python_return_dict=True)
    g.set_backend("direct")
    g.set_backend_settings([] if kvm else ["force_tcg=1"])
    g.set_tmpdir(scratch)
    g.set_network(False)
    g.set_recovery_proc(True)  # ends the appliance when we are killed
    for layer in layers:
        g.add_drive_opts(layer, format="qcow2", cachemode="unsafe")
    g.launch()
    found = [path for device, kind in g.list_filesystems().items() for path in _edit_file_system(g, device, kind)]
    g.shutdown()
    g.close()
    return found


def _edit_file_system(g: Any, device: str, kind: str) -> Iterator[str]:
    if kind in {"swap", "unknown", ""} or kind.endswith("_member"):
        return
    try:
        g.mount(device, "/")
    except RuntimeError:  # libguestfs has no exception type of its own; what cannot be mounted starts nothing
        return
    seen = set()
    for pattern in [*_PATTERNS, *(pattern.removeprefix("/boot") for pattern in _PATTERNS)]:
        for path in g.glob_expand(pattern):
            if path in seen or not g.is_file(path, followsymlinks=False) or g.filesize(path) > 1 << 20:
                continue
            seen.add(path)
            before = g.read_file(path)
            after = with_serial_console(before.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
            if after != before:
                g.write(path, after)
                yield f"{device}:{path}"
    g.umount_all()


if __name__ == "__main__":
    accelerator, folder, *files = sys.argv[1:]
    sys.stdout.write("".join(f"{path!r}\n" for path in edit_layers(files, folder, kvm=accelerator == "kvm")))
