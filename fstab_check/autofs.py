"""Parses the maps of autofs, which mount what somebody looks into (sources: man 5 auto.master, man 5 autofs)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from fstab_check.guest_files import GuestText

MASTER = "/etc/auto.master"
FOLDER = "/etc/auto.master.d"
SUFFIX = ".autofs"
MAX_MAPS = 32
MAX_ENTRIES = 200  # of all maps

_MAP_KINDS = frozenset(
    {"file", "program", "exec", "yp", "nisplus", "hesiod", "ldap", "ldaps", "dir", "multi", "userdir"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterEntry:
    """A line of the master map: what is mounted below `mountpoint` ("/-": the map says whole paths)."""

    file: str
    line: int
    mountpoint: str
    kind: str  # "file", "program", "ldap", …; "-hosts" and the like stand in `map`
    map: str
    options: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AutofsEntry:
    """One place of a map and what is mounted there: `:/dev/sdb1` without the colon, or `server:/path`."""

    file: str
    line: int
    mountpoint: str
    location: str
    options: str

    @property
    def fstype(self) -> str:
        found = re.search(r"(?:^|,)fstype=([^,]+)", self.options)
        return found[1] if found else "" if self.location.startswith("/") else "nfs"


def parse_master(file: GuestText) -> Iterator[MasterEntry]:
    """Yield the lines of a master map; included maps of NIS or LDAP are not followed."""
    for number, words in _lines(file.text):
        if len(words) < 2 or not words[0].startswith("/"):
            continue  # `+dir:/etc/auto.master.d`, `+auto.master`
        kind, colon, rest = words[1].partition(":")
        has_kind = bool(colon) and kind.partition(",")[0] in _MAP_KINDS
        yield MasterEntry(
            file=file.path, line=number, mountpoint=words[0],
            kind=kind.partition(",")[0] if has_kind else "file", map=rest if has_kind else words[1],
            options=_options(words[2:]),
        )  # fmt: skip


def parse_map(file: GuestText, master: MasterEntry) -> Iterator[AutofsEntry]:
    """Yield each location in a map of kind `file`; a place with several has one entry for each."""
    for number, words in _lines(file.text):
        if words[0].startswith("+") or len(words) < 2:
            continue
        base = words[0] if master.mountpoint == "/-" else f"{master.mountpoint.rstrip('/')}/{words[0]}"
        mountpoint, options = base, ",".join(filter(None, [master.options, _options(words[1:2])]))
        for word in words[1:]:
            if word.startswith("-"):
                options = ",".join(filter(None, [master.options, word[1:]]))
            elif word.startswith("/"):  # a place below it: `key /sub server:/path`
                mountpoint = base + word.rstrip("/")
            elif ":" in word:
                location = word.removeprefix(":")
                yield AutofsEntry(
                    file=file.path, line=number, mountpoint=mountpoint, location=location, options=options
                )  # fmt: skip


def _options(words: list[str]) -> str:
    return ",".join(word[1:] for word in words if word.startswith("-") and not word.startswith("--"))


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the words of each line; one that ends with a backslash goes on in the next."""
    pending, begun = "", 0
    for number, line in enumerate(text.split("\n"), start=1):
        begun = begun if pending else number
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        words = (pending + line).partition("#")[0].split() if not (pending + line).startswith("#") else []
        pending = ""
        if words:
            yield begun, [word.strip('"') for word in words]
