"""Knows ExportImage: what it checks, how it names the objects, and the work of the task it starts."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator.account import EmulatedDisk, EmulatedImage, list_images
from emulator.ecs_errors import EXPORT_ERRORS, EcsError, export_error, missing
from emulator.emulation import Emulation
from emulator.folder import file_name
from emulator.object_store import Bucket, find_bucket, open_writer
from emulator.packing import pack_raw, pack_tar_gzip
from emulator.tasks import ExportTask, RunningTask, TaskBoard, TaskOperation, TaskStatus, new_task_id
from emulator.variants import ExportPacking, TaskFailure
from migration.disk import DiskRole, disk_stem

EXPORT_ROLE = "AliyunECSImageExportDefaultRole"
FORMATS = frozenset({"raw", "vhd", "qcow2", "vmdk", "vdi"})
WEEK = 7 * 24 * 3600  # seconds
PART = 100 * 1024 * 1024  # bytes of one part of the multipart upload: a guess


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """An export that was found admissible: object keys and disks in the same order."""

    image: EmulatedImage
    bucket: Bucket
    keys: tuple[str, ...]
    disks: tuple[Path, ...]


def export_image(emulation: Emulation, board: TaskBoard, params: Mapping[str, str]) -> dict[str, Any]:
    """Answer ExportImage: check everything, then start the task."""
    plan = plan_export(emulation, board, params)
    if params.get("DryRun", "").lower() == "true":
        # That a passed check is an error is documented for DescribeImages; here it is a guess, status included.
        raise EcsError(400, "DryRunOperation", "Request validation has been passed with DryRun flag set.")
    task = ExportTask(
        task_id=new_task_id(),
        region_id=params["RegionId"],
        image_id=plan.image.image_id,
        bucket=plan.bucket.settings.name,
        format="raw",
        operations=tuple(TaskOperation(key=key) for key in plan.keys),
        created=time.time(),
    )
    board.start(task, lambda running: _run_export(emulation, plan, running))
    name = "ExportTaskId" if emulation.variants.export_task_id_key else "TaskId"
    return {name: task.task_id, "RegionId": params["RegionId"]}


def plan_export(emulation: Emulation, board: TaskBoard, params: Mapping[str, str]) -> ExportPlan:
    """Return what the export will do, or raise `EcsError`. The order of the checks is a guess."""
    for name in ("RegionId", "ImageId", "OSSBucket"):
        if not params.get(name):
            raise missing(name)
    _check_account(emulation, params)
    if not re.fullmatch(r"[A-Za-z0-9]{0,30}", params.get("OSSPrefix", "")):
        raise export_error("InvalidOSSPrefix.Malformed")
    if (params.get("ImageFormat") or "raw") not in FORMATS:
        raise export_error("InvalidImageFormat.Malformed")
    image = _find_image(emulation, params)
    _check_image(emulation, image)
    bucket = find_bucket(emulation.folder, params["OSSBucket"])
    if bucket is None:
        raise export_error("InvalidOSSBucket.NotFound")
    if bucket.settings.region_id != image.region_id:
        raise export_error("InvalidOSSBucket.NotMatched")
    _check_quotas(emulation, board, image)
    prefix = params.get("OSSPrefix", "")
    keys = tuple(_object_key(emulation, prefix, image, disk) for disk in image.disks)
    home = emulation.folder / "images" / file_name(image.image_id)
    return ExportPlan(image, bucket, keys, tuple(home / disk.file for disk in image.disks))


def _check_account(emulation: Emulation, params: Mapping[str, str]) -> None:
    settings = emulation.settings
    if not settings.export_enabled:
        raise export_error("UserNotInTheWhiteList")
    # The page says that any other role's name is invalid; that this is the code is a guess.
    if not settings.export_role or (params.get("RoleName") or EXPORT_ROLE) != EXPORT_ROLE:
        raise export_error("NoSetRoletoECSServiceAcount")


def _find_image(emulation: Emulation, params: Mapping[str, str]) -> EmulatedImage:
    """Find one of the caller's own images; others' count as not found (likely)."""
    for image in list_images(emulation.folder):
        if (image.image_id, image.region_id) == (params["ImageId"], params["RegionId"]):
            if image.owner_alias == "self":
                return image
            break
    raise export_error("InvalidImageId.NotFound")


def _check_image(emulation: Emulation, image: EmulatedImage) -> None:
    settings = emulation.settings
    if image.refuse_export:
        if image.refuse_export not in EXPORT_ERRORS:
            raise ValueError(f"{image.image_id}: refuse_export={image.refuse_export!r} is no error of ExportImage")
        raise export_error(image.refuse_export)
    if image.status != "Available":
        raise export_error("IncorrectImageStatus")
    if image.product_code or image.owner_alias == "marketplace":
        raise export_error("ImageNotSupported")
    if any(disk.encrypted for disk in image.disks):
        raise export_error("ImageNotSupported/encrypted")
    if image.os_type == "windows":  # refused by the user guide; that this is the code is likely
        raise export_error("InvalidImageLicense.NotSupported", "Windows Server images cannot be exported.")
    data = [disk for disk in image.disks if disk.role == "data"]
    if settings.max_data_disks is not None and len(data) > settings.max_data_disks:
        raise export_error("InvalidImage.DiskAmountOrSize", f"At most {settings.max_data_disks} data disks.")
    if any(disk.size_gib > settings.max_data_disk_gib for disk in data):
        raise export_error("InvalidImage.DiskAmountOrSize", f"At most {settings.max_data_disk_gib} GiB a data disk.")


def _check_quotas(emulation: Emulation, board: TaskBoard, image: EmulatedImage) -> None:
    tasks = list(board.tasks.values())
    running = [task for task in tasks if task.status.is_running]
    if any(task.image_id == image.image_id for task in running):
        raise export_error("ImageIsExporting")
    if len(running) >= emulation.settings.concurrent_exports:
        raise export_error("ConcurrentQuotaExceed.ExportImage")
    if sum(task.created > time.time() - WEEK for task in tasks) >= emulation.settings.weekly_exports:
        raise export_error("WeeklyQuotaExceed.ExportImage")


def _object_key(emulation: Emulation, prefix: str, image: EmulatedImage, disk: EmulatedDisk) -> str:
    """Return an object's name as really seen: `[prefix_]m-…_system.raw.tar.gz`, `…_data_xvdb.raw.tar.gz`."""
    variants = emulation.variants
    name = variants.joiner.join([*([prefix] if prefix else []), image.image_id])
    suffix = ".raw.tar.gz" if variants.packing is ExportPacking.TAR_GZIP else ".raw"
    return f"{name}_{disk_stem(DiskRole(disk.role), disk.device)}{suffix}"


def _run_export(emulation: Emulation, plan: ExportPlan, running: RunningTask) -> None:
    """Do the work of a task; every disk's object appears when it is whole."""
    variants = emulation.variants
    running.wait_for(variants.waiting_seconds, variants.waiting_polls)
    running.update(status=TaskStatus.PROCESSING)
    total = sum(path.stat().st_size for path in plan.disks)
    progress = _Progress(running, total, paced=variants.export_seconds > 0)
    fails = variants.failure is not TaskFailure.NEVER
    succeeded = len(plan.keys) - fails  # a failing task fails at its last disk
    for number in range(succeeded):
        _pack_disk(emulation, plan, number, progress)
    running.wait_for(variants.export_seconds, variants.export_polls, progress.show_time)
    operations = tuple(_operation(key, succeeded=n < succeeded) for n, key in enumerate(plan.keys))
    status = TaskStatus.FAILED if variants.failure is TaskFailure.FAILED else TaskStatus.FINISHED
    running.update(
        status=status,
        operations=operations,
        progress=running.task.progress if status is TaskStatus.FAILED else 100,
        finished=time.time(),
    )


def _operation(key: str, *, succeeded: bool) -> TaskOperation:
    if succeeded:
        return TaskOperation(key=key, succeeded=True)
    return TaskOperation(key=key, error_code="ExportImageFailed", error_message="Exporting the disk failed.")


def _pack_disk(emulation: Emulation, plan: ExportPlan, number: int, progress: _Progress) -> None:
    variants, key, disk = emulation.variants, plan.keys[number], plan.disks[number]
    if variants.packing is ExportPacking.TAR_GZIP:
        chunks = pack_tar_gzip(disk, key.removesuffix(".tar.gz"), variants.tar_member, progress.add)
    else:
        chunks = pack_raw(disk, progress.add)
    with open_writer(plan.bucket, key) as writer:
        writer.write_all(chunks)
        # "Exported as a multipart upload": objects of this size are.
        writer.commit(parts=-(-writer.size // PART))


class _Progress:
    """Turns packed bytes, or passing time where the export is paced, into per cent below 100."""

    def __init__(self, running: RunningTask, total: int, *, paced: bool) -> None:
        self._running, self._paced = running, paced
        self._total, self._done = total, 0

    def add(self, packed: int) -> None:
        """Count bytes of disk; raises `TaskCancelled` when the task shall end."""
        self._running.pause(0)
        self._done += packed
        if not self._paced:
            self._show(self._done / self._total)

    def show_time(self, part: float) -> None:
        if self._paced:
            self._show(part)

    def _show(self, part: float) -> None:
        percent = min(99, int(100 * part))
        if percent != self._running.task.progress:
            self._running.update(progress=percent)
