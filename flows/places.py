"""Bounds how many exports, downloads and conversions go on at once: in this process, and on all workers together.

The second is Prefect's: global concurrency limits of these names, which `make serve` and `python -m
deployments.limits` create. Where one does not exist, or no server answers, only the first bounds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import httpx
from prefect.concurrency.sync import concurrency

from flows.fleet_run import LIMITS, current_fleet
from migration.progress import Stop, check_stop

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0  # seconds between two tries for a place, and at most until a stop is heard
LONG = 900.0  # seconds of waiting after which a run says what to look at
LEASE = 120  # seconds after which a place is free again whose holder was killed
# What Prefect's server says while a limit is full; and of one that has no place at all, as when somebody set it to 0.
_LOCKED, _TOO_SMALL = 423, 422
_ACQUISITION = "ConcurrencySlotAcquisitionWithLeaseService"  # what asks the server for a place, in Prefect
_MISSING = "Concurrency limits"  # how Prefect's warning about a limit that does not exist begins


class _Quiet(logging.Filter):
    """Drops Prefect's warning, once for every export, that there is no such limit: that is a choice."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (str(record.msg).startswith(_MISSING) and "do not exist" in str(record.msg))


class _Unheard(logging.Filter):
    """Drops what Prefect says of each of our tries that found no place, once a second: that is no error."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (isinstance(record.args, tuple) and record.args[:1] == (_ACQUISITION,))


logging.getLogger("prefect._internal.concurrency").addFilter(_Unheard())
_quiet = _Quiet()
for _name in ("prefect.concurrency", "prefect.task_runs", "prefect.flow_runs"):
    logging.getLogger(_name).addFilter(_quiet)


@contextmanager
def place(kind: str, stop: Stop | None) -> Iterator[None]:
    """Hold a place for one piece of work of a kind during the block; wait for one first. Raises `Interrupted`."""
    fleet = current_fleet()
    with ExitStack() as stack:
        bound = fleet.places(kind) if fleet is not None else None
        if bound is not None:
            stack.enter_context(_held(bound, stop))
        _hold_global(stack, LIMITS[kind], stop)
        yield


@contextmanager
def _held(bound: threading.Semaphore, stop: Stop | None) -> Iterator[None]:
    while not bound.acquire(timeout=LOOK_EVERY):
        check_stop(stop)
    try:
        yield
    finally:
        bound.release()


def _hold_global(stack: ExitStack, name: str, stop: Stop | None) -> None:
    """Hold a place on all workers together until `stack` ends."""
    began, said = time.monotonic(), 0
    while True:
        check_stop(stop)
        try:
            # Without `max_retries` Prefect would wait by itself, and could not be stopped meanwhile.
            slot = concurrency(name, max_retries=0, lease_duration=LEASE, strict=False)
            slot.__enter__()
        except Exception as error:  # noqa: BLE001  # a limit is a courtesy: no work fails for want of one
            if not _is_full(error):
                log.warning("The limit %s cannot be asked for, going on without it (%s)", name, type(error).__name__)
                return
        else:
            stack.callback(_give_back, slot, name)
            return
        if not said:
            said = 1
            log.info("Waiting for a place: the limit %s is reached", name)
        elif said == 1 and time.monotonic() - began > LONG:
            said = 2
            log.warning(
                "Still waiting for a place under the limit %s. `prefect gcl inspect %s` shows how many are taken; "
                "where nothing runs that could hold them, `prefect gcl update %s --active-slots 0` frees them",
                name, name, name,
            )  # fmt: skip
        if stop is None:
            time.sleep(LOOK_EVERY)
        else:
            stop.wait(LOOK_EVERY)


def _give_back(slot: AbstractContextManager[None], name: str) -> None:
    """Leave a place, which falls free by itself should nobody hear of it: the work that was done there is done."""
    try:
        slot.__exit__(None, None, None)
    except Exception as error:  # noqa: BLE001  # a server that is away, most likely
        log.warning("The limit %s could not be told that a place is free (%s)", name, type(error).__name__)


def _is_full(error: Exception) -> bool:
    cause = error.__cause__
    return isinstance(cause, httpx.HTTPStatusError) and cause.response.status_code in {_LOCKED, _TOO_SMALL}
