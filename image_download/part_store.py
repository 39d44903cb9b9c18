"""A file that is filled in parts, in any order, by several threads, and knows which parts it already has.

Knows nothing of where the bytes come from. The data goes to `<name>.partial`, the part map to
`<name>.parts`; the name itself appears once everything is there and proven.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from image_download import crc64
from image_download.part_map import KnownParts, ObjectIdentity, PartMap, read_part_map
from image_download.read_back import READ_AT_ONCE, ReadBack, Stretch
from image_download.sparse_file import PageBuffer, clear_range, write_sparsely
from migration.errors import MigrationError
from migration.progress import Stop
from migration.storage import format_size, sync_directory

log = logging.getLogger(__name__)

BUFFER = 1024 * 1024  # bytes; all that a writer holds, whatever the size of the parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What reading the file back found: the CRC-64 of all of it, and the parts that are not as they were received.

    The CRC-64 means something only where there are no bad parts.
    """

    crc64: int
    bad_parts: tuple[int, ...]


class PartStore:
    """The unfinished file. Made by `open_part_store`, valid while that block lasts. Thread-safe."""

    def __init__(
        self, path: Path, size: int, part_map: PartMap, known: KnownParts, *, resumed: bool, reads_behind: bool
    ) -> None:
        self.path = path
        self.size = size
        self.part_size = known.part_size
        self._map = part_map
        self._crcs = dict(known.crcs)
        self._mutex = threading.Condition()
        self._resumed = resumed
        self._reads_behind = reads_behind
        self._begun: set[int] = set()
        self._frontier = 0  # the first part that has not come
        self._advance_frontier()
        self._read_back = ReadBack(path, evict=reads_behind)
        for part, crc in self._crcs.items():
            self._read_back.add(Stretch(*self.bounds(part), crc))

    @property
    def part_count(self) -> int:
        return -(-self.size // self.part_size)

    @property
    def present_bytes(self) -> int:
        """How many bytes of the object are in the file."""
        with self._mutex:
            return sum(end - start for start, end in map(self.bounds, self._crcs))

    def bounds(self, part: int) -> tuple[int, int]:
        """Return where `part` starts and ends in the file, in bytes."""
        return part * self.part_size, min((part + 1) * self.part_size, self.size)

    def missing_parts(self) -> list[int]:
        """Return the numbers of the parts that have not come, in their order in the file."""
        with self._mutex:
            return [part for part in range(self.part_count) if part not in self._crcs]

    def wait_beyond(self, position: int, timeout: float) -> int:
        """Wait until the file has come without a gap beyond `position`; return up to where it has, in bytes.

        At most `timeout` seconds, so the answer may not be beyond it.
        """
        with self._mutex:
            self._mutex.wait_for(lambda: self.bounds(self._frontier)[0] > position, timeout)
            return min(self.bounds(self._frontier)[0], self.size)

    @contextmanager
    def open_writer(self) -> Iterator[PartWriter]:
        """Open a writer for one thread, with a descriptor and a buffer of its own."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            yield PartWriter(self, descriptor)
        finally:
            os.close(descriptor)

    def settle(self) -> None:
        """Put what has been recorded so far on stable storage, and remember that."""
        lines = self._map.lines
        self._read_back.settle()
        self._map.mark_synced(lines)

    def read_behind(self) -> None:
        """Read back some of what is on stable storage, if this store does so before the end."""
        if self._reads_behind:
            self._read_back.read(READ_AT_ONCE)

    def check(self, stop: Stop | None = None) -> Check:
        """Read back from storage what has not been yet. Every part must have come."""
        self.settle()
        self._read_back.read(stop=stop)
        crc = crc64.EMPTY
        for part in range(self.part_count):
            start, end = self.bounds(part)
            crc = crc64.combine(crc, self._crcs[part], end - start)
        bad_parts = sorted(stretch.start // self.part_size for stretch in self._read_back.take_wrong())
        return Check(crc64=crc, bad_parts=tuple(bad_parts))

    def forget(self, parts: Iterable[int]) -> None:
        """Take parts as missing again."""
        with self._mutex:
            for part in parts:
                self._crcs.pop(part, None)
                self._frontier = min(self._frontier, part)

    def publish(self, target: Path, *, parts: Path | None = None) -> None:
        """Give the finished file its name, durably. The part map becomes `parts`, or is dropped."""
        try:
            self.path.replace(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            raise MigrationError(
                f"{self.path.parent} and {target.parent} are on different file systems",
                "keep a workspace's folders on one file system",
            ) from error
        sync_directory(target.parent)
        sync_directory(self.path.parent)
        if parts is not None:
            self._map.path.replace(parts)
        else:
            self._map.path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Drop all that has come: it cannot be relied on."""
        self._map.path.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def begin(self, part: int, descriptor: int) -> None:
        """Make the range of `part` read as zeros: an earlier attempt may have left something there."""
        with self._mutex:
            is_clean = not self._resumed and part not in self._begun
            self._begun.add(part)
        if not is_clean:
            clear_range(descriptor, *self.bounds(part))

    def complete(self, part: int, crc: int) -> None:
        """Record that `part` has been written and what its CRC-64 was when it came."""
        self._map.add(part, crc)
        self._read_back.add(Stretch(*self.bounds(part), crc))
        with self._mutex:
            self._crcs[part] = crc
            self._advance_frontier()
            self._mutex.notify_all()

    def _advance_frontier(self) -> None:
        while self._frontier in self._crcs:
            self._frontier += 1


class PartWriter:
    """Takes the bytes of one part after the other, in order within the part, and puts them into the file.

    Whoever has bytes puts them into `space()` and says how many with `advance`: no copy is made on
    the way. `position` is the offset in the object of the next byte that is wanted.
    """

    def __init__(self, store: PartStore, descriptor: int) -> None:
        self._store = store
        self._descriptor = descriptor
        self._buffer = PageBuffer(BUFFER)
        self._view = self._buffer.view
        self._part = -1
        self._filled = 0
        self._crc = crc64.EMPTY
        self.position = 0
        self.end = 0

    def start(self, part: int) -> None:
        """Begin `part` from its first byte."""
        self._part, self._filled, self._crc = part, 0, crc64.EMPTY
        self.position, self.end = self._store.bounds(part)
        self._store.begin(part, self._descriptor)

    def space(self) -> memoryview:
        """Return where to put the next bytes; empty only once the part has all of them."""
        room = min(BUFFER - self._filled, self.end - self.position)
        return self._view[self._filled : self._filled + room]

    def advance(self, count: int) -> None:
        """Take `count` bytes that were put into `space()`."""
        self._filled += count
        self.position += count
        if self._filled == BUFFER or self.position == self.end:
            self._flush()

    def finish(self) -> None:
        """Record the part. All its bytes must have come."""
        self._store.complete(self._part, self._crc)

    def _flush(self) -> None:
        self._crc = crc64.extend(self._crc, self._view[: self._filled])
        write_sparsely(self._descriptor, self._buffer, self._filled, self.position - self._filled)
        self._filled = 0


def reopen_part_store(
    finished: Path, parts: Path, target: Path, identity: ObjectIdentity, damaged: Iterable[tuple[int, int]]
) -> bool:
    """Make a finished file, published with `parts`, the unfinished file of `target` again, without what is damaged.

    `damaged` are ranges in bytes that are whole parts. Returns False where `parts` is not of this object.
    """
    known = read_part_map(parts, identity)
    if known is None:
        return False
    bad_parts = {start // known.part_size for start, _ in damaged}
    left = {part: crc for part, crc in known.crcs.items() if part not in bad_parts}
    path, map_path = _names(target)
    path.unlink(missing_ok=True)
    # The map first: without its file it vouches for nothing, and a file without its map would be started anew.
    PartMap(map_path, identity, replace(known, crcs=left)).close()
    finished.replace(path)
    sync_directory(path.parent)
    sync_directory(finished.parent)
    return True


def _names(target: Path) -> tuple[Path, Path]:
    """Return where the unfinished file of `target` and its part map lie."""
    return target.with_name(f"{target.name}.partial"), target.with_name(f"{target.name}.parts")


@contextmanager
def open_part_store(
    target: Path, identity: ObjectIdentity, part_size: int, *, reads_behind: bool = True
) -> Iterator[PartStore]:
    """Open the unfinished file that will become `target`: where it was left, if it is of the same object.

    `part_size` is for a new file; one that is gone on with keeps the size it was begun with. `reads_behind`
    is for a file that will be proven by `check` in the end: it is read back from storage while it comes.
    """
    path, map_path = _names(target)
    known = read_part_map(map_path, identity)
    resumed = known is not None and path.is_file() and path.stat().st_size == identity.size
    if known is None or not resumed:
        if path.exists() or map_path.exists():
            log.warning("%s: what was left there is of another object or damaged: starting anew", path.name)
        # The map goes first: at no moment may it vouch for a file that it does not describe.
        map_path.unlink(missing_ok=True)
        sync_directory(path.parent)
        with path.open("wb") as file:
            file.truncate(identity.size)
        known = KnownParts(part_size=part_size, crcs={})
    else:
        _sync_data(path)  # the new map calls all parts synced
    part_map = PartMap(map_path, identity, known)
    store = PartStore(path, identity.size, part_map, known, resumed=resumed, reads_behind=reads_behind)
    if store.present_bytes:
        present, size = format_size(store.present_bytes), format_size(store.size)
        log.info("%s: %s of %s have come before and are not fetched again", path.name, present, size)
    try:
        yield store
    finally:
        part_map.close()


def _sync_data(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
