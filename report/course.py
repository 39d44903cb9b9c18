"""Knows how far a run came: for every stage that it was to do whether it is done, failed, under way or not reached."""

from __future__ import annotations

from dataclasses import dataclass

from migration.str_enum import StrEnum
from report.report import Report
from report.stage_times import Ending, Stage, StageTime


class State(StrEnum):
    """How a stage stands."""

    DONE = "done"
    STOPPED = "stopped here"
    OPEN = "under way"
    AHEAD = "not reached"


@dataclass(frozen=True, slots=True)
class Step:
    """One stage of the course."""

    stage: Stage
    state: State


def find_course(report: Report) -> tuple[Step, ...]:
    """Return the planned stages in their order; none where the report tells of no plan."""
    return tuple(Step(stage, _state(report, stage)) for stage in report.planned)


def find_stop(report: Report) -> Stage | None:
    """Return the stage at which the last run stopped, or is: None where it ended well, or did not come to any."""
    if not report.stopped and report.ended is not None:
        return None
    unfinished = [one for one in _of_last_run(report) if not one.is_done]
    if unfinished:
        return max(unfinished, key=lambda one: one.ended or float("inf")).stage
    reached = [one.stage for one in _of_last_run(report)]
    return max(reached, key=list(Stage).index) if reached and report.stopped else None


def _state(report: Report, stage: Stage) -> State:
    if report.stopped and stage is find_stop(report):
        return State.STOPPED
    times = [one for one in _of_last_run(report) if one.stage is stage]
    if any(one.ending is Ending.OPEN for one in times):
        return State.STOPPED if report.ended is not None else State.OPEN
    if any(one.is_done for one in times):
        return State.DONE
    return State.AHEAD


def _of_last_run(report: Report) -> tuple[StageTime, ...]:
    """Return what the last run has touched: a resumed one goes through the finished stages again, at once."""
    if report.started is None:
        return report.stages
    begun = report.started
    return tuple(one for one in report.stages if one.ended is None or one.ended >= begun)
