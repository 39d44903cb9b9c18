"""Knows how to get exactly one export task out of one intent, though answers get lost and there is no ClientToken.

The attempt is in the journal before ExportImage is called. After a lost answer, or a run that was
killed in between, the task is looked for; the call is made again only once it is proven that none came
of the first: nobody sees one for `Policy.lost_reply_patience`, or the cloud said no.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from image_export.ecs import IMAGE_IS_EXPORTING
from image_export.objects import parse_object_name
from image_export.own_task import CLOCK_SLACK, FoundTask, Likeness, find_own_task
from image_export.policy import wait
from image_export.request import Attempt
from image_export.sdk_failure import EcsRefused
from image_export.session import Session
from migration.journal import Journal
from migration.progress import check_stop

log = logging.getLogger(__name__)

ATTEMPT = "export-attempt"  # the journal's step
# Refusals that end when some export ends: worth a long wait.
_BUSY = {IMAGE_IS_EXPORTING, "ConcurrentQuotaExceed.ExportImage"}
# How old a running export of the image may be; nothing is promised about how long one takes.
_LONGEST_EXPORT = 7 * 24 * 3600


def start_export(session: Session, journal: Journal, attempt: Attempt) -> Attempt:
    """Return the attempt with its task's id, recorded; ExportImage has been called until one task came of it.

    Waits for a free place among concurrent exports, and takes over a running export of this image that
    goes to the same place. Raises `EcsRefused` or `EcsUnavailable`; the journal knows then whether
    something may be under way.
    """
    policy, start = session.policy, time.monotonic()
    intervals = policy.intervals()
    while True:
        check_stop(session.stop)
        attempt = replace(attempt, started=int(time.time()))
        journal.record(ATTEMPT, attempt)
        try:
            task_id = session.ecs.export_image(attempt.request, attempt.prefix or "")
        except EcsRefused as error:
            refusal = error
        else:
            log.info("Export task %s is started", task_id)
            return _record(journal, replace(attempt, task_id=task_id))
        found = _after_refusal(session, journal, attempt, refusal)
        if found is not None:
            return found
        patience = policy.busy_patience if refusal.code in _BUSY else policy.answer_patience
        interval = next(intervals)
        if not refusal.transient or time.monotonic() - start + interval > patience:
            raise refusal
        log.info("ExportImage is tried again in %.0f s: %s", interval, refusal.message)
        wait(interval, session.stop)


def recover_export(session: Session, journal: Journal, attempt: Attempt) -> Attempt | None:
    """Return the attempt with the task that came of it, recorded, or None once it is proven that none did.

    For an attempt whose answer nobody has heard.
    """
    started = attempt.started or int(time.time())
    log.info("Looking for the export task of %s, whose answer was lost", attempt.request.image_id)
    found = find_own_task(
        session, attempt, since=started - CLOCK_SLACK, until=started + session.policy.lost_reply_patience,
        any_prefix=False, running_only=False,
    )  # fmt: skip
    if found is None:
        log.warning("No export task came of the call whose answer was lost")
        _record(journal, attempt.closed())
        return None
    log.info("Export task %s is %s", found.task.task_id, "ours" if found.likeness is Likeness.OURS else "probably ours")
    is_adopted = found.likeness is not Likeness.OURS
    return _record(journal, replace(attempt, task_id=found.task.task_id, is_adopted=is_adopted))


def _after_refusal(session: Session, journal: Journal, attempt: Attempt, refusal: EcsRefused) -> Attempt | None:
    """Return the attempt with a task that runs although ExportImage failed, or None if nothing is under way."""
    if refusal.code == IMAGE_IS_EXPORTING:
        _record(journal, attempt.closed())  # this call made nothing, whatever an earlier one did
        found = find_own_task(
            session, attempt, since=time.time() - _LONGEST_EXPORT,
            until=time.time() + session.policy.lost_reply_patience,
            any_prefix=attempt.request.prefix is None, running_only=True,
        )  # fmt: skip
        return None if found is None else _adopt(journal, attempt, found)
    if refusal.outcome_unknown:
        log.warning("%s", refusal.message)
        return recover_export(session, journal, attempt)
    _record(journal, attempt.closed())
    return None


def _adopt(journal: Journal, attempt: Attempt, found: FoundTask) -> Attempt:
    """Take over an export of the image that runs already."""
    task = found.task
    names = [name for key in task.related("OSSObject") if (name := parse_object_name(key)) is not None]
    prefix = attempt.request.prefix
    if prefix is None and names:
        prefix = names[0].prefix
    log.warning("%s is being exported already, by task %s: following that", attempt.request.image_id, task.task_id)
    return _record(
        journal, replace(attempt, task_id=task.task_id, prefix=prefix, started=task.created or int(time.time()),
                         is_adopted=not names or prefix != attempt.prefix),
    )  # fmt: skip


def _record(journal: Journal, attempt: Attempt) -> Attempt:
    journal.record(ATTEMPT, attempt)
    return attempt
