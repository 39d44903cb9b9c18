r"""The grammar of systemd's unit files, and the names that it makes of paths (source: man 5 systemd.unit).

/mnt/my disk ─ escape_path ─> mnt-my\x20disk.mount
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

MAX_SETTINGS = 1000  # of one file

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.")


@dataclass(frozen=True, slots=True)
class Setting:
    """`name=value` in a section of a unit file, `line` counted from 1."""

    section: str
    name: str
    value: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFile:
    """A unit's own file, or a drop-in for it; one that is empty or leads to /dev/null masks the unit."""

    path: str
    settings: tuple[Setting, ...] = ()
    is_masked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One unit as its files make it: the first of all that carry its name, and its drop-ins.

    `pulled_in_by` are the folders in which a symlink enables it: "multi-user.target.wants".
    """

    name: str
    file: UnitFile | None = None  # None: drop-ins alone, for what the fstab generator makes
    drop_ins: tuple[UnitFile, ...] = ()
    pulled_in_by: frozenset[str] = frozenset()

    @property
    def files(self) -> tuple[UnitFile, ...]:
        """Its file and its drop-ins; what a later one says counts."""
        return self.drop_ins if self.file is None else (self.file, *self.drop_ins)

    @property
    def is_masked(self) -> bool:
        return self.file is not None and self.file.is_masked

    @property
    def is_by_administrator(self) -> bool:
        """Its file lies where it counts before what the fstab generator makes; /usr/lib comes after that."""
        return self.file is not None and self.file.path.startswith("/etc/")

    @property
    def is_enabled(self) -> bool:
        return bool(self.pulled_in_by)

    def setting(self, section: str, name: str) -> Setting | None:
        """Return what counts: the last one of all files. An empty value counts too."""
        found = [setting for setting in self._settings() if (setting.section, setting.name) == (section, name)]
        return found[-1] if found else None

    def value(self, section: str, name: str) -> str:
        setting = self.setting(section, name)
        return setting.value if setting else ""

    def words(self, section: str, name: str) -> list[tuple[str, Setting]]:
        """Return the words of a setting that is a list: all of them together, an empty one begins anew."""
        found: list[tuple[str, Setting]] = []
        for setting in self._settings():
            if (setting.section, setting.name) == (section, name):
                words = [word.strip("\"'") for word in setting.value.split()]
                found = [*found, *((word, setting) for word in words)] if words else []
        return found

    def file_of(self, setting: Setting) -> str:
        """Return the path of the file in which `setting` stands."""
        return next(file.path for file in reversed(self.files) if any(other is setting for other in file.settings))

    def _settings(self) -> Iterable[Setting]:
        for file in self.files:
            yield from file.settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """The units of a guest that have to do with mounts, by name: mounts, swaps, automounts, enabled services."""

    by_name: Mapping[str, Unit] = field(default_factory=dict)
    all_names: frozenset[str] | None = None  # of unit files of every kind; None: nobody looked

    def get(self, name: str) -> Unit | None:
        return self.by_name.get(name)


def parse_unit(text: str) -> tuple[Setting, ...]:
    """Parse any text; what is no setting is passed over, as systemd does."""
    settings: list[Setting] = []
    section, pending, begun = "", "", 0
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if line[:1] in {"#", ";"} or (not line and not pending):
            continue  # a comment does not end a line that goes on
        begun = begun if pending else number
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        line, pending = (pending + line).strip(), ""
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif "=" in line and len(settings) < MAX_SETTINGS:
            name, _, value = line.partition("=")
            settings.append(Setting(section, name.strip(), value.strip(), begun))
    return tuple(settings)


def escape_path(path: str) -> str:
    r"""Return the stem of the unit for `path`, as `systemd-escape --path` does: `-` stands for `/`, `\x2d` for `-`."""
    parts = [part for part in path.split("/") if part not in {"", "."}]
    stem = b"-".join(_escape_part(part.encode("utf-8", "surrogateescape")) for part in parts)
    if stem.startswith(b"."):
        stem = rb"\x2e" + stem[1:]
    return stem.decode("ascii") or "-"


def unescape_path(stem: str) -> str:
    """Return the path that a mount unit's stem stands for."""
    if stem == "-":
        return "/"
    text = stem.replace("-", "/").encode("utf-8", "surrogateescape")
    plain = re.sub(rb"\\x([0-9a-fA-F]{2})", lambda match: bytes([int(match[1], 16)]), text)
    return "/" + plain.decode("utf-8", "surrogateescape")


def drop_in_folders(name: str) -> list[str]:
    """Return the folders with drop-ins for a unit, the last counts: `mount.d`, `data-.mount.d`, `data-www.mount.d`."""
    stem, _, kind = name.rpartition(".")
    parts = stem.split("-")
    prefixes = ["-".join(parts[:count]) + "-" for count in range(1, len(parts)) if parts[0]]
    return [f"{kind}.d", *(f"{prefix}.{kind}.d" for prefix in prefixes), f"{name}.d"]


def _escape_part(part: bytes) -> bytes:
    return b"".join(bytes([byte]) if byte in _PLAIN else b"\\x%02x" % byte for byte in part)
