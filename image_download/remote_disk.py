"""Reads a disk where it lies in the bucket, block by block, and remembers the blocks that were asked for last."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections import OrderedDict

from image_download.patience import Patience
from image_download.ranged_source import RangedSource, StaleCredentials
from image_download.settings import MIB, DownloadSettings
from migration.errors import CloudUnavailable

log = logging.getLogger(__name__)

BLOCK = 256 * 1024  # bytes; a request costs as much time as some hundred KiB
LONGEST_RUN = 4  # blocks fetched at once for a reader that goes straight on
CACHE_LIMIT = 128 * MIB  # bytes of blocks in memory, of all disks together
LONGEST_FETCH = 240.0  # seconds; the appliance gives a disk 300 before it takes it for broken

# A look that nobody answers for two minutes is given up: the download has more patience, and comes later.
FOR_A_LOOK = DownloadSettings(connections=2, idle_timeout=120)


class Breakdown:
    """The first thing that went wrong with any disk of a guest: from then on none of them is read. Thread-safe."""

    def __init__(self) -> None:
        self.failure: BaseException | None = None
        self.halt = threading.Event()
        self._mutex = threading.Lock()

    def happen(self, failure: BaseException) -> None:
        """Note what went wrong, unless something did before, or reading is over anyway."""
        with self._mutex:
            if self.failure is None and not self.halt.is_set():
                self.failure = failure
            self.halt.set()


class BlockCache:
    """Blocks of several disks, the least recently used let go first. Thread-safe."""

    def __init__(self, limit: int = CACHE_LIMIT) -> None:
        self._limit = limit
        self._size = 0
        self._blocks: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._mutex = threading.Lock()

    def get(self, disk: str, number: int) -> bytes | None:
        """Return a block, None where it was never there or is there no more."""
        with self._mutex:
            block = self._blocks.get((disk, number))
            if block is not None:
                self._blocks.move_to_end((disk, number))
            return block

    def put(self, disk: str, number: int, block: bytes) -> None:
        """Remember a block."""
        with self._mutex:
            before = self._blocks.pop((disk, number), b"")
            self._blocks[disk, number] = block
            self._size += len(block) - len(before)
            while self._size > self._limit:
                self._size -= len(self._blocks.popitem(last=False)[1])


class RemoteDisk:
    """One bare disk in the bucket. Thread-safe; one range is under way at a time."""

    def __init__(
        self,
        source: RangedSource,
        cache: BlockCache,
        breakdown: Breakdown,
        settings: DownloadSettings = FOR_A_LOOK,
    ) -> None:
        self.exported = source.exported
        self.size = source.exported.size
        self.bytes_read = 0  # that came from the bucket, those of broken answers among them
        self._source = source
        self._cache = cache
        self._breakdown = breakdown
        self._settings = settings
        self._mutex = threading.Lock()
        self._run = 1  # blocks fetched by the last range
        self._next = -1  # the block behind it

    def read(self, offset: int, length: int) -> bytearray:
        """Return `length` bytes from `offset`, which must exist.

        Raises `OSError` where they cannot be had; why, the breakdown says.
        """
        wanted = bytearray()
        last = (offset + length - 1) // BLOCK
        with self._mutex:
            for number in range(offset // BLOCK, last + 1):
                block = self._block(number, last)
                start = max(0, offset - number * BLOCK)
                wanted += memoryview(block)[start : start + length - len(wanted)]
        return wanted

    def abort(self) -> None:
        """Break off the range that is under way, from another thread."""
        self._source.abort()

    def _block(self, number: int, last: int) -> bytes:
        """Return a block, fetching it and those up to `last` if it is not here."""
        known = self._cache.get(self.exported.key, number)
        if known is not None:
            return known
        count = self._plan(number, last)
        start, end = number * BLOCK, min((number + count) * BLOCK, self.size)
        try:
            content = self._fetch(start, end)
        except BaseException as error:
            self._breakdown.happen(error)
            raise OSError(errno.EIO, f"{self._source.subject}: bytes {start}-{end - 1} cannot be had") from error
        for place in range(count):
            self._cache.put(self.exported.key, number + place, bytes(content[place * BLOCK : (place + 1) * BLOCK]))
        return bytes(content[:BLOCK])

    def _plan(self, number: int, last: int) -> int:
        """Return how many blocks to fetch: more of them for a reader that goes on where the last range ended."""
        self._run = min(2 * self._run, LONGEST_RUN) if number == self._next else 1
        end = number + min(max(self._run, last + 1 - number), LONGEST_RUN)
        count = 1
        while number + count < end and (number + count) * BLOCK < self.size:
            if self._cache.get(self.exported.key, number + count) is not None:
                break
            count += 1
        self._next = number + count
        return count

    def _fetch(self, start: int, end: int) -> memoryview:
        """Return the bytes of a range, in as many answers as it takes."""
        content = memoryview(bytearray(end - start))
        patience, failures, count = Patience(self._settings, self._breakdown.halt), 0, 0
        deadline = time.monotonic() + LONGEST_FETCH
        while count < len(content):
            before = self.bytes_read
            self._check(deadline)
            try:
                self._receive(start + count, content[count:], patience, deadline)
            except (CloudUnavailable, StaleCredentials) as error:
                self._check(deadline, error)
                failures = 1 if self.bytes_read > before else failures + 1
                patience.pause(failures, error)
            count += self.bytes_read - before
        return content

    def _receive(self, start: int, space: memoryview, patience: Patience, deadline: float) -> None:
        """Take one answer, as far as it goes: what has come is kept, only the rest is asked for again."""
        with self._source.open_range(start, start + len(space)) as body:
            while space:
                got = body.readinto(space)
                self._check(deadline)
                if not got:
                    raise CloudUnavailable(f"{self._source.subject}: an answer ended too early", "try again")
                patience.got_bytes()
                self.bytes_read += got
                space = space[got:]

    def _check(self, deadline: float, error: Exception | None = None) -> None:
        if self._breakdown.halt.is_set():
            raise OSError(errno.ECANCELED, "reading is over")
        if time.monotonic() > deadline:
            raise error or CloudUnavailable(
                f"{self._source.subject}: the bucket answers too slowly to be looked into",
                "download the disks, then look",
            )
