"""Finds the runs on a Prefect server that ended before they were done, and has a worker go on with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed, Scheduled

from ferry.prefect_address import unanswered
from migration.errors import InvalidInput

SILENCE = timedelta(minutes=10)  # after which a run is listed though no automation has noticed it

_ENDED = (StateType.CRASHED, StateType.FAILED, StateType.CANCELLED)
_AT_WORK = (StateType.RUNNING, StateType.PENDING, StateType.CANCELLING)
_HEARTBEAT = "prefect.flow-run.heartbeat"


@dataclass(frozen=True, slots=True)
class StoppedRun:
    """A run that ended early, with the reason that Prefect knows."""

    id: UUID
    name: str
    state: str
    message: str
    since: datetime | None = None


def find_crashed_runs(silence: timedelta = SILENCE) -> list[StoppedRun]:
    """Return the runs that crashed, or that are said to be at work and silent for so long, the latest first.

    The automation that notices the silent goes by heartbeats, and may miss a run whose only one was lost because
    the server was ending too. Raises `CloudUnavailable` where no server answers.
    """
    return _find([StateType.CRASHED]) + _find_silent(silence)


def find_stopped_run(word: str, silence: timedelta = SILENCE) -> StoppedRun:
    """Return the run with this id or name, if it ended early. Raises `InvalidInput`, `CloudUnavailable`."""
    runs = [run for run in _find(_ENDED) + _find_silent(silence) if word in (str(run.id), run.name)]
    if not runs:
        raise _not_stopped(word)
    if len(runs) > 1:
        raise InvalidInput(
            f"{len(runs)} runs that ended early are called {word!r}", "name it by its id: `ferry resume`"
        )
    return runs[0]


def _not_stopped(word: str) -> InvalidInput:
    """Return why there is nothing to resume: no such run, or one that is said to be at work still."""
    if any(word in (str(run.id), run.name) for run in _find(_AT_WORK)):
        return InvalidInput(
            f"the server says that run {word!r} is at work",
            "if its process is gone, and nothing was heard of it for a minute: `ferry resume RUN --silence 60`",
        )
    return InvalidInput(f"no run {word!r} ended early", "`ferry resume` lists those that crashed")


def go_on(run: StoppedRun) -> None:
    """Have a worker take the run up again: the same run, with its parameters. Raises as `find_stopped_run` does."""
    try:
        with get_client(sync_client=True) as client:
            # Forced below, as an ended run goes on by force only; one that somebody has resumed meanwhile must not.
            current = client.read_flow_run(run.id).state
            if current is None or current.name != run.state or current.timestamp != run.since:
                raise InvalidInput(f"{run.name} has gone on meanwhile", "see how it stands: `ferry resume`")
            if not current.is_final():
                # As the automation would have: what the run held of Prefect's limits is given back.
                client.set_flow_run_state(run.id, Crashed(message=run.message))
            client.set_flow_run_state(run.id, Scheduled(message="Resumed by ferry resume"), force=True)
    except ObjectNotFound as error:
        raise InvalidInput(f"{run.name} was deleted meanwhile", "start it anew") from error
    except httpx.HTTPError as error:
        raise unanswered(error) from error


def _find(types: Sequence[StateType]) -> list[StoppedRun]:
    which = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types))))
    try:
        with get_client(sync_client=True) as client:
            runs = client.read_flow_runs(flow_run_filter=which, sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=200)
    except httpx.HTTPError as error:
        raise unanswered(error) from error
    return [
        StoppedRun(run.id, run.name, run.state.name or "", run.state.message or "", run.state.timestamp)
        for run in runs
        if run.state is not None and run.deployment_id is not None
    ]


def _find_silent(silence: timedelta) -> list[StoppedRun]:
    """Return runs that are said to be at work, have been so for longer than `silence`, and sent no heartbeat in it."""
    now = datetime.now(timezone.utc)
    runs = [run for run in _find(_AT_WORK) if run.since is not None and now - run.since > silence]
    try:
        with get_client(sync_client=True) as client:
            silent = [run for run in runs if not _was_heard(client, run, now - silence, now)]
    except httpx.HTTPError as error:
        raise unanswered(error) from error
    told = f"nothing was heard of it for {silence.total_seconds():g} seconds or more"
    return [replace(run, message=f"{run.state}, but {told}") for run in silent]


def _was_heard(client: SyncPrefectClient, run: StoppedRun, since: datetime, until: datetime) -> bool:
    asked = {
        "filter": {
            "occurred": {"since": since.isoformat(), "until": until.isoformat()},
            "event": {"name": [_HEARTBEAT]},
            "resource": {"id": [f"prefect.flow-run.{run.id}"]},
        },
        "limit": 1,
    }
    return bool(client.request("POST", "/events/filter", json=asked).json()["total"])
