"""Follows an export task to its end: tells how far it is, hears a stop at once, outlives a silent network."""

from __future__ import annotations

import logging
import time

from image_export.ecs import UNKNOWN_TASK, Ecs
from image_export.policy import Policy, insist, wait
from image_export.sdk_failure import EcsRefused
from image_export.task import ExportTask, TaskState
from migration.credentials import redacted
from migration.errors import CloudUnavailable, Interrupted, MigrationError
from migration.progress import Progress, Stop, check_stop, no_progress

log = logging.getLogger(__name__)


def follow_task(
    ecs: Ecs,
    task_id: str,
    *,
    policy: Policy,
    progress: Progress = no_progress,
    stop: Stop | None = None,
    cancel_on_stop: bool = False,
) -> ExportTask:
    """Return the task once it is settled, for better or worse. `progress` is told (per cent, 100).

    Throttling and network failures are outlived for `policy.silence_patience` without any answer. When
    `stop` is set, `Interrupted` is raised; with `cancel_on_stop` the task is cancelled first and followed
    until it has ended, for `policy.cancel_patience` at most. A task that is unknown to the cloud for
    `policy.missing_task_patience` raises `EcsRefused` with the code `InvalidTaskId.NotFound`.
    """
    try:
        return _follow(ecs, task_id, policy, progress, stop)
    except Interrupted as stopped:
        if not cancel_on_stop:
            remedy = "it goes on in the cloud; run the same command again to follow it on, or cancel it"
            raise Interrupted(f"stopped following export task {task_id}", remedy) from None
        raise _cancelled(ecs, task_id, policy, stopped) from None


def cancel_task(ecs: Ecs, task_id: str, *, policy: Policy, stop: Stop | None = None) -> ExportTask:
    """Cancel a task and return it once it is settled: the cloud ends it a little later, or it had ended before.

    Raises `EcsRefused` where the cloud will not cancel it, `EcsUnavailable` where it does not end in time.
    """
    is_accepted = insist(
        lambda: ecs.cancel_task(task_id), patience=policy.answer_patience, policy=policy, stop=stop
    )  # fmt: skip
    log.info("Export task %s: %s", task_id, "cancelling" if is_accepted else "had ended before it could be cancelled")
    return _follow(ecs, task_id, policy, no_progress, stop, patience=policy.cancel_patience)


def _cancelled(ecs: Ecs, task_id: str, policy: Policy, stopped: Interrupted) -> Interrupted:
    """Cancel the task of someone who wants to stop, and return the exception that says what came of it."""
    try:
        task = cancel_task(ecs, task_id, policy=policy)
    except MigrationError as error:
        return Interrupted(
            f"stopped; export task {task_id} could not be cancelled: {error.message}", "cancel it in the console"
        )
    if task.state is TaskState.DELETED:
        return Interrupted(f"stopped; export task {task_id} is cancelled", "run the same command again to start anew")
    return Interrupted(f"stopped; export task {task_id} had ended as {redacted(task.status)} before", stopped.remedy)


def _follow(
    ecs: Ecs, task_id: str, policy: Policy, progress: Progress, stop: Stop | None, *, patience: float | None = None
) -> ExportTask:
    """Look at the task until it is settled, or for `patience` seconds."""
    start = time.monotonic()
    intervals = policy.intervals()
    shown: tuple[str, int | None] = ("", None)
    percent = 0
    was_seen = False
    while True:
        check_stop(stop)
        interval = next(intervals)
        try:
            task = insist(
                lambda: ecs.describe_task(task_id), patience=policy.silence_patience, policy=policy, stop=stop
            )
        except EcsRefused as error:
            # A task that was just made may not be known everywhere yet.
            late = was_seen or time.monotonic() - start + interval > policy.missing_task_patience
            if error.code != UNKNOWN_TASK or late:
                raise
            wait(interval, stop)
            continue
        was_seen = True
        if (task.status, task.percent) != shown:
            shown = (task.status, task.percent)
            log.info("Export task %s: %s %s", task_id, redacted(task.status), _percent(task))
            percent = max(percent, task.percent or 0)  # never backwards, whatever the cloud says
            progress(100 if task.state is TaskState.FINISHED else percent, 100)
        if task.state.is_settled:
            return task
        if patience is not None and time.monotonic() - start + interval > patience:
            raise _unsettled(task)
        wait(interval, stop)


def _percent(task: ExportTask) -> str:
    return "" if task.percent is None else f"{task.percent}%"


def _unsettled(task: ExportTask) -> MigrationError:
    return CloudUnavailable(f"export task {task.task_id} is still {redacted(task.status)}", "look at it again later")
