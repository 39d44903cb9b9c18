"""What is deployed beside the flows: automations that notice silent runs, at the same pace all of them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from deployments.deploy import AUTOMATIONS, PROJECT, read_automations, with_silence


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
