"""Ends the tasks of a run that is cancelled or fails, so that the workspace is released only when nobody writes to it.

A task in a thread of the task runner is not interrupted by anything (measured with Prefect 3.9.1: the
main thread unwinds, the process waits, and is killed after 30 s), so each is given an event to look at.
"""

from __future__ import annotations

import threading
from typing import Any

from prefect.futures import PrefectFuture

from migration.progress import Stop

GRACE = 20  # seconds; Prefect kills a cancelled run's process after 30


class RunningTasks:
    """A block that knows its tasks: left by an exception, it stops them and waits until they have ended."""

    def __init__(self) -> None:
        self.stop: Stop = threading.Event()
        self._futures: list[PrefectFuture[Any]] = []

    def add(self, futures: list[PrefectFuture[Any]]) -> list[PrefectFuture[Any]]:
        """Remember futures that must have ended before the block ends; returns them."""
        self._futures += futures
        return futures

    def __enter__(self) -> RunningTasks:
        return self

    def __exit__(self, *_: object) -> None:
        # On success all have ended already, and this costs nothing.
        self.stop.set()
        for future in self._futures:
            future.wait(timeout=GRACE)
