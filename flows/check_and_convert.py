"""The offline half that both flows share: check /etc/fstab, convert, and report whatever came of it."""

from __future__ import annotations

import logging
from dataclasses import replace

from flows.report import Report
from flows.stopping import RunningTasks
from flows.tasks import check_fstab, convert, publish
from fstab_check.render import render_text
from migration.disk import DiskFormat
from migration.errors import FindingsRemain, Interrupted, MigrationError
from migration.verdict import Severity
from migration.workspace import Workspace

log = logging.getLogger(__name__)


def check_and_convert(
    workspace: Workspace, report: Report, formats: list[DiskFormat], on_fstab_mismatch: str, running: RunningTasks
) -> Report:
    """Return `report` completed. It is published even where this raises, `FindingsRemain` or why we could not look."""
    try:
        report, refusal = _examine(report, on_fstab_mismatch, running)
        if refusal is not None:
            raise refusal
        conversions = running.add(
            [
                convert.submit(workspace, disk, to, running.stop)
                for disk in report.disks
                for to in dict.fromkeys(formats)
                if to is not disk.format
            ]
        )
        report = replace(report, artifacts=tuple(future.result() for future in conversions))
    finally:
        publish(workspace, report)
    return report


def _examine(report: Report, on_fstab_mismatch: str, running: RunningTasks) -> tuple[Report, MigrationError | None]:
    """Add the verdict to `report`; with it comes the reason to stop here, where the operator wants one."""
    try:
        # In a thread: a signal that arrives while libguestfs calls back into Python is lost in the binding, and a
        # cancelled run would go on. The main thread only waits, and `stop` ends the appliance.
        [future] = running.add([check_fstab.submit(report.disks, report.image, running.stop)])
        verdict = future.result()
    except Interrupted:
        raise
    except MigrationError as error:  # a Windows image, an unreadable disk, no appliance: we could not look
        report = replace(report, not_examined=str(error))
        if on_fstab_mismatch == "fail":
            return report, error
        log.warning("The guest could not be examined, so whether it boots is unknown: %s", error)
        return report, None
    log.info("%s", render_text(verdict))
    report = replace(report, verdict=verdict)
    if verdict.is_clean:
        return report, None
    codes = ", ".join(sorted({finding.code for finding in verdict.findings if finding.severity is not Severity.INFO}))
    message = f"/etc/fstab does not match the exported disks: {codes}"
    if on_fstab_mismatch == "warn":
        log.warning("%s; converting all the same, as asked", message)
        return report, None
    return report, FindingsRemain(message, "the report says what to do; on_fstab_mismatch=warn converts all the same")
