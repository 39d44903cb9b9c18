"""Keeps what has been written from piling up in memory: flushes it in the background, every so many bytes."""

from __future__ import annotations

import threading
from collections.abc import Callable

CLOSE_PATIENCE = 0.2  # seconds for a flush that is under way when we are closed


class Flusher:
    """A thread that calls `flush` each time `every` bytes have been written. What `flush` raises, `wrote` raises.

    `then` is called after a flush, in a thread of its own so that the next flush need not wait for it; but not while
    the writer is faster than the flushing, for then the disk has enough to do.
    """

    def __init__(self, flush: Callable[[], None], *, every: int, then: Callable[[], None] | None = None) -> None:
        self._flush = flush
        self._every = every
        self._then = None if then is None else Flusher(then, every=1)
        self._unflushed = 0
        self._condition = threading.Condition()
        self._closed = False
        self._failure: BaseException | None = None
        # A daemon: a disk that is slow to flush must not keep a process alive that was asked to stop.
        self._thread = threading.Thread(target=self._work, name="flusher", daemon=True)
        self._thread.start()

    def wrote(self, count: int) -> None:
        """Count `count` bytes; never waits for the disk."""
        with self._condition:
            if self._failure is not None:
                raise self._failure
            self._unflushed += count
            if self._unflushed >= self._every:
                self._condition.notify()

    def close(self) -> None:
        """End the thread; a flush that takes long is left to itself."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        self._thread.join(CLOSE_PATIENCE)
        if self._then is not None:
            self._then.close()

    def _work(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._closed or self._unflushed >= self._every)
                if self._closed:
                    return
                self._unflushed = 0
            try:
                self._flush()
                if self._then is not None and self._unflushed < self._every:
                    self._then.wrote(1)
            except BaseException as error:  # noqa: BLE001  # handed to the thread that writes
                with self._condition:
                    self._failure = error
                return
