"""Knows how many bytes a second may be taken from the network by all connections that share one limit.

A reader pays after it has read: it takes what has come, at most a slice, and then waits until these
bytes were due. So nobody holds a share of the limit while waiting for a silent network, and the
kernel's receive window does the rest: the other side sends no faster than we read.
"""

from __future__ import annotations

import threading
import time

from migration.errors import InvalidInput

KIB = 1024

SMALLEST_LIMIT = 64 * KIB  # bytes a second; with less, OSS itself may hang up on connections it takes for dead
SLICES = 32  # in a second: often enough to be smooth, seldom enough to cost nothing
SMALLEST_SLICE, LARGEST_SLICE = 4 * KIB, 256 * KIB


class Bandwidth:
    """A number of bytes a second for everyone who holds this object, or None for no limit. Thread-safe.

    Whoever comes first is served first, and all take slices of the same size: fair to connections
    and disks alike. A network that was silent for a while is no credit for a burst later.
    """

    def __init__(self, bytes_per_second: int | None = None) -> None:
        if bytes_per_second is not None and bytes_per_second < SMALLEST_LIMIT:
            raise InvalidInput(
                f"a bandwidth limit of {bytes_per_second} bytes a second", f"give {SMALLEST_LIMIT // KIB}K or more"
            )
        self.bytes_per_second = bytes_per_second
        self._slice = min(LARGEST_SLICE, max(SMALLEST_SLICE, (bytes_per_second or 0) // SLICES))
        self._mutex = threading.Lock()
        self._paid_until = 0.0  # on the monotonic clock: when all that was read so far is due

    def slice(self, wanted: int) -> int:
        """Return how many of `wanted` bytes may be read at once, so that nobody else waits long."""
        return wanted if self.bytes_per_second is None else min(wanted, self._slice)

    def pay(self, count: int, halt: threading.Event) -> float:
        """Wait until `count` bytes, and all that were read before them, are due; return the seconds that took.

        `halt` ends the wait.
        """
        if self.bytes_per_second is None:
            return 0.0
        with self._mutex:
            now = time.monotonic()
            self._paid_until = max(now, self._paid_until) + count / self.bytes_per_second
            due = self._paid_until
        halt.wait(due - now)
        return time.monotonic() - now  # a busy machine may have let us sleep longer


UNLIMITED = Bandwidth()
