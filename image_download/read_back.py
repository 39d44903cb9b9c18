"""Proves a file from storage while it is being written: each stretch is flushed, dropped from memory, read again.

Reading everything again at the end takes as long as the disk needs for it; behind the writer it hides in the time
that the network takes, and only the last stretches are left for the end. Where the network is faster than the disk
nothing hides: reading then only slows the writing down (measured: 2.5 s for both together, 2.1 s one after the
other), and `Flusher` leaves it for the end.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from image_download.sparse_file import crc64_of_range, open_storage
from migration.progress import Stop

# Bytes to read at a time behind a writer: of a download that is gone on with there may be terabytes to read, and
# neither who closes the file nor a writer that has become faster than the disk must wait for them.
READ_AT_ONCE = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Stretch:
    """A range of the file, in bytes, that nobody writes to any more, and the CRC-64 of what was written there."""

    start: int
    end: int
    crc64: int


class ReadBack:
    """What has been written to one file and not yet been seen in storage. Thread-safe."""

    def __init__(self, path: Path, *, evict: bool = True) -> None:
        """Watch over the file at `path`. `evict` lets what is settled leave memory: not for a file others read."""
        self._path = path
        self._evict = evict
        self._mutex = threading.Lock()
        self._written: deque[Stretch] = deque()
        self._settled: deque[Stretch] = deque()
        self._wrong: list[Stretch] = []
        # One at a time, so that who comes last waits for what another has taken.
        self._settling, self._reading = threading.Lock(), threading.Lock()

    def add(self, stretch: Stretch) -> None:
        """Take up a stretch that has been handed to the kernel."""
        with self._mutex:
            self._written.append(stretch)

    def settle(self) -> None:
        """Put all that has been taken up so far on stable storage."""
        with self._settling:
            with self._mutex:
                written = list(self._written)
                self._written.clear()
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            try:
                os.fdatasync(descriptor)
                if self._evict:
                    # The pages are used again for what comes next, while they are warm, and what others keep in
                    # memory stays there (measured: 1.3 s of CPU for a GiB, 1.7 s with ever new pages).
                    for stretch in written:
                        os.posix_fadvise(
                            descriptor, stretch.start, stretch.end - stretch.start, os.POSIX_FADV_DONTNEED
                        )  # fmt: skip
            finally:
                os.close(descriptor)
                with self._mutex:
                    self._settled += written

    def read(self, most: int | None = None, stop: Stop | None = None) -> None:
        """Read stretches that are on stable storage, at least one and about `most` bytes of them; all by default."""
        with self._reading, open_storage(self._path) as descriptor:
            total = 0
            while (most is None or total < most) and (stretch := self._next()) is not None:
                total += stretch.end - stretch.start
                self._read(descriptor, stretch, stop)

    def take_wrong(self) -> list[Stretch]:
        """Return, and forget, the stretches that did not read back as they were written."""
        with self._mutex:
            wrong, self._wrong = self._wrong, []
        return wrong

    def _next(self) -> Stretch | None:
        with self._mutex:
            return self._settled.popleft() if self._settled else None

    def _read(self, descriptor: int, stretch: Stretch, stop: Stop | None) -> None:
        try:
            found = crc64_of_range(descriptor, stretch.start, stretch.end, stop)
        except BaseException:
            with self._mutex:
                self._settled.appendleft(stretch)
            raise
        if found != stretch.crc64:
            with self._mutex:
                self._wrong.append(stretch)
