"""Ends what a run has under way when it is cancelled or fails: its tasks, and the export task in the cloud.

The workspace is to be released only when nobody writes to it any more.

A task in a thread of the task runner is not interrupted by anything (measured with Prefect 3.9.1: the
main thread unwinds, the process waits, and is killed after 30 s), so each is given an event to look at.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from prefect.exceptions import TerminationSignal
from prefect.futures import PrefectFuture
from prefect.states import Cancelled

from flows.fleet_run import current_fleet
from image_export.export import cancel_export
from image_export.policy import Policy
from migration.cloud import Cloud
from migration.credentials import CredentialSource
from migration.errors import Interrupted, MigrationError
from migration.progress import Stop
from migration.workspace import Workspace

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

GRACE = 20  # seconds; Prefect kills a cancelled run's process after 30
WITHIN_GRACE = Policy(
    first_interval=1, longest_interval=5, read_timeout=5,
    answer_patience=10, lost_reply_patience=10, cancel_patience=10,
)  # fmt: skip


def cancelled_with_its_fleet(function: F) -> F:
    """Have a migration that stopped because its fleet was cancelled end as Cancelled, not as Failed.

    Prefect cancels the fleet's run alone: what runs in its threads hears of it by our stop, and raises `Interrupted`,
    as it does to whoever called it here too.
    """

    @functools.wraps(function)
    def run(*args: Any, **given: Any) -> Any:
        try:
            return function(*args, **given)
        except Interrupted as error:
            fleet = current_fleet()
            if fleet is None or not fleet.is_cancelled:
                raise
            return Cancelled(message=f"{error.message}: its fleet was cancelled", data=error)

    return cast("F", run)


class RunningTasks:
    """A block that knows its tasks: left by an exception, it stops them and waits until they have ended."""

    def __init__(self) -> None:
        self.stop: Stop = threading.Event()
        self._futures: list[PrefectFuture[Any]] = []
        self._fleet = current_fleet()

    def add(self, futures: list[PrefectFuture[Any]]) -> list[PrefectFuture[Any]]:
        """Remember futures that must have ended before the block ends; returns them."""
        self._futures += futures
        return futures

    def __enter__(self) -> RunningTasks:
        if self._fleet is not None:
            self._fleet.add_stop(self.stop)
        return self

    def __exit__(self, *_: object) -> None:
        # On success all have ended already, and this costs nothing.
        self.stop.set()
        deadline = time.monotonic() + GRACE  # for all together: one may be asleep until its next retry
        for future in self._futures:
            future.wait(timeout=max(0.0, deadline - time.monotonic()))
        if self._fleet is not None:
            self._fleet.drop_stop(self.stop)


@contextmanager
def cancelling_export(workspace: Workspace, cloud: Cloud, credentials: CredentialSource) -> Iterator[None]:
    """Cancel the workspace's export task in the cloud too, if the run is cancelled during the block.

    Only then: a failure, Ctrl-C in a terminal or a dying worker leave it, and the next run follows it on.
    In a fleet the signal comes to the fleet's own thread, and here only that the run is to stop.
    """
    try:
        yield
    except TerminationSignal:
        _cancel(workspace, cloud, credentials)
        raise
    except Interrupted:
        fleet = current_fleet()
        if fleet is not None and fleet.is_cancelled:
            _cancel(workspace, cloud, credentials)
        raise


def _cancel(workspace: Workspace, cloud: Cloud, credentials: CredentialSource) -> None:
    try:
        cancellation = cancel_export(workspace, cloud, credentials, policy=WITHIN_GRACE)
    except MigrationError as error:
        log.warning("The export task in the cloud could not be cancelled, the next run goes on with it: %s", error)
    else:
        if cancellation.task is not None:
            log.info("Export task %s is %s", cancellation.task.task_id, cancellation.task.status)
        for key in cancellation.leftovers:
            log.warning("Left in the bucket, and billed until it is deleted: %s", key)
