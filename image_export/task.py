"""The export task as DescribeTasks and DescribeTaskAttribute tell it, and whether it may be believed."""

from __future__ import annotations

from dataclasses import dataclass

from image_export.answer import Answer, read_flag, read_items, read_number, read_text, read_time
from migration.credentials import redacted
from migration.str_enum import StrEnum


class TaskState(StrEnum):
    """Where a task is in its life; `TaskStatus` comes in more spellings than these."""

    WAITING = "waiting"
    PROCESSING = "processing"
    PAUSED = "paused"
    FINISHED = "finished"
    FAILED = "failed"
    DELETED = "deleted"
    UNKNOWN = "unknown"  # a word of the cloud that we do not know

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will happen; a word we do not know counts as still going on."""
        return self in {TaskState.FINISHED, TaskState.FAILED, TaskState.DELETED}


# `Processing`, `Finished`, `Failed` are today's filterable values; the others stand in the older list
# (vendor's DescribeTasks page). The synonyms are guesses that cost nothing.
_STATES = {
    "waiting": TaskState.WAITING, "pending": TaskState.WAITING, "queued": TaskState.WAITING,
    "processing": TaskState.PROCESSING, "running": TaskState.PROCESSING, "paused": TaskState.PAUSED,
    "finished": TaskState.FINISHED, "success": TaskState.FINISHED, "succeeded": TaskState.FINISHED,
    "failed": TaskState.FAILED, "failure": TaskState.FAILED,
    "deleted": TaskState.DELETED, "cancelled": TaskState.DELETED, "canceled": TaskState.DELETED,
}  # fmt: skip
_SUCCESS = {"success", "succeeded", "finished"}
_FAILURE = {"failed", "failure", "error", "deleted"}
_NO_ERROR = {"", "0", "200", "ok", "none", "null", "success"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One `OperationProgress`: what became of a part of the export. `items` are its RelatedItems, (name, value)."""

    status: str
    error_code: str
    error_message: str
    items: tuple[tuple[str, str], ...]

    @property
    def has_error(self) -> bool:
        return self.error_code.strip().lower() not in _NO_ERROR


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTask:
    """One task. Times are Unix seconds, `percent` is 0…100; None is what the cloud did not say.

    From DescribeTasks come only id, action, status and times; counters, percent and operations are
    DescribeTaskAttribute's.
    """

    task_id: str
    action: str
    status: str  # the cloud's word
    created: int | None = None
    finished: int | None = None
    percent: int | None = None
    supports_cancel: bool | None = None
    total: int | None = None
    succeeded: int | None = None
    failed: int | None = None
    resource_ids: tuple[str, ...] = ()
    operations: tuple[Operation, ...] = ()

    @property
    def state(self) -> TaskState:
        return _STATES.get(self.status.lower(), TaskState.UNKNOWN)

    @property
    def is_export(self) -> bool:
        """Whether its action is ExportImage, which an old sample spells `EXPORT_IMAGE`."""
        return self.action.replace("_", "").lower() in {"exportimage", ""}

    def related(self, name: str) -> tuple[str, ...]:
        """Return the values of all RelatedItems called `name` (OSSBucket, OSSObject, ImageFormat), without doubles."""
        values = (value for operation in self.operations for key, value in operation.items if key == name and value)
        return tuple(dict.fromkeys(values))


def parse_task(answer: Answer) -> ExportTask:
    """Read a DescribeTaskAttribute answer, or one member of DescribeTasks' TaskSet."""
    percent = read_number(answer, "TaskProcess", "Progress")  # a Japanese page of the vendor has the second
    return ExportTask(
        task_id=read_text(answer, "TaskId", "ExportTaskId"),
        action=read_text(answer, "TaskAction"),
        status=read_text(answer, "TaskStatus"),
        created=read_time(answer, "CreationTime"),
        finished=read_time(answer, "FinishedTime"),
        percent=None if percent is None else min(percent, 100),
        supports_cancel=read_flag(answer, "SupportCancel"),
        total=read_number(answer, "TotalCount"),
        succeeded=read_number(answer, "SuccessCount"),
        failed=read_number(answer, "FailedCount"),
        resource_ids=tuple(filter(None, [read_text(answer, "ResourceId")])),
        operations=tuple(
            _parse_operation(item) for item in read_items(answer, "OperationProgressSet", "OperationProgress")
        ),
    )


def _parse_operation(answer: Answer) -> Operation:
    return Operation(
        status=read_text(answer, "OperationStatus"),
        error_code=read_text(answer, "ErrorCode"),
        error_message=read_text(answer, "ErrorMsg", "ErrorMessage"),
        items=tuple(
            (read_text(item, "Name"), read_text(item, "Value"))
            for item in read_items(answer, "RelatedItemSet", "RelatedItem")
        ),
    )


def find_doubts(task: ExportTask) -> tuple[str, ...]:
    """Return why a task that says `Finished` is not to be believed; nothing where all it says agrees.

    Whether a failed export is `Failed`, or `Finished` with a FailedCount, is unknown: counters and
    operations have to agree. What the cloud leaves out is no doubt: the objects decide then. A word for
    an operation's status that we do not know is a doubt only where the counters do not vouch for it.
    """
    doubts = []
    if task.failed:
        doubts.append(f"FailedCount is {task.failed}")
    if None not in (task.succeeded, task.total) and task.succeeded != task.total:
        doubts.append(f"SuccessCount is {task.succeeded} of {task.total}")
    counters_vouch = task.failed == 0 and bool(task.total) and task.succeeded == task.total
    for operation in task.operations:
        is_bad = operation.status.lower() in _FAILURE or (
            bool(operation.status) and operation.status.lower() not in _SUCCESS and not counters_vouch
        )
        if operation.has_error or is_bad:
            words = (operation.status, operation.error_code, operation.error_message)
            doubts.append("an operation says " + redacted(" ".join(filter(None, words))))
    return tuple(doubts)
