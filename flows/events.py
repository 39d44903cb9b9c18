"""What a run tells a Prefect server in events, so that a team can alert on it; docs/monitoring.md describes them.

There are as many as there are stages, and one more: nothing that would have to be throttled. An automation of Prefect
matches the labels of an event's resource, so what one alerts on stands there; the payload has the numbers. No event
carries the words of a failure: they may quote the guest, and the report has them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prefect.events import emit_event
from prefect.exceptions import TerminationSignal

from migration.errors import Interrupted, MigrationError
from report.report import Report
from report.stage_times import Stage, StageTime

log = logging.getLogger(__name__)

STAGE_FINISHED = "ferry.stage.finished"
STAGE_FAILED = "ferry.stage.failed"
MIGRATION_FINISHED = "ferry.migration.finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class FerryEvent:
    """An event before it is sent: its name, the resource it is about with its labels, and its numbers."""

    name: str
    resource: Mapping[str, str]
    payload: Mapping[str, Any] = field(default_factory=dict)


def stage_event(report: Report, stage: StageTime, failure: BaseException | None, *, image_id: str = "") -> FerryEvent:
    """Return the event of a stage that has ended, of one disk where it is about one.

    `image_id` is the image's, where there is one: the report knows it only once the cloud has told of it.
    """
    return FerryEvent(
        name=STAGE_FINISHED if failure is None else STAGE_FAILED,
        resource={**_resource(report, failure, image_id), "ferry.stage": str(stage.stage)},
        payload={
            **_failure(failure), "image_id": image_id, "workspace": str(report.workspace),
            "stage": str(stage.stage), "subject": stage.subject, "seconds": round(stage.seconds, 3),
            "retries": stage.tries - 1, "bytes": _bytes_of(report, stage),
        },
    )  # fmt: skip


def migration_event(report: Report, failure: BaseException | None, *, image_id: str = "") -> FerryEvent:
    """Return the event of a run that has ended, one way or the other."""
    began, ended = report.started, report.ended
    findings = report.verdict.findings if report.verdict is not None else ()
    return FerryEvent(
        name=MIGRATION_FINISHED,
        resource=_resource(report, failure, image_id),
        payload={
            **_failure(failure), "image_id": image_id, "workspace": str(report.workspace),
            "seconds": round(ended - began, 3) if began is not None and ended is not None else None,
            "stage_seconds": _stage_seconds(report), "retries": sum(one.tries - 1 for one in report.stages),
            "bytes_exported": sum(one.size for one in report.objects),
            "bytes_of_images": sum(one.file_size for one in report.artifacts),
            "findings": sorted({finding.code for finding in findings}),
        },
    )  # fmt: skip


def send(event: FerryEvent) -> None:
    """Hand the event over to be sent meanwhile. A server that is away, or refuses it, is no reason to fail."""
    try:
        emit_event(event=event.name, resource=dict(event.resource), payload=dict(event.payload))
    except Exception as error:  # noqa: BLE001  # whatever it is: the migration is worth more than news about it
        log.warning("The event %s could not be sent: %s", event.name, error)


def kind_of(failure: BaseException | None) -> str:
    """Return what the failure is called, "" where there is none: stable words to alert on."""
    if failure is None:
        return ""
    if isinstance(failure, (TerminationSignal, KeyboardInterrupt, Interrupted)):
        return Interrupted.__name__
    return type(failure).__name__


def _resource(report: Report, failure: BaseException | None, image_id: str) -> dict[str, str]:
    outcome = {"": "completed", Interrupted.__name__: "stopped"}.get(kind_of(failure), "failed")
    labels = {"ferry.outcome": outcome}
    if failure is not None:
        labels["ferry.failure"] = kind_of(failure)
    name = image_id or report.workspace.name
    return {"prefect.resource.id": f"ferry.migration.{name}", "prefect.resource.name": report.title, **labels}


def _failure(failure: BaseException | None) -> dict[str, Any]:
    """Return the failure's kind and what `ferry` exits with; docs/exit-codes.md tells what that means."""
    if failure is None:
        return {"failure": None, "exit_code": 0}
    if kind_of(failure) == Interrupted.__name__:
        return {"failure": kind_of(failure), "exit_code": Interrupted.exit_code}
    code = failure.exit_code if isinstance(failure, MigrationError) else None  # None: a bug of ours
    return {"failure": kind_of(failure), "exit_code": code}


def _bytes_of(report: Report, stage: StageTime) -> int | None:
    """Return how many bytes the stage was about, None where they are not what it works through."""
    device = stage.subject.partition(" ")[0]
    if stage.stage is Stage.DOWNLOAD:
        return next((one.size for one in report.objects if one.device == device), None)
    if stage.stage is Stage.CONVERT:
        return next((one.virtual_size for one in report.disks if one.device == device), None)
    return None


def _stage_seconds(report: Report) -> dict[str, float]:
    stages = dict.fromkeys(str(one.stage) for one in report.stages)
    return {name: round(sum(one.seconds for one in report.stages if one.stage == name), 3) for name in stages}
