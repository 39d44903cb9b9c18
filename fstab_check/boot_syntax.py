"""Knows how boot loaders write kernel command lines: GRUB's scripts and environment, BLS entries, the older formats.

Lines are bytes, as they lie in the guest; they end at a newline alone, as GRUB's do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from migration.str_enum import StrEnum

GRUBENV_SIZE = 1024  # bytes: GRUB refuses another size

# `linux /boot/vmlinuz-6.1 root=… ro` of GRUB 2 (also linux16, linuxefi), `kernel …` of GRUB 1.
_LINUX = rb"linux(?:16|efi)?|kernel"
_STARTS_KERNEL = rb"[ \t]*(?:" + _LINUX + rb")[ \t]"
_STARTS_ENTRY = re.compile(_STARTS_KERNEL + rb"|[ \t]*(?:menuentry|submenu|title)[ \t]")
_INITRD = re.compile(rb"[ \t]*initrd(?:16|efi)?[ \t]")

# Beside them `append …` of extlinux, which like all of SYSLINUX does not care for case, and `options …` of BLS.
_TOLD = re.compile(rb"\s*(?:(?:" + _LINUX + rb")\s+\S+|append|options)\s+(?P<arguments>.+?)\s*$", re.IGNORECASE)
_SET = re.compile(rb"\s*(?:set\s+)?(?P<name>[A-Za-z_]\w*)=(?P<value>.*?)\s*$")
_VARIABLE = re.compile(rb"\$(?:\{(\w+)\}|(\w+))")


class BootFileKind(StrEnum):
    """The files in which kernel command lines are kept, by their grammar."""

    GRUB_SCRIPT = "grub.cfg"
    GRUB_DEFAULT = "default/grub"
    GRUB_ENVIRONMENT = "grubenv"
    LOADER_ENTRY = "loader entry"


# Which lines of such a file are, or become, kernel command lines.
_COMMAND_LINES = {
    BootFileKind.GRUB_SCRIPT: re.compile(_STARTS_KERNEL + rb"|[ \t]*set[ \t]+(?:default_)?kernelopts="),
    BootFileKind.GRUB_DEFAULT: re.compile(rb"[ \t]*(?:export[ \t]+)?GRUB_CMDLINE_LINUX\w*="),
    BootFileKind.GRUB_ENVIRONMENT: re.compile(rb"kernelopts="),
    BootFileKind.LOADER_ENTRY: re.compile(rb"[ \t]*options[ \t]"),
}


def is_command_line(kind: BootFileKind, line: bytes) -> bool:
    """Return whether the line of such a file is, or becomes, a kernel command line."""
    return _COMMAND_LINES[kind].match(line) is not None


def starts_entry(line: bytes) -> bool:
    """Return whether what follows in a GRUB script is about another kernel than what went before."""
    return _STARTS_ENTRY.match(line) is not None


def loads_initramfs(line: bytes) -> bool:
    """Return whether the line names an initramfs for the kernel of its entry."""
    return _INITRD.match(line) is not None


def arguments_told(line: bytes) -> bytes | None:
    """Return what a line that starts a kernel, in any of the grammars, tells it; None for all other lines."""
    match = _TOLD.match(line)
    return match["arguments"] if match else None


def variable_set(line: bytes) -> tuple[bytes, bytes] | None:
    """Return the name and the value of the variable that a line sets, without its quotes, or None."""
    match = _SET.match(line)
    return (match["name"], match["value"].strip(b"\"'")) if match else None


def expand_variables(arguments: bytes, variables: Mapping[bytes, bytes]) -> bytes:
    """Return `arguments` with the variables put in for their names; those that are not known stay."""
    return _VARIABLE.sub(lambda name: variables.get(name[1] or name[2], name[0]), arguments)
