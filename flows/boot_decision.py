"""What a run boots in the end, what is refused beforehand, and what the outcome means for the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from migration.disk import Disk, DiskFormat, DiskRole
from migration.errors import FindingsRemain, InvalidInput, MigrationError
from migration.exported_object import ExportedObject
from migration.run import find_program
from migration.target import Target
from migration.workspace import Workspace
from private_cloud.boot_in_workspace import BootProof
from private_cloud.console import Outcome
from private_cloud.machine import check_can_emulate
from report.report import Report


def check_boot_test(target: Target, disks: Sequence[Disk | ExportedObject] = ()) -> None:
    """Raise `InvalidInput` or `ToolMissing` if the test is bound to be refused; `disks` as far as they are known.

    To be called before anything costs: the test itself comes last.
    """
    check_can_emulate(target, len(disks))
    find_program("qemu-system-x86_64")
    if disks and not any(disk.role is DiskRole.SYSTEM for disk in disks):
        raise InvalidInput("there is no system disk to boot from", "give it too, or leave boot_test off")


def to_boot(report: Report) -> tuple[Disk, ...]:
    """Return what proves most: of each disk its qcow2, which goes to the other side, else what was converted."""
    images = {artifact.device: artifact for artifact in report.artifacts if artifact.format is DiskFormat.QCOW2}
    return tuple(
        replace(disk, path=images[disk.device].path, format=DiskFormat.QCOW2, base=None)
        if disk.device in images
        else disk
        for disk in (report.repair.disks if report.repair is not None else report.disks)
    )


def weigh_boot(proof: BootProof, workspace: Workspace, *, stops_on_mismatch: bool) -> MigrationError | None:
    """Return why the run fails, None where it does not: who comes up is fit, unless a mismatch is to stop the run."""
    if proof.outcome.is_good or proof.unknown:
        return None
    if proof.outcome is Outcome.MOUNT_FAILED and not stops_on_mismatch:
        return None
    return FindingsRemain(
        f"boot test on {proof.target}: {proof.summary}; what was booted is in {workspace.path}, "
        f"what the console said in {proof.console}",
        "the report has the end of it; once the guest is mended, run again: what is finished is kept",
    )
