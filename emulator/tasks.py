"""Knows the account's export tasks, and runs each in a thread of its own.

    tasks/<task-id>.json    `ExportTask`, written whenever its status changes

A task that was not finished when the emulator ended is Failed when it starts again.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from emulator.folder import FolderModel, file_name, read_model, write_model
from migration.str_enum import StrEnum


class TaskStatus(StrEnum):
    """A task's states, as the vendor's DescribeTasks page lists them. Deleted means cancelled (old list)."""

    WAITING = "Waiting"
    PROCESSING = "Processing"
    FINISHED = "Finished"
    FAILED = "Failed"
    DELETED = "Deleted"

    @property
    def is_running(self) -> bool:
        return self in {TaskStatus.WAITING, TaskStatus.PROCESSING}


class TaskOperation(FolderModel):
    """What became of one disk."""

    key: str
    succeeded: bool = False
    error_code: str = ""
    error_message: str = ""


class ExportTask(FolderModel):
    """One call of ExportImage. Times are Unix seconds; `finished` is 0 while it runs; `progress` is per cent."""

    task_id: str
    region_id: str
    image_id: str
    bucket: str
    format: str
    operations: tuple[TaskOperation, ...]
    status: TaskStatus = TaskStatus.WAITING
    progress: int = 0
    created: float
    finished: float = 0


def new_task_id() -> str:
    """Return an id of the form that the ExportImage page shows, `tsk-…` (the task pages have `t-…`)."""
    return f"tsk-bp1{secrets.token_hex(9)[:17]}"


def format_time(seconds: float, *, with_seconds: bool = True) -> str:
    """Return a Unix time as ECS writes it."""
    moment = datetime.fromtimestamp(seconds, tz=timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ" if with_seconds else "%Y-%m-%dT%H:%MZ")


class TaskCancelled(Exception):
    """Raised inside an export that shall end."""


class RunningTask:
    """A task as its worker sees it: it says how far it is, and is told to end by an exception."""

    def __init__(self, board: TaskBoard, task_id: str) -> None:
        self._board, self._task_id = board, task_id
        self.cancelled = threading.Event()

    @property
    def task(self) -> ExportTask:
        return self._board.tasks[self._task_id]

    def update(self, **changes: object) -> None:
        self._board.update(self._task_id, **changes)

    def pause(self, seconds: float) -> None:
        """Wait, or raise `TaskCancelled`."""
        if self.cancelled.wait(seconds):
            raise TaskCancelled

    def wait_for(self, seconds: float, polls: int, show: Callable[[float], None] | None = None) -> None:
        """Wait until both have passed: `seconds` from now, and `polls` looks at the task from now.

        `show` is told meanwhile which part of the seconds has passed, 0 to 1.
        """
        start, seen = time.monotonic(), self._board.polls(self._task_id)
        while True:
            elapsed = time.monotonic() - start
            if show is not None:
                show(min(1.0, elapsed / seconds) if seconds else 1.0)
            if elapsed >= seconds and self._board.polls(self._task_id) - seen >= polls:
                return
            self.pause(0.01)


class TaskBoard:
    """All tasks of the account, and the threads of those that run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "tasks"
        self.lock = threading.RLock()
        self._polls: dict[str, int] = {}
        self._running: dict[str, tuple[RunningTask, threading.Thread]] = {}
        self._closing = False
        self.tasks: dict[str, ExportTask] = {}
        for path in sorted(self._folder.glob("*.json")):
            task = read_model(path, ExportTask)
            if task.status.is_running:
                task = task.model_copy(update={"status": TaskStatus.FAILED, "finished": time.time()})
                write_model(path, task)
            self.tasks[task.task_id] = task

    def start(self, task: ExportTask, work: Callable[[RunningTask], None]) -> None:
        """Add a task and do its work in the background; `work` leaves it in its final status."""
        running = RunningTask(self, task.task_id)
        thread = threading.Thread(target=self._run, args=(running, work), name=f"export {task.task_id}")
        with self.lock:
            self.tasks[task.task_id] = task
            self._save(task)
            self._running[task.task_id] = (running, thread)
        thread.start()

    def _run(self, running: RunningTask, work: Callable[[RunningTask], None]) -> None:
        try:
            work(running)
        except TaskCancelled:
            if self._closing:
                return
            running.update(status=TaskStatus.DELETED, finished=time.time())
        except Exception:
            running.update(status=TaskStatus.FAILED, finished=time.time())
            raise  # a bug of the emulator, shown by the thread's own hook

    def update(self, task_id: str, **changes: object) -> None:
        """Change a task."""
        with self.lock:
            task = self.tasks[task_id].model_copy(update=changes)
            self.tasks[task_id] = task
            if changes.keys() - {"progress"}:
                self._save(task)

    def _save(self, task: ExportTask) -> None:
        write_model(self._folder / f"{file_name(task.task_id)}.json", task)

    def look(self, task_id: str) -> ExportTask | None:
        """Return a task for someone who asks how it is, which counts as one poll."""
        with self.lock:
            self._polls[task_id] = self._polls.get(task_id, 0) + 1
            return self.tasks.get(task_id)

    def polls(self, task_id: str) -> int:
        """Return how often the task was looked at."""
        with self.lock:
            return self._polls.get(task_id, 0)

    def cancel(self, task_id: str) -> bool:
        """Ask a task to end, and return whether it was running. It ends a little later."""
        with self.lock:
            if not self.tasks[task_id].status.is_running:
                return False
            self._running[task_id][0].cancelled.set()
            return True

    def close(self) -> None:
        """End all workers. Tasks that were running are left as they are, as a crash would leave them."""
        self._closing = True
        for running, thread in list(self._running.values()):
            running.cancelled.set()
            thread.join()
