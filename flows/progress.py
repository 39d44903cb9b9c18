"""Shows a stage's progress as a Prefect progress artifact, no more often than a person can see."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from flows.pace import Pace
from migration.progress import Progress

# An update costs the server about 10 ms (measured with Prefect 3.9.1, SQLite on loopback).
INTERVAL = 2.0  # seconds


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
    artifact = create_progress_artifact(progress=0.0, key=key, description=description)
    bar = _Bar(artifact, description, is_bytes=is_bytes)  # type: ignore[arg-type]
    shown = [bar.report, *(show(description, is_bytes=is_bytes) for show in _mirrors)]

    def report(done: int, total: int) -> None:
        for one in shown:
            one(done, total)

    yield report
    bar.finish()


class _Bar:
    """One progress artifact; reports may come from any thread."""

    def __init__(self, artifact_id: UUID, description: str, *, is_bytes: bool) -> None:
        self._id = artifact_id
        self._description = description
        self._is_bytes = is_bytes
        self._pace = Pace()
        self._mutex = threading.Lock()
        self._shown_at = time.monotonic()

    def report(self, done: int, total: int) -> None:
        now = time.monotonic()
        with self._mutex:
            if total <= 0 or now - self._shown_at < INTERVAL:
                return
            self._shown_at = now
            self._pace.take(now, done)
            pace = self._pace.describe(done, total, is_bytes=self._is_bytes)
        self._show(min(100.0, 100.0 * done / total), f"{self._description}: {pace}" if pace else self._description)

    def finish(self) -> None:
        self._show(100.0, self._description)

    def _show(self, percent: float, description: str) -> None:
        update_progress_artifact(artifact_id=self._id, progress=percent, description=description)
