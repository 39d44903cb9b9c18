"""Parses which arrays the guest's mdadm knows by which name, and which disks it looks at (source: man 5 mdadm.conf)."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fstab_check.guest_files import GuestText

FILES = ("/etc/mdadm/mdadm.conf", "/etc/mdadm.conf")  # Debian's place, and the one of all others
FOLDERS = ("/etc/mdadm/mdadm.conf.d", "/etc/mdadm.conf.d")
MAX_LINES = 1000
_MAX_STARS = 4  # of one pattern: more would take long, and nobody writes them


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedArray:
    """An ARRAY line. `device` is "" where it names none, "<ignore>" for an array that is not to be started."""

    file: str
    line: int
    device: str
    uuid: str  # hexadecimal digits alone


@dataclass(frozen=True, slots=True, kw_only=True)
class MdConfig:
    """What was read. `devices` are the patterns of DEVICE lines, None where there are none: all disks are looked at."""

    arrays: tuple[ListedArray, ...] = ()
    devices: tuple[tuple[str, str, int], ...] | None = None  # pattern, file, line
    hostname: str = ""  # of the guest: arrays that were made on another host get names of their own
    homehost: str = ""
    files: tuple[str, ...] = ()

    def looks_at(self, path: str) -> bool:
        """Return whether mdadm looks at the disk or partition of this name."""
        return self.devices is None or any(_is_matched(path, pattern) for pattern, _, _ in self.devices)


def parse_md_config(files: Iterable[GuestText], hostname: str = "") -> MdConfig:
    """Parse any texts; lines of no known kind are passed over, as mdadm does with a warning."""
    arrays, devices, homehost, paths = [], [], "", []
    for file in files:
        paths.append(file.path)
        for number, words in _lines(file.text):
            keyword, rest = words[0].lower(), words[1:]
            if keyword.startswith("arr"):
                arrays.append(_array(file.path, number, rest))
            elif keyword.startswith("dev"):
                devices += [(word, file.path, number) for word in rest]
            elif keyword.startswith("homeh") and rest:
                homehost = rest[0]
    return MdConfig(
        arrays=tuple(arrays), devices=tuple(devices) or None, homehost=homehost,
        hostname=hostname.strip().partition(".")[0], files=tuple(paths),
    )  # fmt: skip


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the words of each line; one that begins with white space goes on with the line before it."""
    words: list[str] = []
    begun = 1
    for number, line in enumerate(text.split("\n")[:MAX_LINES], start=1):
        said = [word.strip("\"'") for word in line.partition("#")[0].split()]
        if said and line[:1] not in {" ", "\t"}:
            if words:
                yield begun, words
            words, begun = [], number
        words += said
    if words:
        yield begun, words


def _array(file: str, line: int, words: list[str]) -> ListedArray:
    device = words[0] if words and ("=" not in words[0] or words[0].startswith("/")) else ""
    said = {name.lower(): value for name, _, value in (word.partition("=") for word in words)}
    return ListedArray(file=file, line=line, device=device, uuid=re.sub(r"[^0-9a-f]", "", said.get("uuid", "").lower()))


def _is_matched(path: str, pattern: str) -> bool:
    if pattern in {"partitions", "containers"}:
        return True
    return len(pattern) <= 200 and pattern.count("*") <= _MAX_STARS and fnmatch.fnmatchcase(path, pattern)
