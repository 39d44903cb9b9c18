"""What is deployed beside the flows: automations that notice silent runs, at the same pace all of them."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import yaml

from deployments.deploy import AUTOMATIONS, PROJECT, read_automations, with_silence
from flows.server_start import SERVER_SETTINGS


def find(automations: list[dict[str, Any]], after: str) -> dict[str, Any]:
    [found] = [one["trigger"] for one in automations if after in one["trigger"].get("after", [])]
    assert isinstance(found, dict)
    return found


def test_silence_is_longer_than_several_heartbeats_and_is_scaled_for_all() -> None:
    known = read_automations(AUTOMATIONS)
    deployments = yaml.safe_load((PROJECT / "deployments" / "prefect.yaml").read_text())
    every = int(deployments["definitions"]["worker"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])
    assert find(known, "prefect.flow-run.heartbeat")["within"] >= 4 * every
    patient = with_silence(known, 360)
    assert find(patient, "prefect.flow-run.heartbeat")["within"] == 360
    assert find(patient, "prefect.flow-run.Pending")["within"] == 1080
    assert find(known, "prefect.flow-run.Pending")["within"] == 540, "what was read is not changed"


@pytest.mark.parametrize("state", ["Suspended", "Paused", "Completed", "AwaitingRetry"])
def test_run_that_waits_or_has_ended_is_not_taken_for_a_silent_one(state: str) -> None:
    from prefect.server.events.schemas.automations import EventTrigger  # noqa: PLC0415  # as the server judges

    trigger = EventTrigger.model_validate(find(read_automations(AUTOMATIONS), "prefect.flow-run.heartbeat"))
    assert trigger.expects(f"prefect.flow-run.{state}")


def test_every_server_remembers_who_holds_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.server.concurrency.lease_storage import ConcurrencyLeaseStorage  # noqa: PLC0415
    from prefect.settings import Settings  # noqa: PLC0415

    [(name, module)] = SERVER_SETTINGS.items()
    monkeypatch.setenv(name, module)
    assert Settings().server.concurrency.lease_storage == module, "Prefect calls the setting so"
    storage = importlib.import_module(module).ConcurrencyLeaseStorage
    assert isinstance(storage(), ConcurrencyLeaseStorage)
    compose = yaml.safe_load((PROJECT / "deployments" / "compose.yaml").read_text())
    assert compose["services"]["server"]["environment"][name] == module
    assert f"Environment={name}={module}\n" in (PROJECT / "deployments/systemd/ferry-server.service").read_text()
