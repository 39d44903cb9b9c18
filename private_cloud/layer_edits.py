"""Makes a guest speak, in layers that are thrown away: a serial console for its boot loader, a witness for its systemd.

Run as a program, as libguestfs calls cannot be interrupted and a process can: the layers are its arguments, what to do
comes on stdin, and what was done goes to stdout, both as JSON.
"""

from __future__ import annotations

import json
import posixpath
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from private_cloud.serial_console import PATTERNS, with_serial_console

_LABEL = "security.selinux"
_FOLDER = "/etc/systemd/system"
_MOST_ROOTS = 20  # a guest with btrfs may hold a snapshot for every day


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """What to do: a serial console or not, and files and symbolic links (path to target) for roots with systemd."""

    serial_console: bool = False
    files: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """What was done: the boot loaders' files that were edited, and why nothing was planted, "" if it was."""

    boot_files: tuple[str, ...]
    why_not_planted: str


def edit_layers(layers: list[str], scratch: str, edits: Edits, *, kvm: bool) -> Edited:
    """Make `edits` to what is in `layers` (qcow2). Raises `RuntimeError` where there is no appliance."""
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
    boot_files, planted, refusals = list[str](), 0, list[str]()
    for device, kind in g.list_filesystems().items():
        if not _mount(g, device, kind):
            continue
        if edits.serial_console:
            boot_files += [f"{device}:{path}" for path in _add_serial_console(g)]
        try:
            if edits.files and planted < _MOST_ROOTS and _has_systemd(g):
                _plant(g, edits)
                planted += 1
        except RuntimeError as error:  # libguestfs has no exception type of its own
            refusals.append(f"nothing can be added to its root: {error}")
        g.umount_all()
    g.shutdown()
    g.close()
    why_not = (refusals or ["no file system that can be read holds a root with systemd"])[0]
    return Edited(boot_files=tuple(boot_files), why_not_planted="" if planted else why_not)


def _mount(g: Any, device: str, kind: str) -> bool:
    if kind in {"swap", "unknown", ""} or kind.endswith("_member"):
        return False
    try:
        g.mount(device, "/")
    except RuntimeError:  # what cannot be mounted starts nothing
        return False
    return True


def _add_serial_console(g: Any) -> list[str]:
    """Edit the boot loaders' files in what is mounted, and return those that were."""
    seen, edited = set(), []
    for pattern in [*PATTERNS, *(pattern.removeprefix("/boot") for pattern in PATTERNS)]:
        for path in g.glob_expand(pattern):
            if path in seen or not g.is_file(path, followsymlinks=False) or g.filesize(path) > 1 << 20:
                continue
            seen.add(path)
            before = g.read_file(path)
            after = with_serial_console(before.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
            if after != before:
                g.write(path, after)
                edited.append(path)
    return edited


def _has_systemd(g: Any) -> bool:
    """Return whether what is mounted is a root with systemd; where /usr lies elsewhere, its folder in /etc says so."""
    programs = ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")
    has_program = any(g.is_file(path, followsymlinks=True) for path in programs)
    return g.is_dir("/etc", followsymlinks=True) and (has_program or g.is_dir(_FOLDER, followsymlinks=True))


def _plant(g: Any, edits: Edits) -> None:
    g.mkdir_p(_FOLDER)
    try:
        # Under SELinux, init may not care for a file without a label: ours get that of the folder, as a new unit does.
        label = g.lgetxattr(_FOLDER, _LABEL).rstrip(b"\0").decode("ascii")
    except RuntimeError:
        label = ""
    made, real = [], dict[str, str]()
    for folder in sorted({posixpath.dirname(path) for path in (*edits.files, *edits.links)}):
        if not g.is_dir(folder, followsymlinks=True):
            g.mkdir_p(folder)
            made.append(folder)
        # ln_sf, unlike the others, follows an absolute link of the guest's to a place outside of it.
        real[folder] = g.realpath(folder)

    def place(path: str) -> str:
        return posixpath.join(real[posixpath.dirname(path)], posixpath.basename(path))

    for path, text in edits.files.items():
        g.write(place(path), text.encode())
        g.chmod(0o644, place(path))
    for path, target in edits.links.items():
        g.ln_sf(target, place(path))
    for path in (*made, *map(place, (*edits.files, *edits.links))) if label else ():
        g.lsetxattr(_LABEL, label, len(label), path)


if __name__ == "__main__":
    accelerator, folder, *names = sys.argv[1:]
    what = Edits(**json.load(sys.stdin))
    sys.stdout.write(json.dumps(asdict(edit_layers(names, folder, what, kvm=accelerator == "kvm"))))
