"""Knows how long each stage of a migration took, also over several runs: the journal keeps what came before.

A stage that is tried again, or resumed by a later run, adds to its time. What a killed run spent on a stage is not
known afterwards, and so is not in it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from migration.errors import MigrationError
from migration.journal import Journal
from migration.str_enum import StrEnum
from migration.workspace import STAGE_TIMES


class Stage(StrEnum):
    """What a run does, in its order."""

    EXPORT = "export"
    DOWNLOAD = "download"
    CHECK = "check"
    REPAIR = "repair"
    SHRINK = "shrink"
    CONVERT = "convert"
    BOOT = "boot"
    DEFINE = "define"
    BUNDLE = "bundle"


class Ending(StrEnum):
    """How the last try of a stage ended. OPEN: it has not, or its process was killed."""

    OPEN = "open"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTime:
    """One stage of one thing: `subject` is a device ("xvdb"), a device and a format, a bus, or "".

    `started` is when it was first begun and `ended` when it last ended, in Unix seconds; `seconds` is what its
    tries took together, the first and the last of which may lie days apart.
    """

    stage: Stage
    subject: str = ""
    started: float
    ended: float | None = None
    seconds: float = 0.0
    tries: int = 1
    ending: Ending = Ending.OPEN

    @property
    def is_done(self) -> bool:
        return self.ending is Ending.DONE


class StageClock:
    """The times of one workspace's stages. Thread-safe."""

    def __init__(
        self,
        journal: Journal | None = None,
        *,
        on_begin: Callable[[], None] = lambda: None,
        on_end: Callable[[StageTime, BaseException | None], None] = lambda _time, _error: None,
    ) -> None:
        """Go on from what `journal` has; without one nothing is kept.

        `on_begin` is called as a stage begins, `on_end` when it has ended, with what ended it if it failed; in the
        thread of the stage, either.
        """
        self._on_begin = on_begin
        self._on_end = on_end
        self._journal = journal
        self._mutex = threading.Lock()
        known = journal.get(STAGE_TIMES, tuple[StageTime, ...]) if journal is not None else None
        self._times = {(one.stage, one.subject): _closed(one) for one in known or ()}

    @property
    def times(self) -> tuple[StageTime, ...]:
        """All that were begun, in the order of the stages and of their beginning."""
        with self._mutex:
            return self._in_order()

    @contextmanager
    def timing(self, stage: Stage, subject: str = "") -> Iterator[None]:
        """Count the block's time for a stage of `subject`, however the block ends."""
        began, wall = time.monotonic(), time.time()
        earlier = self._times.get((stage, subject))
        running = StageTime(stage=stage, subject=subject, started=wall)
        if earlier is not None:
            running = replace(earlier, tries=earlier.tries + 1, ended=None, ending=Ending.OPEN)
        self._keep(running)
        self._on_begin()
        ending, failure = Ending.FAILED, None
        try:
            yield
            ending = Ending.DONE
        except BaseException as error:
            failure = error
            raise
        finally:
            # On the clock that nobody sets: what was spent is not the difference of two times of day.
            seconds = running.seconds + time.monotonic() - began
            ended = replace(running, ended=time.time(), seconds=seconds, ending=ending)
            self._keep(ended)
            self._on_end(ended, failure)

    def _keep(self, one: StageTime) -> None:
        with self._mutex:
            self._times[one.stage, one.subject] = one
            if self._journal is None:
                return
            try:
                self._journal.record(STAGE_TIMES, self._in_order())
            except MigrationError:  # a full disk: the stage itself will say so, or has done what it was to do
                return

    def _in_order(self) -> tuple[StageTime, ...]:
        order = list(Stage)
        return tuple(sorted(self._times.values(), key=lambda one: (order.index(one.stage), one.started)))


def _closed(one: StageTime) -> StageTime:
    """Return what a run before this one began, as it stands now that its process has ended."""
    return one if one.ending is not Ending.OPEN else replace(one, ending=Ending.FAILED, ended=one.ended or one.started)
