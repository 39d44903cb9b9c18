"""Keeps the report of a run while it grows, and publishes it when the run ends, however it ends."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from prefect.exceptions import Pause, TerminationSignal

from flows.events import kind_of, migration_event, send, stage_event
from flows.tasks import publish
from migration.errors import MigrationError
from migration.workspace import IDENTITY, Workspace
from report.report import Report
from report.stage_times import Stage, StageClock, StageTime
from report.versions import find_versions
from report.write import write_report

log = logging.getLogger(__name__)


class Draft:
    """What is known so far; see `Report` for what can be added. `clock` times the stages."""

    def __init__(self, report: Report, workspace: Workspace) -> None:
        self.report = report
        self.clock = StageClock(workspace.journal, on_begin=self.add, on_end=self._tell)
        self._workspace = workspace
        self.image_id = str((workspace.journal.get(IDENTITY, dict) or {}).get("image_id", ""))
        self._mutex = threading.Lock()  # stages begin in threads

    def add(self, **facts: Any) -> None:
        """Take facts into the report, and write it: should the run be killed, it says how far it came."""
        with self._mutex:
            self.report = replace(self.report, stages=self.clock.times, **facts)
            try:
                write_report(self._workspace, self.report)
            except MigrationError as error:  # a full disk: the stages, or the last writing, will stop at it
                log.warning("The report could not be written: %s", error)

    def _tell(self, stage: StageTime, failure: BaseException | None) -> None:
        send(stage_event(self.report, stage, failure, image_id=self.image_id))

    def write_as_ended(self) -> None:
        """Write the report as if the run ended here, for a bundle that carries it; the workspace's own goes on."""
        planned = tuple(stage for stage in self.report.planned if stage is not Stage.BUNDLE)
        ended = replace(self.report, stages=self.clock.times, planned=planned, ended=time.time())
        write_report(self._workspace, ended)


@contextmanager
def drafting(workspace: Workspace, title: str, planned: Sequence[Stage]) -> Iterator[Draft]:
    """Publish what the block has drafted, however it ends: the report says where, and as far as can be told, why."""
    draft = Draft(
        Report(
            title=title, workspace=workspace.path, planned=tuple(planned), started=time.time(),
            versions=find_versions(),
        ),
        workspace,
    )  # fmt: skip
    draft.add()
    stopped, is_paused = "", False
    failure: BaseException | None = None
    try:
        yield draft
    except MigrationError as error:
        stopped, failure = str(error), error
        raise
    except (TerminationSignal, KeyboardInterrupt) as error:
        stopped, failure = "someone stopped it, or its worker", error
        raise
    except Pause:  # the process ends here, and another goes on: the report stays one of a run under way
        is_paused = True
        raise
    except BaseException as error:
        # Its words may hold what belongs into no report; the log of the run has them.
        failure = error
        stopped = f"by an error that is one of Ferry's own ({type(error).__name__}): the log of the run has more"
        raise
    finally:
        if not is_paused:
            draft.report = replace(
                draft.report, stages=draft.clock.times, ended=time.time(), stopped=stopped, failure=kind_of(failure)
            )
            send(
                migration_event(draft.report, failure, image_id=draft.image_id)
            )  # first: a full disk keeps the report from being written
            try:
                publish(workspace, draft.report)
            except MigrationError as error:
                if failure is None:
                    raise
                # The run ends with what failed first, not with what that keeps us from writing.
                log.warning("The report could not be written: %s", error)
