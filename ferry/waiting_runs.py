"""Finds the runs on a Prefect server that wait for a decision, shows their questions, and answers them."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateName
from prefect.exceptions import ObjectNotFound
from prefect.flow_runs import resume_flow_run
from prefect.input import keyset_from_paused_state

from ferry.prefect_address import unanswered
from migration.decision import SETTLING
from migration.errors import InvalidInput

_SUSPENDED = FlowRunFilter(state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Suspended"])))


@dataclass(frozen=True, slots=True)
class WaitingRun:
    """A run that is suspended, and the question as the form in the UI shows it; "" where it asks nothing."""

    id: UUID
    name: str
    question: str
    since: datetime | None = None


def find_waiting_runs() -> list[WaitingRun]:
    """Return all of them. Raises `CloudUnavailable` where no server answers."""
    try:
        with get_client(sync_client=True) as client:
            runs = client.read_flow_runs(flow_run_filter=_SUSPENDED)
            return [
                WaitingRun(run.id, run.name, _question(client, run.id), run.state.timestamp if run.state else None)
                for run in runs
            ]
    except httpx.HTTPError as error:
        raise unanswered(error) from error


def find_waiting_run(word: str) -> WaitingRun:
    """Return the run with this id or name. Raises `InvalidInput`."""
    runs = [run for run in find_waiting_runs() if word in (str(run.id), run.name)]
    if not runs:
        raise InvalidInput(f"no run {word!r} waits for a decision", "`ferry decide` lists those that do")
    if len(runs) > 1:
        raise InvalidInput(f"{len(runs)} runs that wait are called {word!r}", "name it by its id: `ferry decide`")
    return runs[0]


def answer(run: WaitingRun, *, choice: str, decided_by: str, note: str) -> None:
    """Have the run go on. Raises `InvalidInput` where it does not take the answer."""
    if run.since is not None:
        time.sleep(max(0.0, SETTLING - (datetime.now(timezone.utc) - run.since).total_seconds()))
    try:
        resume_flow_run(run.id, run_input={"choice": choice, "decided_by": decided_by, "note": note})
    except RuntimeError as error:  # Prefect's word for an answer that does not fit, or comes too late
        raise InvalidInput(
            f"the run does not take this answer: {error}", "see how it stands: `ferry decide`"
        ) from error


def _question(client: SyncPrefectClient, run_id: UUID) -> str:
    state = client.read_flow_run(run_id).state
    if state is None or not state.is_paused():
        return ""
    try:
        return str(json.loads(client.read_flow_run_input(run_id, keyset_from_paused_state(state)["description"])))
    except (ObjectNotFound, httpx.HTTPStatusError, ValueError):
        return ""
