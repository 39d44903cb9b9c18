"""Remembers, beside an unfinished file, which of its parts have come: small, appended to, and safe to be killed over.

A line of text for each part, `<number> <CRC-64 in hex>`, written when the part's bytes have been handed
to the kernel, and now and then `synced <n>`: the first n lines are of bytes that are on stable storage.
A process that is killed loses nothing it has handed over, so all lines count; after a crash or a power
cut (seen by the kernel's boot id) only the synced ones do. The lines need no checksum of their own:
every part is compared with its CRC-64, from storage, before the file is called finished.

A part of 16 MiB costs about 24 bytes: 3 MiB for 2 TiB.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from migration.storage import write_atomically

VERSION = 1

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectIdentity:
    """What tells one object of OSS from another, or from its successor of the same name. `size` is bytes."""

    bucket: str
    key: str
    etag: str
    size: int
    crc64: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownParts:
    """What a part map says: the size of the parts in bytes, and the CRC-64 of each part that is there, by number."""

    part_size: int
    crcs: dict[int, int]


class PartMap:
    """The map file, open for adding to. Thread-safe."""

    def __init__(self, path: Path, identity: ObjectIdentity, known: KnownParts) -> None:
        """Write the map anew, with what is known to be on stable storage, and keep it open."""
        self.path = path
        write_atomically(path, _render(identity, known))
        self._mutex = threading.Lock()
        self._lines = len(known.crcs)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def add(self, part: int, crc: int) -> None:
        """Remember that the bytes of `part` have been handed to the kernel, and their CRC-64."""
        with self._mutex:
            if self._descriptor >= 0:
                os.write(self._descriptor, f"{part} {crc:016x}\n".encode())
                self._lines += 1

    @property
    def lines(self) -> int:
        """How many parts have been added. Ask before flushing the data, then give it to `mark_synced`."""
        return self._lines

    def mark_synced(self, lines: int) -> None:
        """Remember durably that the data of the first `lines` parts is on stable storage."""
        with self._mutex:
            if self._descriptor >= 0:
                os.write(self._descriptor, f"synced {lines}\n".encode())
                os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Let go of the file. What comes later, from a thread that was slow to stop, is not written."""
        with self._mutex:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1


def read_part_map(path: Path, identity: ObjectIdentity) -> KnownParts | None:
    """Return the parts that can be relied on, or None where the map is missing, unreadable or of another object."""
    try:
        head, *lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        found = json.loads(head)
    except (OSError, json.JSONDecodeError):
        return None
    if not isinstance(found, dict) or found.get("version") != VERSION or found.get("object") != asdict(identity):
        return None
    part_size = found.get("part_size")
    if not isinstance(part_size, int) or part_size <= 0:
        return None
    synced, crcs = _parse_lines(lines[:-1])  # what follows the last line feed was cut off while it was written
    if found.get("boot_id") != _boot_id():
        crcs = crcs[:synced]
    part_count = -(-identity.size // part_size)
    return KnownParts(part_size=part_size, crcs={part: crc for part, crc in crcs if 0 <= part < part_count})


def _parse_lines(lines: list[str]) -> tuple[int, list[tuple[int, int]]]:
    """Return how many parts are synced, and number and CRC-64 of each, up to the first line that is damaged."""
    synced, crcs = 0, []
    for line in lines:
        word, _, value = line.partition(" ")
        try:
            if word == "synced":
                synced = int(value)
            else:
                crcs.append((int(word), int(value, 16)))
        except ValueError:
            break
    return synced, crcs


def _render(identity: ObjectIdentity, known: KnownParts) -> str:
    head = {
        "version": VERSION,
        "object": asdict(identity),
        "part_size": known.part_size,
        "boot_id": _boot_id(),
    }
    lines = [f"{part} {crc:016x}\n" for part, crc in known.crcs.items()]
    return "".join([json.dumps(head), "\n", *lines, f"synced {len(lines)}\n"])


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return f"unknown {os.urandom(8).hex()}"  # equal to nothing: rely on synced parts only
