"""Finds the runs on a Prefect server that ended before they were done, and has a worker go on with them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import Scheduled

from migration.errors import CloudUnavailable, InvalidInput

# What nobody wanted comes first; what failed or was cancelled may be wanted again.
_CRASHED = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CRASHED])))
_ENDED = FlowRunFilter(
    state=FlowRunFilterState(
        type=FlowRunFilterStateType(any_=[StateType.CRASHED, StateType.FAILED, StateType.CANCELLED])
    )
)


@dataclass(frozen=True, slots=True)
class StoppedRun:
    """A run that ended early, with the reason that Prefect knows."""

    id: UUID
    name: str
    state: str
    message: str
    since: datetime | None = None


def find_crashed_runs() -> list[StoppedRun]:
    """Return the runs that crashed, the latest first. Raises `CloudUnavailable` where no server answers."""
    return _find(_CRASHED)


def find_stopped_run(word: str) -> StoppedRun:
    """Return the run with this id or name, if it ended early. Raises `InvalidInput`, `CloudUnavailable`."""
    runs = [run for run in _find(_ENDED) if word in (str(run.id), run.name)]
    if not runs:
        raise InvalidInput(f"no run {word!r} ended early", "`ferry resume` lists those that crashed")
    if len(runs) > 1:
        raise InvalidInput(
            f"{len(runs)} runs that ended early are called {word!r}", "name it by its id: `ferry resume`"
        )
    return runs[0]


def go_on(run: StoppedRun) -> None:
    """Have a worker take the run up again: the same run, with its parameters. Raises as `find_stopped_run` does."""
    try:
        with get_client(sync_client=True) as client:
            # Forced below, as an ended run goes on by force only; one that somebody has resumed meanwhile must not.
            current = client.read_flow_run(run.id).state
            if current is None or not current.is_final() or current.is_completed():
                raise InvalidInput(f"{run.name} has gone on meanwhile", "see how it stands in Prefect's UI")
            client.set_flow_run_state(run.id, Scheduled(message="Resumed by ferry resume"), force=True)
    except ObjectNotFound as error:
        raise InvalidInput(f"{run.name} was deleted meanwhile", "start it anew") from error
    except httpx.TransportError as error:
        raise _unanswered(error) from error


def _find(which: FlowRunFilter) -> list[StoppedRun]:
    try:
        with get_client(sync_client=True) as client:
            runs = client.read_flow_runs(flow_run_filter=which, sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=200)
    except httpx.TransportError as error:
        raise _unanswered(error) from error
    return [
        StoppedRun(run.id, run.name, run.state.name or "", run.state.message or "", run.state.timestamp)
        for run in runs
        if run.state is not None and run.deployment_id is not None
    ]


def _unanswered(error: httpx.TransportError) -> CloudUnavailable:
    return CloudUnavailable(f"no Prefect server answers: {error}", "name it: PREFECT_API_URL=http://127.0.0.1:4200/api")
