"""Repairs the guest of a workspace once: the journal knows the layers, and for which repair of which disks they are."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fstab_check.examine import examine_guest
from fstab_check.repair_guest import PlannedRepair, apply_repair, plan_guest_repair
from migration.disk import Disk
from migration.disk_file import fingerprint_files
from migration.progress import Stop
from migration.repair import Repair
from migration.storage import Fingerprint, find_fingerprint
from migration.target import ALL_TARGETS, Target
from migration.verdict import Verdict
from migration.workspace import Workspace

log = logging.getLogger(__name__)

STEP = "repair"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRepair:
    """A finished repair as the journal remembers it. `files` are the disks as they were repaired, and their layers."""

    digest: str  # of the patch
    disks: tuple[Disk, ...]
    files: tuple[tuple[Path, Fingerprint], ...]
    after: Verdict
    targets: tuple[Target, ...] = ALL_TARGETS  # that `after` is on


def repair_in_workspace(
    workspace: Workspace,
    disks: Sequence[Disk],
    *,
    expected_devices: Collection[str] = (),
    targets: Sequence[Target] = ALL_TARGETS,
    stop: Stop | None = None,
) -> Repair:
    """Return the repair of the guest on `disks`, writing layers only if those for this very repair are not there yet.

    The layers lie in the workspace's folder of disks, also where the disks themselves lie elsewhere.
    Otherwise as `plan_guest_repair` and `apply_repair`.
    """
    plan = plan_guest_repair(disks, expected_devices=expected_devices, targets=targets, stop=stop)
    known = workspace.journal.get(STEP, RecordedRepair)
    if known is not None and _is_current(known, plan, disks):
        log.info("The repaired layers are there already")
        if known.targets != tuple(targets):  # written for every bus, and judged for others than are asked for now
            after = examine_guest(known.disks, expected_devices=expected_devices, targets=targets, stop=stop)
            known = replace(known, after=after, targets=tuple(targets))
            workspace.journal.record(STEP, known)
        return replace(plan.outcome, after=known.after, disks=known.disks)
    workspace.journal.forget(STEP)
    repair = apply_repair(
        disks, plan, directory=workspace.disks, expected_devices=expected_devices, targets=targets,
        overwrite=True, stop=stop,
    )  # fmt: skip
    if repair.after is not None and repair.layers:
        files = fingerprint_files(repair.disks)
        recorded = RecordedRepair(
            digest=plan.patch.digest, disks=repair.disks, files=files, after=repair.after, targets=tuple(targets)
        )
        workspace.journal.record(STEP, recorded)
    return repair


def _is_current(known: RecordedRepair, plan: PlannedRepair, disks: Sequence[Disk]) -> bool:
    originals = [disk.base or disk.path for disk in known.disks]
    return (
        known.digest == plan.patch.digest
        and originals == [disk.path for disk in disks]
        and all(find_fingerprint(path) == fingerprint for path, fingerprint in known.files)
    )
