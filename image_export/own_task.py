"""Knows how to tell, among the region's export tasks, the one that came of our attempt.

ExportImage has no ClientToken, DescribeTasks names neither image nor objects for certain, and whether
DescribeTaskAttribute does before the end is unknown. So a task is ours, another's, or possibly ours.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from image_export.ecs import Ecs
from image_export.objects import parse_object_name
from image_export.policy import wait
from image_export.request import Attempt
from image_export.session import Session
from image_export.task import ExportTask
from migration.credentials import redacted
from migration.errors import CloudUnavailable
from migration.progress import check_stop
from migration.str_enum import StrEnum

log = logging.getLogger(__name__)

# The cloud refuses requests whose clock is further off (vendor's common errors): by so much its
# CreationTime may lie before our own note of the attempt. A minute more, as seconds may be left out.
CLOCK_SLACK = 15 * 60 + 60


class Likeness(StrEnum):
    """Whether a task came of an attempt, by what it says of itself."""

    OURS = "ours"
    POSSIBLE = "possible"  # it says nothing that tells
    OTHER = "other"


class AmbiguousTask(CloudUnavailable):
    """Several tasks may be the one we look for; transient, because tasks say more of themselves as they go on."""


@dataclass(frozen=True, slots=True)
class FoundTask:
    task: ExportTask
    likeness: Likeness


def judge_likeness(task: ExportTask, attempt: Attempt, *, prefix: str | None) -> Likeness:
    """Return whether `task`, told with details, exports the attempt's image to its bucket.

    `prefix` is what the names of its objects must begin with, None where any will do.
    """
    request = attempt.request
    image_ids = {value for value in (*task.resource_ids, *task.related("ImageId")) if value.startswith("m-")}
    buckets = set(task.related("OSSBucket"))
    names = [name for key in task.related("OSSObject") if (name := parse_object_name(key)) is not None]
    image_ids |= {name.image_id for name in names}
    if image_ids - {request.image_id} or buckets - {request.bucket}:
        return Likeness.OTHER
    if prefix is not None and any(name.prefix != prefix for name in names):
        return Likeness.OTHER
    return Likeness.OURS if image_ids else Likeness.POSSIBLE


def find_own_task(
    session: Session, attempt: Attempt, *, since: float, until: float, any_prefix: bool, running_only: bool
) -> FoundTask | None:
    """Look for the attempt's task until one is ours for certain or, at Unix time `until`, whatever is known then.

    Returns a lone possible task where none is certain, None where there is none at all, which proves
    that none was made. At least one look is answered. Raises `AmbiguousTask` for several possible ones.
    `any_prefix`: a task that exports the image under another prefix is as good.
    """
    prefix = None if any_prefix else attempt.prefix
    intervals = session.policy.intervals()
    others = set(attempt.excluded)  # what a task says of itself does not change, so it is asked once
    while True:
        check_stop(session.stop)
        asked_at = time.time()
        tasks = session.insist(lambda: _look(session.ecs, attempt, since, prefix, others, running_only=running_only))
        ours = [found for found in tasks if found.likeness is Likeness.OURS]
        if ours:
            return next((found for found in ours if not found.task.state.is_settled), ours[0])
        if asked_at >= until:
            break
        wait(min(next(intervals), max(0.0, until - time.time())), session.stop)
    possible = [found for found in tasks if found.likeness is Likeness.POSSIBLE]
    if len(possible) > 1:
        ids = ", ".join(redacted(found.task.task_id) for found in possible)
        raise AmbiguousTask(
            f"{attempt.request.image_id}: several exports may be the one of this workspace: {ids}",
            "run the same command again later: a task says more of itself when it is further on",
        )
    return possible[0] if possible else None


def _look(
    ecs: Ecs, attempt: Attempt, since: float, prefix: str | None, others: set[str], *, running_only: bool
) -> list[FoundTask]:
    """Return the tasks since then that may be ours, with details, newest first; add the rest to `others`."""
    found = []
    for summary in ecs.find_export_tasks(since):
        if summary.task_id in others or (running_only and summary.state.is_settled):
            continue
        task = ecs.describe_task(summary.task_id)
        likeness = judge_likeness(task, attempt, prefix=prefix)
        log.debug("Export task %s (%s) is %s", task.task_id, task.status, likeness)
        if likeness is Likeness.OTHER:
            others.add(summary.task_id)
        else:
            found.append(FoundTask(task, likeness))
    return found
