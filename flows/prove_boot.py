"""Boots what a run has made, where that is asked for."""

from __future__ import annotations

import logging

from flows.boot_decision import to_boot, weigh_boot
from flows.drafting import Draft
from flows.stopping import RunningTasks
from flows.tasks import boot
from migration.target import Target
from migration.workspace import Workspace

log = logging.getLogger(__name__)


def prove_boot(
    workspace: Workspace, draft: Draft, target: Target, on_fstab_mismatch: str, running: RunningTasks
) -> None:
    """Add the outcome to the report. Raises `FindingsRemain` where it stops the run, and why nothing could be tried."""
    image = draft.report.image
    if image is not None and image.architecture == "arm64":
        unknown = "whether it boots was not tested: it is for an arm64 machine, and there are only x86-64 ones here"
        draft.add(boot_unknown=unknown)
        log.warning("%s", unknown)
        return
    [future] = running.add([boot.submit(workspace, to_boot(draft.report), target, running.stop, draft.clock)])
    proof = future.result()
    draft.add(boot=proof, boot_unknown=proof.unknown)
    log.info("Boot test on %s: %s (%g s)", target, proof.summary, proof.seconds)
    refusal = weigh_boot(proof, workspace, stops_on_mismatch=on_fstab_mismatch == "fail")
    if refusal is not None:
        raise refusal
    if proof.unknown:
        log.warning("Whether the guest boots on %s is unknown: %s", target, proof.unknown)
    elif not proof.outcome.is_good:
        log.warning("On %s the guest %s; going on all the same, as asked", target, proof.summary)
