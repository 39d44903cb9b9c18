"""The stages as Prefect tasks: each one call into a room, with retries for what time mends and a progress bar."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from converters.convert import convert_disk
from converters.shrink import Shrink, shrink_in_workspace
from flows.fleet_run import CONVERSIONS, DOWNLOADS, EXPORTS
from flows.places import place
from flows.progress import progress_artifact
from flows.shown_text import show_text
from fstab_check.examine import examine_guest
from fstab_check.repair_guest import plan_guest_repair
from fstab_check.repair_in_workspace import repair_in_workspace
from image_download.download import download_disk
from image_download.landing import is_downloaded
from image_download.remote_view import open_remote_disks
from image_download.settings import DownloadSettings
from image_export.export import export_image, recorded_export
from image_export.limits import Limits
from image_export.request import Export, ExportRequest
from migration.artifact import Artifact
from migration.cloud import Cloud
from migration.credentials import CredentialSource
from migration.disk import Disk, DiskFormat
from migration.errors import MigrationError
from migration.exported_object import ExportedObject
from migration.image import Image
from migration.progress import Stop
from migration.repair import Repair
from migration.storage import format_share
from migration.target import Target
from migration.verdict import Verdict
from migration.workspace import Workspace
from private_cloud.boot_in_workspace import BootProof, boot_in_workspace
from private_cloud.bundle.contents import Bundle, BundleSettings, Contents
from private_cloud.bundle.make import make_bundle
from private_cloud.definition import Definitions
from private_cloud.definitions import write_definitions
from private_cloud.platforms import Platform
from private_cloud.virtual_machine import VirtualMachine
from report.report import Report
from report.stage_times import Stage, StageClock
from report.write import write_report

log = logging.getLogger(__name__)


def is_transient(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001  # Prefect's signature
    """Retry what time can mend; a corrupt image is as corrupt the third time."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, MigrationError) and error.transient


# The journal, not Prefect's cache, knows what is done: a cache trusts its key even where the file is gone.
_ONCE: dict[str, Any] = {"cache_policy": NO_CACHE}
_RETRIED: dict[str, Any] = {
    **_ONCE,
    "retries": 4,
    "retry_delay_seconds": exponential_backoff(backoff_factor=15),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": is_transient,
}


@task(task_run_name="export {request.image_id}", **_RETRIED)
def export(
    workspace: Workspace,
    cloud: Cloud,
    credentials: CredentialSource,
    request: ExportRequest,
    limits: Limits,
    stop: Stop,
    clock: StageClock,
) -> Export:
    """Check first, then export the image, or find the export that a run before this one started."""
    known = recorded_export(workspace)
    if known is not None and all(is_downloaded(workspace, exported) for exported in known.objects):
        with clock.timing(Stage.EXPORT):
            log.info("All disks of %s are here: its objects in the bucket are not needed any more", request.image_id)
            return known
    with (
        place(EXPORTS, stop),
        clock.timing(Stage.EXPORT),
        progress_artifact("export", f"ECS exports {request.image_id}", is_bytes=False) as progress,
    ):
        return export_image(workspace, cloud, credentials, request, limits=limits, progress=progress, stop=stop)


@task(task_run_name="download {exported.stem}", **_RETRIED)
def download(
    workspace: Workspace,
    cloud: Cloud,
    credentials: CredentialSource,
    exported: ExportedObject,
    settings: DownloadSettings,
    stop: Stop,
    clock: StageClock,
) -> Disk:
    """Bring one disk home, proven. Disks given the same `settings` share their bandwidth limit."""
    with (
        place(DOWNLOADS, stop),
        clock.timing(Stage.DOWNLOAD, exported.device),
        progress_artifact(f"download-{exported.device}", f"Download of {exported.key}") as progress,
    ):
        return download_disk(workspace, cloud, credentials, exported, settings=settings, progress=progress, stop=stop)


@task(task_run_name="check fstab", **_ONCE)
def check_fstab(
    disks: tuple[Disk, ...], image: Image | None, targets: tuple[Target, ...], stop: Stop, clock: StageClock,
    awaited_devices: tuple[str, ...] = (),
) -> Verdict:  # fmt: skip
    """Look into the guest; what is found is the verdict, never an exception. `awaited_devices` will still come."""
    expected = [disk.device for disk in image.disks] if image is not None else []
    with place(CONVERSIONS, stop), clock.timing(Stage.CHECK, "of the system disk alone" if awaited_devices else ""):
        return examine_guest(
            disks, expected_devices=expected, awaited_devices=awaited_devices, targets=targets, stop=stop
        )


@task(task_run_name="repair fstab", **_ONCE)
def repair_fstab(
    workspace: Workspace, disks: tuple[Disk, ...], image: Image | None, targets: tuple[Target, ...], stop: Stop,
    clock: StageClock,
) -> Repair:  # fmt: skip
    """Look into the guest, repair what can be repaired safely in layers over its disks, and look again."""
    expected = [disk.device for disk in image.disks] if image is not None else []
    with place(CONVERSIONS, stop), clock.timing(Stage.REPAIR):
        return repair_in_workspace(workspace, disks, expected_devices=expected, targets=targets, stop=stop)


@task(task_run_name="plan a repair of fstab", **_ONCE)
def plan_repair(
    disks: tuple[Disk, ...], image: Image | None, targets: tuple[Target, ...], stop: Stop, clock: StageClock
) -> Repair:
    """Look into the guest, and say what a repair would change; nothing is written."""
    expected = [disk.device for disk in image.disks] if image is not None else []
    with place(CONVERSIONS, stop), clock.timing(Stage.CHECK):
        return plan_guest_repair(disks, expected_devices=expected, targets=targets, stop=stop).outcome


@task(task_run_name="check fstab in the bucket", **_ONCE)
def check_fstab_in_bucket(
    cloud: Cloud, credentials: CredentialSource, exported: tuple[ExportedObject, ...], targets: tuple[Target, ...],
    stop: Stop, clock: StageClock,
) -> tuple[Verdict, str]:  # fmt: skip
    """Look into the guest where its disks lie; return the verdict, and which share of the bytes that took."""
    with (
        place(CONVERSIONS, stop),
        clock.timing(Stage.CHECK, "in the bucket"),
        open_remote_disks(exported, cloud, credentials, stop=stop) as view,
    ):
        verdict = examine_guest(view.disks, targets=targets, stop=view.stop)
    return verdict, format_share(view.bytes_read, view.bytes_total)


@task(task_run_name="leave out free space", **_ONCE)
def shrink(workspace: Workspace, disks: tuple[Disk, ...], stop: Stop, clock: StageClock) -> Shrink:
    """Give back the free space inside the guest's file systems, in layers over its disks."""
    with place(CONVERSIONS, stop), clock.timing(Stage.SHRINK):
        return shrink_in_workspace(workspace, disks, stop=stop)


@task(task_run_name="convert {disk.stem} to {to}", **_ONCE)
def convert(
    workspace: Workspace, disk: Disk, to: DiskFormat, stop: Stop, clock: StageClock, *, compress: bool
) -> Artifact:
    """Convert one disk to one format, proven equal."""
    with (
        place(CONVERSIONS, stop),
        clock.timing(Stage.CONVERT, f"{disk.device} to {to}"),
        progress_artifact(f"convert-{disk.device}-{to}", f"{disk.path.name} → {to}") as progress,
    ):
        return convert_disk(workspace, disk, to, compress=compress, progress=progress, stop=stop)


@task(task_run_name="boot on {target}", **_ONCE)
def boot(workspace: Workspace, disks: tuple[Disk, ...], target: Target, stop: Stop, clock: StageClock) -> BootProof:
    """Boot the disks over layers that are thrown away; how it comes out is the proof, never an exception."""
    with place(CONVERSIONS, stop), clock.timing(Stage.BOOT, f"on {target}"):
        return boot_in_workspace(workspace, disks, target=target, stop=stop)


@task(task_run_name="define the machine", **_ONCE)
def define(
    workspace: Workspace, machines: Mapping[Platform, VirtualMachine], stop: Stop, clock: StageClock
) -> Definitions:
    """Write the machine's definitions into the workspace."""
    with clock.timing(Stage.DEFINE):
        return write_definitions(machines, workspace.definitions, stop=stop)


@task(task_run_name="bundle", **_ONCE)
def bundle(
    workspace: Workspace, contents: Contents, settings: BundleSettings, folder: Path, stop: Stop, clock: StageClock
) -> Bundle:
    """Make the bundle in `folder`."""
    with (
        place(CONVERSIONS, stop),
        clock.timing(Stage.BUNDLE),
        progress_artifact("bundle", f"Bundle {settings.name}") as progress,
    ):
        return make_bundle(workspace, contents, settings, folder, progress=progress, stop=stop)


@task(task_run_name="report", **_ONCE)
def publish(workspace: Workspace, report: Report) -> None:
    """Write the report into the workspace and show it beside the run."""
    text = write_report(workspace, report)
    show_text(text, key="migration-report", description=report.title, kept=str(workspace.report))
