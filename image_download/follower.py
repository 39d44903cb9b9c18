"""Unpacks an object while it is still coming: reads what has come without a gap, and waits for more.

What it makes counts only once all of the object has come and is proven; until then it is work done ahead.
"""

from __future__ import annotations

import contextvars
import io
import logging
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from image_download import crc64
from image_download.part_store import PartStore
from migration.errors import CorruptData, Interrupted
from migration.progress import Stop, check_stop

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_EVERY = 0.2  # seconds between two looks at `stop` while nothing comes


class ComingFile(io.RawIOBase):
    """A file that is still being filled, read from its beginning: a read waits until there is something to read.

    `crc64` is of what has been read so far; at the end of the file, of all of the object.
    """

    def __init__(self, store: PartStore, stop: Stop) -> None:
        super().__init__()
        self._store = store
        self._stop = stop
        self._position = 0
        self._file = store.path.open("rb", buffering=0)
        self.crc64 = crc64.EMPTY

    @property
    def is_read(self) -> bool:
        """Whether the end has been reached."""
        return self._position == self._store.size

    def readable(self) -> bool:
        return True

    def peek(self, count: int) -> bytes:
        """Return the first `count` bytes of the object, all of it if it is shorter, and leave them to be read."""
        count = min(count, self._store.size)
        self._wait_for(count)
        return os.pread(self._file.fileno(), count, 0)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill some of `buffer`; 0 at the end of the object. Raises `Interrupted` once the stop is set."""
        with memoryview(buffer) as whole, whole.cast("B") as view:
            end = self._position if self.is_read else self._wait_for(self._position + 1)
            count = self._file.readinto(view[: end - self._position]) or 0
            self.crc64 = crc64.extend(self.crc64, view[:count])
        self._position += count
        return count

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
        super().close()

    def _wait_for(self, count: int) -> int:
        """Wait until at least the first `count` bytes are there; return how many are."""
        there = 0
        while there < count:
            check_stop(self._stop)
            there = self._store.wait_beyond(count - 1, LOOK_EVERY)
        return there


class Follower(Generic[T]):
    """A thread that does `work` with what has come so far; left as a block, it is stopped and has ended."""

    def __init__(self, store: PartStore, work: Callable[[ComingFile, Stop], T | None]) -> None:
        self._stop: Stop = threading.Event()
        self.file = ComingFile(store, self._stop)
        self._work = work
        self._result: T | None = None
        self._failure: BaseException | None = None
        # A daemon, so that a bug in here cannot keep the process alive.
        # In a copy of our context, by which whoever keeps the log finds out whose lines these are.
        self._thread = threading.Thread(
            target=contextvars.copy_context().run, args=(self._run,), name="follower", daemon=True
        )

    def __enter__(self) -> Follower[T]:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.file.close()

    def check(self) -> None:
        """Raise what went wrong so far, unless only the whole object can tell whose fault it is."""
        if self._failure is not None and not isinstance(self._failure, CorruptData):
            raise self._failure

    def wait(self, stop: Stop | None) -> T | None:
        """Wait until the work is done and return what came of it. Raises what went wrong, or `Interrupted`."""
        while self._thread.is_alive():
            check_stop(stop)
            self._thread.join(LOOK_EVERY)
        if self._failure is not None:
            raise self._failure
        return self._result

    def _run(self) -> None:
        try:
            self._result = self._work(self.file, self._stop)
        except Interrupted:
            pass
        except BaseException as error:  # noqa: BLE001  # raised again by whoever waits
            self._failure = error
            if isinstance(error, CorruptData):
                log.warning("%s: fetching the rest, to see whether it came as it is in OSS", error.message)
