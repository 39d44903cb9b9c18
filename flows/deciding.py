"""Asks a person what is to become of a guest that does not match its disks, and waits without holding a worker.

A run of a deployment is suspended: its process ends, and another goes on from the workspace once the question is
answered, in Prefect's UI or with `ferry decide`. `ferry run` asks at its own terminal.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from prefect import suspend_flow_run
from prefect.input import RunInput
from prefect.runtime import deployment, flow_run
from pydantic import Field

from flows.question import Question, render_question
from migration.decision import Choice, Decision, find_decision, is_asked, record_decision, record_question
from migration.disk import Disk
from migration.errors import InvalidInput
from migration.workspace import Workspace

log = logging.getLogger(__name__)

Asker = Callable[[Question], Decision]
KEY = "fstab-mismatch"  # of the suspension: asked again with it, Prefect gives the answer

_askers: list[Asker] = []


class Answer(RunInput):
    """The form in which the question is answered."""

    choice: Literal["repair", "convert", "abandon"] = Field(
        title="What shall be done",
        description="repair: change what the diff shows, in a layer over the downloaded disks, and convert that; "
        "convert: convert the disks as they are; abandon: end the run, converting nothing",
    )
    decided_by: str = Field(min_length=1, max_length=200, title="Decided by", description="Your name: it is kept")
    note: str = Field(default="", max_length=2000, title="Note", description="Why, for the report")


@contextmanager
def answered_by(asker: Asker) -> Iterator[None]:
    """Have questions of runs in this process answered by `asker`."""
    _askers.append(asker)
    try:
        yield
    finally:
        _askers.remove(asker)


def check_can_ask() -> None:
    """Raise `InvalidInput` where nobody could answer; to be called before anything costs."""
    if not _askers and not deployment.id:
        raise InvalidInput(
            "on_fstab_mismatch=ask needs someone who can answer: a run of a deployment, or a terminal",
            "start it with `prefect deployment run`, or say fail, warn or repair",
        )


def known_answer(workspace: Workspace, disks: Sequence[Disk]) -> Decision | None:
    """Return the decision on these disks if there is one by now; suspends the run again if it was asked and is not."""
    decision = find_decision(workspace, disks)
    if decision is None and not _askers and is_asked(workspace, disks, _asked()):
        decision = _suspend(None)
        record_decision(workspace, disks, decision)
    if decision is not None:
        log.info(
            "Decided by %s: %s%s", decision.decided_by, decision.choice, f" ({decision.note})" if decision.note else ""
        )
    return decision


def ask(workspace: Workspace, disks: Sequence[Disk], question: Question, *, timeout: float | None) -> Decision:
    """Return what a person decides. In a run of a deployment this ends the process; see `known_answer`.

    `timeout` is in seconds; a run that nobody answers fails then. None: it waits for as long as it takes.
    """
    if _askers:
        decision = _askers[-1](question)
    else:
        record_question(workspace, disks, _asked())
        log.warning("Waiting for a decision: answer in the UI (Resume), or with `ferry decide %s`", flow_run.id)
        decision = _suspend(question, timeout=timeout)
    record_decision(workspace, disks, decision)
    return decision


def _suspend(question: Question | None, *, timeout: float | None = None) -> Decision:
    form = Answer
    if question is not None:
        form = Answer.with_initial_data(description=render_question(question))
    answer = suspend_flow_run(wait_for_input=form, key=KEY, timeout=int(timeout) if timeout else None)
    return Decision(
        choice=Choice(answer.choice), decided_by=answer.decided_by, note=answer.note, when=time.time(), asked=_asked()
    )


def _asked() -> str:
    return f"flow run {flow_run.id}"
