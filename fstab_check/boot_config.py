"""Reads what the boot loader will say to the kernel: GRUB's menus, BLS entries, and the older formats.

Only the kernel's arguments are taken; which entry is the default one is not followed, since all entries of a guest
mostly name the same root, and where they do not, nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fstab_check.boot_syntax import arguments_told, expand_variables, variable_set

MAX_ENTRIES = 200  # of one guest; a menu has one for each kernel


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
    """All entries of a guest's boot loaders, and the files they were looked for in; or why nobody could look."""

    entries: tuple[KernelEntry, ...] = ()
    files: tuple[str, ...] = ()
    failure: str = ""


def parse_boot_config(files: Mapping[str, bytes]) -> BootConfig:
    """Parse configuration files, by their path in the guest; nothing a guest can write makes this raise.

    A variable that stands in any of them (`kernelopts` in GRUB's environment block) is put in for its name.
    """
    lines = {path: content.split(b"\n") for path, content in files.items()}
    variables = dict(found for of_file in lines.values() for line in of_file if (found := variable_set(line)))
    entries = [entry for path, of_file in lines.items() for entry in _entries_of(path, of_file, variables)]
    return BootConfig(entries=tuple(entries[:MAX_ENTRIES]), files=tuple(files))


def _entries_of(path: str, lines: Sequence[bytes], variables: Mapping[bytes, bytes]) -> Iterator[KernelEntry]:
    for number, line in enumerate(lines, start=1):
        told = arguments_told(line)
        if told is not None:
            words = expand_variables(told, variables).split()
            arguments = tuple(word.decode("utf-8", "surrogateescape") for word in words)
            yield KernelEntry(file=path, line=number, arguments=arguments)
