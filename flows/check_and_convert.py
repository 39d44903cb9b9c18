"""Checks the guest, has what does not match repaired, decided on or refused, and converts what comes of it."""

from __future__ import annotations

import logging
from typing import Any

from prefect.futures import PrefectFuture

from flows.converting import convert_disks
from flows.deciding import ask, known_answer
from flows.drafting import Draft
from flows.question import Question
from flows.run_settings import RunSettings
from flows.stopping import RunningTasks
from flows.tasks import check_fstab, plan_repair, repair_fstab
from fstab_check.render import render_text
from fstab_check.repair_render import render_repair
from migration.decision import Choice
from migration.disk import Disk
from migration.errors import FindingsRemain, Interrupted, MigrationError
from migration.repair import Repair
from migration.target import Target
from migration.verdict import Verdict
from migration.workspace import Workspace
from report.report import describe_mismatch

log = logging.getLogger(__name__)


def check_and_convert(workspace: Workspace, draft: Draft, settings: RunSettings, running: RunningTasks) -> None:
    """Complete the report. Raises `FindingsRemain`, or why we could not look, where the operator wants it so."""
    how, targets = settings.on_fstab_mismatch, settings.targets
    if how == "ask":
        how = _decide(workspace, draft, settings, running)
    if how == "repair":
        goes_on = settings.on_fstab_mismatch == "ask"  # whoever decided has seen what would be left
        disks = _repair(workspace, draft, targets, running, goes_on_with_errors=goes_on)
    else:
        disks = draft.report.disks
        if draft.report.verdict is None:
            refusal = _examine(draft, how, targets, running)
            if refusal is not None:
                raise refusal
    convert_disks(workspace, draft, disks, settings.conversion, running)


def _decide(workspace: Workspace, draft: Draft, settings: RunSettings, running: RunningTasks) -> str:
    """Return "repair" or "warn", as a person has decided, with the verdict in the report if it is on the disks as is.

    Raises `FindingsRemain` where the decision is to end the run, and why we could not look: there is nothing to
    decide on then. The first time the run is suspended here.
    """
    disks = draft.report.disks
    decision = known_answer(workspace, disks)
    if decision is None:
        plan = _plan_repair(draft, settings.targets, running)
        if plan.before.is_clean:
            draft.add(verdict=plan.before)
            return "warn"
        draft.add(verdict=plan.before, repair=plan if plan.diff else None)
        question = Question(describe_mismatch(plan.before), plan)
        decision = ask(workspace, disks, question, timeout=settings.decision_timeout)
        draft.add(repair=None)
    draft.add(decision=decision)
    if decision.choice is Choice.ABANDON:
        raise FindingsRemain(
            f"{_describe(draft.report.verdict)}; {decision.decided_by} decided to end the run"
            + (f": {decision.note}" if decision.note else ""),
            "to decide anew, start a run with on_fstab_mismatch=repair or warn",
        )
    if decision.choice is Choice.REPAIR:
        draft.add(verdict=None)
        return "repair"
    return "warn"


def _describe(verdict: Verdict | None) -> str:
    return describe_mismatch(verdict) if verdict is not None else "/etc/fstab does not match the exported disks"


def _result_of(look: PrefectFuture[Any], draft: Draft, running: RunningTasks) -> Any:
    """Return what a look into the guest came to; that nobody could look goes into the report, and is raised.

    It runs in a thread: a signal that arrives while libguestfs calls back into Python is lost in the binding, and a
    cancelled run would go on. The main thread only waits, and `running.stop` ends the appliance.
    """
    running.add([look])
    try:
        return look.result()
    except Interrupted:
        raise
    except MigrationError as error:
        draft.add(not_examined=str(error))
        raise


def _plan_repair(draft: Draft, targets: tuple[Target, ...], running: RunningTasks) -> Repair:
    report = draft.report
    look = plan_repair.submit(report.disks, report.image, targets, running.stop, draft.clock)
    plan: Repair = _result_of(look, draft, running)
    log.info("%s", render_text(plan.before))
    return plan


def _examine(
    draft: Draft, on_fstab_mismatch: str, targets: tuple[Target, ...], running: RunningTasks
) -> MigrationError | None:
    """Add the verdict to the report; return the reason to stop here, where the operator wants one."""
    report = draft.report
    look = check_fstab.submit(report.disks, report.image, targets, running.stop, draft.clock)
    try:
        verdict: Verdict = _result_of(look, draft, running)
    except Interrupted:
        raise
    except MigrationError as error:  # a Windows image, an unreadable disk, no appliance: we could not look
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


def _repair(
    workspace: Workspace, draft: Draft, targets: tuple[Target, ...], running: RunningTasks, *, goes_on_with_errors: bool
) -> tuple[Disk, ...]:
    """Add the repair and its verdict to the report; return the disks to convert.

    Raises `FindingsRemain` where errors are left, unless they were to be expected, and why we could not look or
    write: unknown is not repaired.
    """
    report = draft.report
    look = repair_fstab.submit(workspace, report.disks, report.image, targets, running.stop, draft.clock)
    repair: Repair = _result_of(look, draft, running)
    log.info("%s", render_repair(repair))
    verdict = repair.after or repair.before
    draft.add(repair=repair, verdict=verdict)
    if verdict.errors and not goes_on_with_errors:
        raise FindingsRemain(
            f"{describe_mismatch(verdict)}; what could be repaired safely was",
            "the report says what is left; on_fstab_mismatch=warn converts the disks as they are",
        )
    if not verdict.is_clean:
        what = "errors are left, as was decided" if verdict.errors else "no errors are left, so converting goes on"
        log.warning("%s; %s", describe_mismatch(verdict), what)
    return repair.disks
