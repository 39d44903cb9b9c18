"""Fetches the missing parts of a file by several threads, each part until all its bytes have come."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections import deque

from image_download.archive import make_readable
from image_download.flusher import Flusher
from image_download.part_store import PartStore, PartWriter
from image_download.patience import Patience
from image_download.ranged_source import RangedSource, StaleCredentials
from image_download.settings import DownloadSettings
from migration.errors import CloudUnavailable
from migration.progress import Progress, Stop, check_stop

log = logging.getLogger(__name__)

SYNC_EVERY = 64 * 1024 * 1024  # bytes that a power cut may cost, beside the parts on their way
LOOK_EVERY = 0.2  # seconds between two looks at `stop`
JOIN_PATIENCE = 0.25  # seconds for threads to come home when we stop


def fetch_missing(
    source: RangedSource, store: PartStore, settings: DownloadSettings, progress: Progress, stop: Stop | None
) -> None:
    """Fetch every part that `store` lacks, in the order of the file, and record each as it is complete.

    Returns when all are there, or raises the first error that no retry mends; what has come is kept.
    `progress` is called from this thread, in bytes of the object.
    """
    check_stop(stop)
    if store.missing_parts():
        make_readable(source, settings, stop)
    _Crew(source, store, settings).run(progress, stop)


class _Halted(Exception):
    """Another thread failed, or someone asked us to stop; never leaves this module."""


class _Crew:
    """The threads of one download and what they share."""

    def __init__(self, source: RangedSource, store: PartStore, settings: DownloadSettings) -> None:
        self._source = source
        self._store = store
        self._settings = settings
        self._halt = threading.Event()
        self._over = threading.Event()  # all threads have ended, or one has failed
        self._patience = Patience(settings, self._halt)
        self._flusher = Flusher(store.settle, every=SYNC_EVERY, then=store.read_behind)
        self._mutex = threading.Lock()
        self._waiting = deque(store.missing_parts())
        self._working = 0
        self._received = store.present_bytes
        self._failure: BaseException | None = None

    def run(self, progress: Progress, stop: Stop | None) -> None:
        """Start the threads and watch over them."""
        # Daemons: one that waits for an answer when we stop must not keep the process alive. It writes
        # nothing more, for it looks at `halt` before every write.
        self._working = min(self._settings.connections, len(self._waiting))
        # Each in a copy of our context, by which whoever keeps the log finds out whose lines these are.
        threads = [
            threading.Thread(
                target=contextvars.copy_context().run, args=(self._work,), name=f"fetch-{number}", daemon=True
            )
            for number in range(self._working)
        ]
        try:
            for thread in threads:
                thread.start()
            while threads and not self._over.wait(LOOK_EVERY):
                check_stop(stop)
                progress(min(self._received, self._store.size), self._store.size)
        finally:
            self._halt.set()
            self._source.abort()
            deadline = time.monotonic() + JOIN_PATIENCE
            for thread in threads:
                thread.join(max(0.0, deadline - time.monotonic()))
            self._flusher.close()
        if self._failure is not None:
            raise self._failure
        progress(self._store.size, self._store.size)

    def _work(self) -> None:
        """One thread: fetch part after part until none waits."""
        try:
            with self._store.open_writer() as writer:
                while (part := self._next_part()) is not None:
                    writer.start(part)
                    self._fill(writer)
                    writer.finish()
        except _Halted:
            pass
        except BaseException as error:  # noqa: BLE001  # raised again by the thread that watches
            with self._mutex:
                self._failure = self._failure or error
        with self._mutex:
            self._working -= 1
            if self._working == 0 or self._failure is not None:
                self._over.set()

    def _next_part(self) -> int | None:
        with self._mutex:
            return self._waiting.popleft() if self._waiting and not self._halt.is_set() else None

    def _fill(self, writer: PartWriter) -> None:
        """Bring what `writer` lacks of its part, however many answers that takes."""
        failures = 0
        while writer.position < writer.end:
            before = writer.position
            try:
                self._receive(writer)
            except (CloudUnavailable, StaleCredentials) as error:
                self._check_halt()
                # A connection that brought something before it broke is no reason to wait longer.
                failures = 1 if writer.position > before else failures + 1
                self._patience.pause(failures, error)
                self._check_halt()

    def _receive(self, writer: PartWriter) -> None:
        """Take one answer, as far as it goes: what has come of a part is kept, only the rest is asked for again."""
        pace = _Pace(self._source.subject, self._settings)
        bandwidth = self._settings.bandwidth
        with self._source.open_range(writer.position, writer.end) as body:
            while writer.position < writer.end:
                space = writer.space()
                count = body.readinto(space[: bandwidth.slice(len(space))])
                self._check_halt()
                if count == 0:
                    raise CloudUnavailable(f"{self._source.subject}: an answer ended too early", "try again")
                writer.advance(count)
                self._flusher.wrote(count)
                with self._mutex:
                    self._received += count
                # Our own waiting is no silence of the network: neither the pace nor the patience counts it.
                pace.excuse(bandwidth.pay(count, self._halt))
                self._patience.got_bytes()
                pace.check(count)

    def _check_halt(self) -> None:
        if self._halt.is_set():
            raise _Halted


class _Pace:
    """Notices a connection that has all but died."""

    def __init__(self, subject: str, settings: DownloadSettings) -> None:
        self._subject = subject
        self._rate, self._over = settings.slowest_rate, settings.slowest_over
        self._since = time.monotonic()
        self._count = 0

    def excuse(self, seconds: float) -> None:
        """Leave out `seconds` for which nobody read."""
        self._since += seconds

    def check(self, count: int) -> None:
        """Count `count` bytes; raise `CloudUnavailable` if far too few have come in the last while."""
        self._count += count
        elapsed = time.monotonic() - self._since
        if elapsed < self._over:
            return
        if self._count < self._rate * elapsed:
            raise CloudUnavailable(f"{self._subject}: {self._count} bytes in {elapsed:.0f} s", "try again")
        self._since, self._count = time.monotonic(), 0
