"""Reads what the boot loader will say to the kernel: GRUB's menus, BLS entries, and the older formats.

Only the kernel's arguments are taken; which entry is the default one is not followed, since all entries of a guest
mostly name the same root, and where they do not, nothing is claimed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

MAX_ENTRIES = 200  # of one guest; a menu has one for each kernel

# `linux /boot/vmlinuz-6.1 root=… ro` of GRUB 2 (also linux16, linuxefi), `kernel …` of GRUB 1, `append …` of extlinux.
_COMMAND = re.compile(
    r"^\s*(?:(?:linux(?:16|efi)?|kernel)\s+\S+|append|options)\s+(?P<arguments>.+?)\s*$", re.IGNORECASE
)
_SET = re.compile(r"^\s*(?:set\s+)?(?P<name>[A-Za-z_]\w*)=(?P<value>.*?)\s*$")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelEntry:
    """One way to start a kernel: `arguments` is what it is told, `file` and `line` (from 1) where that stands."""

    file: str
    line: int
    arguments: tuple[str, ...]

    def value_of(self, name: str) -> str | None:
        """Return what the last `name=` says, as the kernel takes it; None where there is none."""
        values = [word.partition("=")[2] for word in self.arguments if word.startswith(f"{name}=")]
        return values[-1].strip("\"'") if values else None


@dataclass(frozen=True, slots=True, kw_only=True)
class BootConfig:
    """All entries of a guest's boot loaders, and the files they were looked for in."""

    entries: tuple[KernelEntry, ...] = ()
    files: tuple[str, ...] = ()


def parse_boot_config(files: Mapping[str, bytes]) -> BootConfig:
    """Parse configuration files, by their path in the guest; nothing a guest can write makes this raise.

    A variable that stands in any of them (`kernelopts` in GRUB's environment block) is put in for its name.
    """
    texts = {path: content.decode("utf-8", "surrogateescape") for path, content in files.items()}
    variables: dict[str, str] = {}
    for text in texts.values():
        for line in text.splitlines():
            if match := _SET.match(line):
                variables[match["name"]] = match["value"].strip("\"'")
    entries = [entry for path, text in texts.items() for entry in _entries_of(path, text, variables)]
    return BootConfig(entries=tuple(entries[:MAX_ENTRIES]), files=tuple(files))


def _entries_of(path: str, text: str, variables: Mapping[str, str]) -> Iterator[KernelEntry]:
    for number, line in enumerate(text.splitlines(), start=1):
        match = _COMMAND.match(line)
        if match is None:
            continue
        told = _VARIABLE.sub(lambda name: variables.get(name[1] or name[2], name[0]), match["arguments"])
        yield KernelEntry(file=path, line=number, arguments=tuple(told.split()))
