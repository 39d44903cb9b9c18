"""Knows how many bytes a second may be taken from the network by all connections that share one limit.

A reader pays after it has read: it takes what has come, at most a slice, and then waits until these
bytes were due. So nobody holds a share of the limit while waiting for a silent network, and the
kernel's receive window does the rest: the other side sends no faster than we read.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from migration.errors import InvalidInput
from migration.storage import format_size

log = logging.getLogger(__name__)

KIB = 1024

SMALLEST_LIMIT = 64 * KIB  # bytes a second; with less, OSS itself may hang up on connections it takes for dead
SLICES = 32  # in a second: often enough to be smooth, seldom enough to cost nothing
SMALLEST_SLICE, LARGEST_SLICE = 4 * KIB, 256 * KIB
ASK_EVERY = 1.0  # seconds between two looks at a plan


class Bandwidth:
    """A number of bytes a second for everyone who holds this object, or None for no limit. Thread-safe.

    Whoever comes first is served first, and all take slices of the same size: fair to connections
    and disks alike. A network that was silent for a while is no credit for a burst later.

    With a `plan` the number is whatever that says at the time, and a download that lasts for days follows it.
    """

    def __init__(self, bytes_per_second: int | None = None, *, plan: Callable[[], int | None] | None = None) -> None:
        if bytes_per_second is not None and bytes_per_second < SMALLEST_LIMIT:
            raise InvalidInput(
                f"a bandwidth limit of {bytes_per_second} bytes a second", f"give {SMALLEST_LIMIT // KIB}K or more"
            )
        self._rate = bytes_per_second
        self._plan = plan
        self._asked_at = -ASK_EVERY  # on the monotonic clock
        self._mutex = threading.Lock()
        self._paid_until = 0.0  # on the monotonic clock: when all that was read so far is due

    @property
    def bytes_per_second(self) -> int | None:
        """The number that holds now, None for no limit."""
        if self._plan is not None and time.monotonic() - self._asked_at >= ASK_EVERY:
            rate, self._asked_at = self._plan(), time.monotonic()
            if rate != self._rate:
                log.info("Bandwidth limit from now on: %s", "none" if rate is None else f"{format_size(rate)}/s")
            self._rate = rate
        return self._rate

    def slice(self, wanted: int) -> int:
        """Return how many of `wanted` bytes may be read at once, so that nobody else waits long."""
        rate = self.bytes_per_second
        if rate is not None:
            return min(wanted, LARGEST_SLICE, max(SMALLEST_SLICE, rate // SLICES))
        # What is read without a limit may have to be paid for under one that begins meanwhile.
        return wanted if self._plan is None else min(wanted, LARGEST_SLICE)

    def pay(self, count: int, halt: threading.Event) -> float:
        """Wait until `count` bytes, and all that were read before them, are due; return the seconds that took.

        `halt` ends the wait.
        """
        rate = self.bytes_per_second
        if rate is None:
            return 0.0
        with self._mutex:
            now = time.monotonic()
            self._paid_until = max(now, self._paid_until) + count / rate
            due = self._paid_until
        halt.wait(due - now)
        return time.monotonic() - now  # a busy machine may have let us sleep longer


UNLIMITED = Bandwidth()
