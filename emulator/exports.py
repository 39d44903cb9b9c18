"""Knows ExportImage: starts a task for what is admitted, and does its work: one object for each disk."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from emulator.ecs_errors import EcsError
from emulator.emulation import Emulation
from emulator.export_admission import ExportPlan, plan_export
from emulator.object_store import open_writer
from emulator.packing import pack_raw, pack_tar_gzip
from emulator.tasks import ExportTask, RunningTask, TaskBoard, TaskCancelled, TaskOperation, TaskStatus, new_task_id
from emulator.variants import TaskFailure
from migration.errors import Interrupted
from migration.run import run

PART = 100 * 1024 * 1024  # bytes of one part of the multipart upload: a guess


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


def _run_export(emulation: Emulation, plan: ExportPlan, running: RunningTask) -> None:
    """Do the work of a task; every disk's object appears when it is whole.

    Those of a task that is cancelled or fails stay, which is a guess; what it had begun to write is removed.
    """
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
        writer.write_all(_spoil(chunks) if plan.image.spoil_export else chunks)
        writer.commit(parts=-(-writer.size // PART))


def _spoil(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Turn over the bits of the last byte of every chunk."""
    for chunk in chunks:
        yield chunk[:-1] + bytes([chunk[-1] ^ 0xFF]) if chunk else chunk


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
        self._total, self._done = max(1, total), 0

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
