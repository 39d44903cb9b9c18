"""The offline half that both flows share: check /etc/fstab, then convert."""

from __future__ import annotations

import logging

from flows.conversion_settings import ConversionSettings
from flows.converting import convert_disks
from flows.drafting import Draft
from flows.stopping import RunningTasks
from flows.tasks import check_fstab, repair_fstab
from fstab_check.render import render_text
from fstab_check.repair_render import render_repair
from migration.disk import Disk
from migration.errors import FindingsRemain, Interrupted, MigrationError
from migration.repair import Repair
from migration.target import Target
from migration.workspace import Workspace
from report.report import describe_mismatch

log = logging.getLogger(__name__)


def check_and_convert(
    workspace: Workspace, draft: Draft, settings: ConversionSettings, on_fstab_mismatch: str,
    targets: tuple[Target, ...], running: RunningTasks,
) -> None:  # fmt: skip
    """Complete the report. Raises `FindingsRemain`, or why we could not look, where the operator wants it so."""
    if on_fstab_mismatch == "repair":
        disks = _repair(workspace, draft, targets, running)
    else:
        disks = draft.report.disks
        refusal = _examine(draft, on_fstab_mismatch, targets, running)
        if refusal is not None:
            raise refusal
    convert_disks(workspace, draft, disks, settings, running)


def _examine(
    draft: Draft, on_fstab_mismatch: str, targets: tuple[Target, ...], running: RunningTasks
) -> MigrationError | None:
    """Add the verdict to the report; return the reason to stop here, where the operator wants one."""
    report = draft.report
    try:
        # In a thread: a signal that arrives while libguestfs calls back into Python is lost in the binding, and a
        # cancelled run would go on. The main thread only waits, and `stop` ends the appliance.
        [future] = running.add([check_fstab.submit(report.disks, report.image, targets, running.stop, draft.clock)])
        verdict = future.result()
    except Interrupted:
        raise
    except MigrationError as error:  # a Windows image, an unreadable disk, no appliance: we could not look
        draft.add(not_examined=str(error))
        if on_fstab_mismatch == "fail":
            return error
        log.warning("The guest could not be examined, so whether it boots is unknown: %s", error)
        return None
    log.info("%s", render_text(verdict))
    draft.add(verdict=verdict)
    if verdict.is_clean:
        return None
    message = describe_mismatch(verdict)
    if on_fstab_mismatch == "warn":
        log.warning("%s; converting all the same, as asked", message)
        return None
    return FindingsRemain(message, "the report says what to do; on_fstab_mismatch=warn converts all the same")


def _repair(workspace: Workspace, draft: Draft, targets: tuple[Target, ...], running: RunningTasks) -> tuple[Disk, ...]:
    """Add the repair and its verdict to the report; return the disks to convert.

    Raises `FindingsRemain` where errors are left, and why we could not look or write: unknown is not repaired.
    """
    try:
        # In a thread, as in _examine.
        [future] = running.add(
            [repair_fstab.submit(workspace, draft.report.disks, draft.report.image, targets, running.stop, draft.clock)]
        )  # fmt: skip
        repair: Repair = future.result()
    except Interrupted:
        raise
    except MigrationError as error:
        draft.add(not_examined=str(error))
        raise
    log.info("%s", render_repair(repair))
    verdict = repair.after or repair.before
    draft.add(repair=repair, verdict=verdict)
    if verdict.errors:
        raise FindingsRemain(
            f"{describe_mismatch(verdict)}; what could be repaired safely was",
            "the report says what is left; on_fstab_mismatch=warn converts the disks as they are",
        )
    if not verdict.is_clean:
        log.warning("%s; no errors are left, so converting goes on", describe_mismatch(verdict))
    return repair.disks
