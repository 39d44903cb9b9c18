"""The report as a noun: all that is known at the end of a migration, or where it stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.shrink import Shrink
from migration.artifact import Artifact
from migration.decision import Decision
from migration.disk import Disk
from migration.exported_object import ExportedObject
from migration.image import Image
from migration.repair import Repair
from migration.verdict import Severity, Verdict
from private_cloud.boot_in_workspace import BootProof
from private_cloud.bundle.contents import Bundle
from report.stage_times import Stage, StageTime


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredUse:
    """Bytes on disk of disks and images together: what the worst moment was to take, and what was measured."""

    expected: int
    peak: int
    final: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was not reached is None or empty. Times are Unix seconds."""

    title: str
    workspace: Path
    image: Image | None = None
    objects: tuple[ExportedObject, ...] = ()
    disks: tuple[Disk, ...] = ()
    early_sight: str = ""  # what was looked at before the download, and what came of it
    verdict: Verdict | None = None
    repair: Repair | None = None  # with it, `verdict` is on the guest as it was repaired
    not_examined: str = ""  # why there is no verdict, where looking failed
    artifacts: tuple[Artifact, ...] = ()
    shrink: Shrink | None = None  # None: not asked for, or not reached
    disk_use: MeasuredUse | None = None
    decision: Decision | None = None  # of a person who was asked about a mismatch
    defined: tuple[str, ...] = ()  # the files of the definitions, each with its platform and bus
    not_defined: str = ""  # why there are none, where they could not be made
    bundle: Bundle | None = None
    boot: BootProof | None = None  # None: not asked for, or not reached
    boot_unknown: str = ""  # why a boot test that was asked for shows nothing
    stopped: str = ""  # the failure that ended the run, with its remedy
    failure: str = ""  # its kind, as the family of errors calls it: "NoSpace"
    planned: tuple[Stage, ...] = ()  # what the run was to do, in order
    stages: tuple[StageTime, ...] = ()  # what it and the runs before it in this workspace did
    started: float | None = None  # of the last run
    ended: float | None = None  # None: it is still going on, or was killed
    versions: Mapping[str, str] = field(default_factory=dict)  # of what did the work


def describe_mismatch(verdict: Verdict) -> str:
    """Say in one line what is wrong; the report has the rest."""
    codes = ", ".join(sorted({finding.code for finding in verdict.findings if finding.severity is not Severity.INFO}))
    return f"/etc/fstab does not match the exported disks: {codes}"


def outcome_of_run(report: Report) -> dict[str, Any]:
    """Return what a flow gives to whoever started it, in JSON's own types; None stands for what was not made."""
    boot = report.boot and {
        "target": str(report.boot.target), "outcome": str(report.boot.outcome), "summary": report.boot.summary,
        "console": str(report.boot.console),
    }  # fmt: skip
    images = [str(artifact.path) for artifact in report.artifacts]
    bundle = report.bundle and {"path": str(report.bundle.path), "fingerprint": report.bundle.fingerprint}
    return {"workspace": str(report.workspace), "images": images, "boot_test": boot, "bundle": bundle}
