"""Does one thing to several disks at once, and ends all of them when one fails or someone presses Ctrl-C."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

from migration.errors import Interrupted
from migration.progress import Stop

T = TypeVar("T")
R = TypeVar("R")


def for_each(items: Sequence[T], work: Callable[[T, Stop], R], *, at_once: int = 4) -> list[R]:
    """Return `work(item, stop)` for every item, in order; at most `at_once` run at a time.

    The first failure stops the others and is raised when all have ended.
    """
    stop: Stop = threading.Event()
    with ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="ferry") as pool:
        futures = [pool.submit(work, item, stop) for item in items]
        try:
            # In slices: a wait without an end would keep Python from seeing a signal in time.
            while wait(futures, timeout=0.5, return_when=FIRST_EXCEPTION).not_done:
                if any(future.done() and future.exception() is not None for future in futures):
                    break
        finally:
            if any(not future.done() for future in futures):
                stop.set()
                for future in futures:
                    future.cancel()
    errors = [error for future in futures if not future.cancelled() and (error := future.exception()) is not None]
    if errors:
        # Those that were stopped because of the first failure say only that they were stopped.
        raise next((error for error in errors if not isinstance(error, Interrupted)), errors[0])
    return [future.result() for future in futures]
