"""Shows a stage's progress as a Prefect progress artifact, no more often than a person can see.

A bar is a courtesy: no work waits for it, and none fails because the server is away. Prefect makes a client anew for
each update, and such a one does not ask again where nothing listens, as while a server is restarted.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from flows.pace import Pace
from migration.progress import Progress

log = logging.getLogger(__name__)

# An update costs the server about 10 ms (measured with Prefect 3.9.1, SQLite on loopback).
INTERVAL = 2.0  # seconds
LAST_WORD = 10.0  # seconds that a stage which is done waits for its bar to say so


class Show(Protocol):
    """Makes a `Progress` for a description; it counts bytes, or says how far something is."""

    def __call__(self, name: str, *, is_bytes: bool) -> Progress: ...


_mirrors: list[Show] = []


@contextmanager
def mirrored(show: Show) -> Iterator[None]:
    """Show the progress of what runs in this process elsewhere too."""
    _mirrors.append(show)
    try:
        yield
    finally:
        _mirrors.remove(show)


@contextmanager
def progress_artifact(key: str, description: str, *, is_bytes: bool = True) -> Iterator[Progress]:
    """Give the block a `Progress` whose reports appear as the artifact `key` of the current task run.

    Beside the bar stand the amount, the speed and the time left.
    `key` may hold lower-case letters, digits and dashes only. The bar is at 100 % when the block
    ends well, and stays where it was when it does not.
    """
    bar = _Bar(key, description, is_bytes=is_bytes)
    shown = [bar.report, *(show(description, is_bytes=is_bytes) for show in _mirrors)]

    def report(done: int, total: int) -> None:
        for one in shown:
            one(done, total)

    with bar:
        yield report


class _Bar:
    """One progress artifact, shown by a thread of its own; reports may come from any other."""

    def __init__(self, key: str, description: str, *, is_bytes: bool) -> None:
        self._key = key
        self._description = description
        self._is_bytes = is_bytes
        self._pace = Pace()
        self._mutex = threading.Lock()
        self._reported_at = time.monotonic()
        self._latest = (0.0, description)
        self._news = threading.Event()
        self._ended = threading.Event()
        self._id: UUID | None = None
        self._is_silent = False
        # Prefect finds the task run that the artifact belongs to in the context.
        self._thread = threading.Thread(
            target=contextvars.copy_context().run, args=(self._show_news,), daemon=True, name=f"bar {key}"
        )

    def __enter__(self) -> None:
        self._news.set()
        self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._latest = (100.0, self._description)
        self._ended.set()
        self._news.set()
        self._thread.join(LAST_WORD)  # after a failure, too: no bar moves once the run has ended

    def report(self, done: int, total: int) -> None:
        now = time.monotonic()
        with self._mutex:
            if total <= 0 or now - self._reported_at < INTERVAL:
                return
            self._reported_at = now
            self._pace.take(now, done)
            pace = self._pace.describe(done, total, is_bytes=self._is_bytes)
        text = f"{self._description}: {pace}" if pace else self._description
        self._latest = (min(100.0, 100.0 * done / total), text)
        self._news.set()

    def _show_news(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            is_last = self._ended.is_set()  # before the look at what is the latest
            self._show(*self._latest)
            if is_last:
                return

    def _show(self, percent: float, description: str) -> None:
        try:
            if self._id is None:
                made = create_progress_artifact(progress=percent, key=self._key, description=description)
                self._id = cast("UUID", made)  # not awaited: this thread has no loop
            else:
                update_progress_artifact(artifact_id=self._id, progress=percent, description=description)
        except Exception as error:  # noqa: BLE001  # whatever Prefect's client raises
            if not self._is_silent:
                log.warning("The progress of %s cannot be shown for now (%s)", self._description, type(error).__name__)
            self._is_silent = True
        else:
            self._is_silent = False
