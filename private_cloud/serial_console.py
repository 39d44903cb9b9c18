"""Knows how a guest's Linux is given a serial console: by a word in its boot loader's files."""

from __future__ import annotations

import re

# The last console= is the one that init speaks on. Plymouth would keep systemd's messages to itself.
WORDS = "console=tty0 console=ttyS0,115200n8 systemd.show_status=true plymouth.enable=0"
_IN_THE_WAY = {"quiet", "rhgb", "splash"}

# Beside these, a /boot of its own holds the same without the first folder.
PATTERNS = (
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
