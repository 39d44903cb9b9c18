"""Knows ExportImage: what it checks, how it names the objects, and the work of the task it starts."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from emulator.account import EmulatedDisk, EmulatedImage, list_images
from emulator.ecs_errors import EXPORT_ERRORS, EcsError, export_error, missing
from emulator.emulation import Emulation
from emulator.folder import file_name
from emulator.object_store import Bucket, find_bucket, open_writer
from emulator.packing import pack_raw, pack_tar_gzip
from emulator.tasks import ExportTask, RunningTask, TaskBoard, TaskCancelled, TaskOperation, TaskStatus, new_task_id
from emulator.variants import ExportPacking, TaskFailure
from migration.disk import DiskRole, disk_stem
from migration.errors import Interrupted
from migration.run import run

EXPORT_ROLE = "AliyunECSImageExportDefaultRole"
FORMATS = frozenset({"raw", "vhd", "qcow2", "vmdk", "vdi"})
# Vendor's ExportImage page of January 2026: the only regions that have ImageFormat.
FORMAT_REGIONS = frozenset({
    "ap-northeast-1", "ap-southeast-5", "eu-central-1", "me-east-1", "us-east-1", "eu-west-1", "ap-southeast-1",
    "ap-southeast-3", "us-west-1",
})  # fmt: skip
WEEK = 7 * 24 * 3600  # seconds
PART = 100 * 1024 * 1024  # bytes of one part of the multipart upload: a guess


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """An export that was found admissible: object keys and disks in the same order."""

    image: EmulatedImage
    bucket: Bucket
    format: str
    keys: tuple[str, ...]
    disks: tuple[Path, ...]


def _choose_format(emulation: Emulation, params: Mapping[str, str]) -> str:
    """Return the format of the export: the page says that other regions "by default" give RAW, and has an error too."""
    asked = params.get("ImageFormat") or "raw"
    if asked not in FORMATS:
        raise export_error("InvalidImageFormat.Malformed")
    if asked == "raw" or params["RegionId"] in FORMAT_REGIONS:
        return asked
    if emulation.variants.refuse_unsupported_format:
        raise export_error("InvalidImageFormat.RegionNotSupported")
    return "raw"


def export_image(emulation: Emulation, board: TaskBoard, params: Mapping[str, str]) -> dict[str, Any]:
    """Answer ExportImage: check everything, then start the task."""
    with board.lock:  # of two calls for one image, one is told that it is being exported
        return _start_export(emulation, board, params)


def _start_export(emulation: Emulation, board: TaskBoard, params: Mapping[str, str]) -> dict[str, Any]:
    plan = plan_export(emulation, board, params)
    if params.get("DryRun", "").lower() == "true":
        # That a passed check is an error is documented for DescribeImages; here it is a guess, status included.
        raise EcsError(400, "DryRunOperation", "Request validation has been passed with DryRun flag set.")
    task = ExportTask(
        task_id=new_task_id(),
        region_id=params["RegionId"],
        image_id=plan.image.image_id,
        bucket=plan.bucket.settings.name,
        format=plan.format,
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
    image_format = _choose_format(emulation, params)
    image = _find_image(emulation, params)
    _check_image(emulation, image)
    bucket = find_bucket(emulation.folder, params["OSSBucket"])
    if bucket is None:
        raise export_error("InvalidOSSBucket.NotFound")
    if bucket.settings.region_id != image.region_id:
        raise export_error("InvalidOSSBucket.NotMatched")
    _check_quotas(emulation, board, image)
    prefix = params.get("OSSPrefix", "")
    keys = tuple(_object_key(emulation, prefix, image, disk, image_format) for disk in image.disks)
    home = emulation.folder / "images" / file_name(image.image_id)
    return ExportPlan(image, bucket, image_format, keys, tuple(home / disk.file for disk in image.disks))


def _check_account(emulation: Emulation, params: Mapping[str, str]) -> None:
    settings = emulation.settings
    if not settings.export_enabled:
        raise export_error("UserNotInTheWhiteList")
    # The page says that any other role's name is invalid; that this is the code is a guess.
    if not settings.export_role or (params.get("RoleName") or EXPORT_ROLE) != EXPORT_ROLE:
        raise export_error("NoSetRoletoECSServiceAcount")


def _find_image(emulation: Emulation, params: Mapping[str, str]) -> EmulatedImage:
    """Find one of the caller's own images: those of other categories are not supported (the page's words)."""
    for image in list_images(emulation.folder):
        if (image.image_id, image.region_id) == (params["ImageId"], params["RegionId"]):
            if image.owner_alias != "self":
                raise export_error("InvalidImageCategory.NotSupported")
            return image
    raise export_error("InvalidImageId.NotFound")


def _check_image(emulation: Emulation, image: EmulatedImage) -> None:
    settings = emulation.settings
    if image.refuse_export:
        if image.refuse_export not in EXPORT_ERRORS:
            raise ValueError(f"{image.image_id}: refuse_export={image.refuse_export!r} is no error of ExportImage")
        raise export_error(image.refuse_export)
    if image.status != "Available":
        raise export_error("IncorrectImageStatus")
    if image.product_code:
        raise export_error("ImageNotSupported/marketplace")
    if any(disk.encrypted for disk in image.disks):
        raise export_error("ImageNotSupported/encrypted")
    if image.os_type == "windows":  # refused by the user guide; that this is the code is likely
        raise export_error("InvalidImageLicense.NotSupported")
    data = [disk for disk in image.disks if disk.role == "data"]
    if settings.max_data_disks is not None and len(data) > settings.max_data_disks:
        raise export_error("InvalidImage.DiskAmountOrSize")
    if any(disk.size_gib > settings.max_data_disk_gib for disk in data):
        raise export_error("InvalidImage.DiskAmountOrSize")


def _check_quotas(emulation: Emulation, board: TaskBoard, image: EmulatedImage) -> None:
    tasks = list(board.tasks.values())
    running = [task for task in tasks if task.status.is_running]
    if any(task.image_id == image.image_id for task in running):
        raise export_error("ImageIsExporting")
    if len(running) >= emulation.settings.concurrent_exports:
        raise export_error("ConcurrentQuotaExceed.ExportImage")
    if sum(task.created > time.time() - WEEK for task in tasks) >= emulation.settings.weekly_exports:
        raise export_error("WeeklyQuotaExceed.ExportImage")


def _object_key(emulation: Emulation, prefix: str, image: EmulatedImage, disk: EmulatedDisk, image_format: str) -> str:
    """Return an object's name as really seen: `[prefix_]m-…_system.raw.tar.gz`, `…_data_xvdb.raw.tar.gz`.

    For formats other than RAW no real name is known: bare files are a guess. An export of the same image
    with the same prefix replaces the objects of the one before, which is a guess too.
    """
    variants = emulation.variants
    name = variants.joiner.join([*([prefix] if prefix else []), image.image_id])
    packed = image_format == "raw" and variants.packing is ExportPacking.TAR_GZIP
    return f"{name}_{disk_stem(DiskRole(disk.role), disk.device)}.{image_format}{'.tar.gz' if packed else ''}"


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
        _pack_disk(emulation, plan, number, running, progress)
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


def _pack_disk(emulation: Emulation, plan: ExportPlan, number: int, running: RunningTask, progress: _Progress) -> None:
    """Write one object, as a multipart upload would: objects of this size are such."""
    key, disk = plan.keys[number], plan.disks[number]
    with ExitStack() as stack:
        if plan.format != "raw":
            scratch = Path(stack.enter_context(TemporaryDirectory(dir=plan.bucket.folder)))
            disk = _convert(disk, plan.format, scratch, running)
        if key.endswith(".tar.gz"):
            chunks = pack_tar_gzip(disk, key.removesuffix(".tar.gz"), emulation.variants.tar_member, progress.add)
        else:
            chunks = pack_raw(disk, progress.add)
        writer = stack.enter_context(open_writer(plan.bucket, key))
        writer.write_all(chunks)
        writer.commit(parts=-(-writer.size // PART))


def _convert(disk: Path, image_format: str, scratch: Path, running: RunningTask) -> Path:
    """Return the disk in another format."""
    target = scratch / f"disk.{image_format}"
    name = {"vhd": "vpc"}.get(image_format, image_format)
    try:
        run(["qemu-img", "convert", "-f", "raw", "-O", name, disk, target], stop=running.cancelled)
    except Interrupted as error:
        raise TaskCancelled from error
    return target


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
