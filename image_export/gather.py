"""Gathers what the preflight judges: the image, the bucket, its objects, the workspace's room, ECS's own opinion."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import replace
from pathlib import Path

from image_export.bucket import BucketInfo, ExportBucket
from image_export.ecs import DRY_RUN_PASSED, Ecs
from image_export.limits import LIMITS, Limits
from image_export.objects import parse_object_name
from image_export.outcome import Outcome
from image_export.preflight import SERVER_CHECK, PreflightFacts, PreflightFinding
from image_export.request import Attempt, ExportRequest
from image_export.sdk_failure import EcsRefused
from image_export.session import Session
from image_export.start import ATTEMPT
from migration.errors import MigrationError
from migration.journal import Journal

log = logging.getLogger(__name__)


def gather_facts(
    session: Session, request: ExportRequest, directory: Path, *, limits: Limits = LIMITS
) -> PreflightFacts:
    """Return what can be known before an export into the workspace at `directory`.

    Raises `EcsRefused` or `EcsUnavailable` where the account's images cannot be read at all; what is
    wrong with the bucket is a fact.
    """
    image = session.insist(lambda: session.ecs.describe_image(request.image_id))
    info: BucketInfo | None = None
    problem: MigrationError | None = None
    existing: tuple[str, ...] | None = None
    try:
        bucket = session.bucket(request.bucket)
        info = session.insist(bucket.describe)
        existing = session.insist(lambda: _existing_keys(bucket, request))
    except MigrationError as error:
        problem = error if info is None else None
    return PreflightFacts(
        request=request,
        region_id=session.cloud.region_id,
        image=image,
        bucket=info,
        bucket_problem=problem,
        free_space=shutil.disk_usage(directory).free,
        existing_keys=existing,
        limits=limits,
    )


def _existing_keys(bucket: ExportBucket, request: ExportRequest) -> tuple[str, ...]:
    """Return the objects whose names an export with this prefix would use again."""
    if request.prefix is None:
        return ()
    listing = bucket.list_objects(request.prefix or request.image_id, request.image_id)
    names = ((found.key, parse_object_name(found.key)) for found in listing)
    return tuple(
        key for key, name in names if name and (name.prefix, name.image_id) == (request.prefix, request.image_id)
    )


def ask_dry_run(ecs: Ecs, journal: Journal, attempt: Attempt) -> PreflightFinding:
    """Return what ExportImage says when it is asked to check only.

    The parameter is in the SDK and its typed models, not on the older pages of the operation: a cloud
    that does not know it would export for real. So the attempt is recorded as if it did, and a task that
    comes of it is kept to be followed. That a passed check answers `DryRunOperation` is documented for
    other operations, with whatever HTTP status.
    """

    def finding(outcome: Outcome, message: str, remedy: str = "") -> PreflightFinding:
        return PreflightFinding(rule=SERVER_CHECK, outcome=outcome, message=message, remedy=remedy)

    attempt = replace(attempt, started=int(time.time()))
    journal.record(ATTEMPT, attempt)
    try:
        task_id = ecs.export_image(attempt.request, attempt.prefix or "", dry_run=True)
    except EcsRefused as error:
        if error.outcome_unknown:  # the attempt stays: the next run looks whether something came of it
            return finding(Outcome.UNKNOWN, error.message, error.remedy)
        journal.record(ATTEMPT, attempt.closed())
        if error.code == DRY_RUN_PASSED:
            return finding(Outcome.PASS, "ECS would export the image, the role included")
        is_about_dry_run = "dryrun" in error.message.lower()
        outcome = Outcome.UNKNOWN if error.transient or is_about_dry_run else Outcome.REFUSE
        return finding(outcome, error.message, error.remedy)
    journal.record(ATTEMPT, replace(attempt, task_id=task_id))
    log.warning("ECS did not heed DryRun: export task %s runs for real", task_id)
    remedy = "run the export to follow it on, or cancel it"
    return finding(Outcome.WARN, f"ECS did not heed DryRun and has started the export for real: task {task_id}", remedy)
