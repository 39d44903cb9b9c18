from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from deployments.short_names import DEPLOYMENTS, completed
from migration.run import run

NAME = "export-to-private-cloud"
FULL = f"{NAME}/{NAME}"
PLACEHOLDERS = {"image_id": "m-bp1some", "bucket": "some-bucket", "region_id": "cn-hangzhou", "workspace": "/w"}


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        pytest.param([NAME], [FULL], id="the-literal"),
        pytest.param([NAME, "-p", "image_id=m-1"], [FULL, "-p", "image_id=m-1"], id="parameters-behind"),
        pytest.param(["-p", "image_id=m-1", NAME], ["-p", "image_id=m-1", FULL], id="parameters-before"),
        pytest.param(["--watch", NAME], ["--watch", FULL], id="flag-before"),
        pytest.param([FULL], [FULL], id="full-name"),
        pytest.param(["monthly-copy"], ["migrate-fleet/monthly-copy"], id="another-name-than-its-flow"),
        pytest.param(["--flow-run-name", NAME, FULL], ["--flow-run-name", NAME, FULL], id="an-options-value"),
        pytest.param(["other"], ["other"], id="another-deployment"),
        pytest.param([], [], id="nothing"),
    ],
)
def test_short_name_is_completed(argv: list[str], expected: list[str]) -> None:
    assert completed(["prefect", "deployment", "run", *argv]) == ["prefect", "deployment", "run", *expected]


@pytest.mark.parametrize("words", [["deployment", "inspect"], ["flow-run", "ls"], ["deploy"], []])
def test_other_commands_are_left_alone(words: list[str]) -> None:
    assert completed(["prefect", *words, NAME]) == ["prefect", *words, NAME]


def test_names_are_those_of_prefect_yaml() -> None:
    deployed = {}
    for deployment in deployments():
        function = deployment["entrypoint"].partition(":")[2]
        deployed[deployment["name"]] = function.replace("_", "-")
    assert deployed == DEPLOYMENTS


def test_schedules_are_switched_off_name_their_time_zone_and_do_not_overlap() -> None:
    scheduled = [one for one in deployments() if one.get("schedules")]
    assert {one["name"] for one in scheduled} >= {"monthly-copy", "nightly-test-image"}
    for deployment in scheduled:
        for schedule in deployment["schedules"]:
            assert schedule["active"] is False
            ZoneInfo(schedule["timezone"])
            assert len(schedule["cron"].split()) == 5
        if "migrate_fleet" in deployment["entrypoint"]:
            assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


def test_parameters_of_the_deployments_are_those_of_their_flows() -> None:
    # In a process of its own, for Prefect sets up logging in the one that imports flows.
    code = (
        "import importlib, json, sys\n"
        "for deployment in json.load(sys.stdin):\n"
        "    file, _, function = deployment['entrypoint'].partition(':')\n"
        "    flow = getattr(importlib.import_module(file.removesuffix('.py').replace('/', '.')), function)\n"
        f"    missing = {{name: {PLACEHOLDERS!r}[name] for name in flow.parameters.required}}\n"
        "    flow.validate_parameters({**missing, **deployment['parameters']})\n"
    )
    run([sys.executable, "-c", code], stdin=json.dumps(deployments()))


def deployments() -> list[dict[str, Any]]:
    document = yaml.safe_load((Path(__file__).parent.parent / "deployments" / "prefect.yaml").read_text())
    found: list[dict[str, Any]] = document["deployments"]
    return found
