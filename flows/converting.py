"""Converts the disks of a run: all at once, or one after another where each is let go when its images are proven."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from converters.disk_use import DiskUse, expect_disk_use, measure_disk_use
from converters.extents import count_data
from converters.qemu_img import COMPRESSIBLE, ImageFile
from converters.shrink import TRIMMED_SUFFIX
from flows.drafting import Draft
from flows.run_settings import ConversionSettings
from flows.stopping import RunningTasks
from flows.tasks import convert, shrink
from migration.artifact import Artifact
from migration.disk import REPAIRED_SUFFIX, Disk, DiskFormat, guest_order
from migration.let_go import let_go, stands_in
from migration.storage import allocated, check_free_space, format_size
from migration.workspace import Workspace
from report.report import MeasuredUse

log = logging.getLogger(__name__)


def convert_disks(
    workspace: Workspace, draft: Draft, disks: Sequence[Disk], settings: ConversionSettings, running: RunningTasks
) -> None:
    """Add the images to the report. `disks` are those of the run, or layers with a repair over them."""
    work = {disk.device: _formats_of(workspace, disk, settings) for disk in disks}
    if settings.leave_out_free_space and any(work.values()) and not any(stands_in(workspace, disk) for disk in disks):
        # In a thread: see check_and_convert.
        [future] = running.add([shrink.submit(workspace, tuple(disks), running.stop, draft.clock)])
        shrunk = future.result()
        draft.add(shrink=shrunk)
        disks = shrunk.disks
    disks = _in_order(disks, settings)
    expected = _announce(workspace, disks, settings)
    artifacts, peak = list[Artifact](), 0
    for together in [disks] if settings.keep_raw else [[disk] for disk in disks]:
        conversions = running.add(
            [
                convert.submit(
                    workspace,
                    disk,
                    to,
                    running.stop,
                    draft.clock,
                    compress=settings.compress and to in COMPRESSIBLE,
                )
                for disk in together
                for to in work[disk.device]
            ]
        )
        made = [future.result() for future in conversions]
        artifacts += made
        peak = max(peak, _measure(workspace, disks))
        if not settings.keep_raw:
            [qcow2] = [artifact for artifact in made if artifact.format is DiskFormat.QCOW2]
            let_go(workspace, qcow2, _files_of(workspace, together[0]))
    final = _measure(workspace, disks)
    log.info("Disk use: %s at the peak, %s now (expected were %s)", format_size(peak), format_size(final), expected)
    draft.add(
        # Whoever boots the images takes them in this order.
        artifacts=tuple(sorted(artifacts, key=lambda one: (guest_order(one), one.format))),
        disk_use=MeasuredUse(expected=expected.peak, peak=peak, final=final),
    )


def _formats_of(workspace: Workspace, disk: Disk, settings: ConversionSettings) -> list[DiskFormat]:
    """Return what is to be made of the disk: not what it is already, unless it is a layer, or will not stay."""
    stays = disk.base is None and settings.keep_raw and not stands_in(workspace, disk)
    return [to for to in settings.formats if to is not disk.format or not stays]


def _in_order(disks: Sequence[Disk], settings: ConversionSettings) -> list[Disk]:
    """Return the disks, the smallest first where each makes room for the next."""
    return list(disks) if settings.keep_raw else sorted(disks, key=lambda disk: allocated(disk.base or disk.path))


def _announce(workspace: Workspace, disks: Sequence[Disk], settings: ConversionSettings) -> DiskUse:
    """Say how much room it takes, and refuse beforehand where that is not there."""
    sizes = [
        (allocated(disk.base or disk.path), count_data(ImageFile(path=disk.path.absolute(), format=disk.format)))
        for disk in disks
    ]
    expected = expect_disk_use(sizes, len(settings.formats), keep_raw=settings.keep_raw)
    log.info("Converting takes %s, all disks and images together", expected)
    present = _measure(workspace, disks)
    check_free_space(workspace.images, max(0, expected.peak - present), "converting all disks")
    return expected


def _measure(workspace: Workspace, disks: Sequence[Disk]) -> int:
    """Return the bytes on disk of disks, layers and images, also of disks that lie outside of the workspace."""
    folders = {workspace.disks, workspace.trimmed, workspace.images}
    apart = (disk.base or disk.path for disk in disks)
    return measure_disk_use(sorted(folders)) + sum(allocated(path) for path in apart if path.parent not in folders)


def _files_of(workspace: Workspace, disk: Disk) -> list[Path]:
    """Return the disk itself and all layers over it that are of no use without it."""
    if stands_in(workspace, disk):
        return []
    disk_file = disk.base or disk.path
    repaired = workspace.disks / f"{disk_file.stem}{REPAIRED_SUFFIX}"
    return [repaired, workspace.trimmed / f"{disk_file.stem}{TRIMMED_SUFFIX}", disk_file]
