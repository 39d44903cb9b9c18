"""Lets Ctrl-C and SIGTERM end work that Python cannot interrupt: libguestfs calls."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from migration.progress import Stop

T = TypeVar("T")


def run_interruptible(work: Callable[[Stop], T]) -> T:
    """Return `work(stop)`, done in another thread; this one hears Ctrl-C and SIGTERM, and sets `stop`.

    In a libguestfs call the only Python that runs is an event's callback, and the `KeyboardInterrupt` that a signal
    raises there is printed and forgotten. Here it is raised once the work has ended, whatever error that ended with;
    work that was done before it looked at `stop` is not thrown away.
    """
    with _set_by_signals() as stop, ThreadPoolExecutor(max_workers=1, thread_name_prefix="ferry") as pool:
        future = pool.submit(work, stop)
        # In slices: a wait without an end would keep Python from seeing a signal in time.
        while wait([future], timeout=0.5).not_done:
            pass
    if stop.is_set() and future.exception() is not None:
        raise KeyboardInterrupt from future.exception()
    return future.result()


@contextmanager
def _set_by_signals() -> Iterator[Stop]:
    """Offer a stop that is set in place of a `KeyboardInterrupt`, which may come between any two steps of ours."""
    stop: Stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # What is ignored, as in a job in the background, or ends us without a word, goes on doing so.
    ours = [number for number, handler in before.items() if callable(handler)]
    for number in ours:
        signal.signal(number, lambda _number, _frame: stop.set())
    try:
        yield stop
    finally:
        for number in ours:
            signal.signal(number, before[number])
