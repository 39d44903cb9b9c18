from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from deployments.short_names import DEPLOYMENTS, completed

NAME = "export-to-private-cloud"
FULL = f"{NAME}/{NAME}"


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        pytest.param([NAME], [FULL], id="the-literal"),
        pytest.param([NAME, "-p", "image_id=m-1"], [FULL, "-p", "image_id=m-1"], id="parameters-behind"),
        pytest.param(["-p", "image_id=m-1", NAME], ["-p", "image_id=m-1", FULL], id="parameters-before"),
        pytest.param(["--watch", NAME], ["--watch", FULL], id="flag-before"),
        pytest.param([FULL], [FULL], id="full-name"),
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
    document = yaml.safe_load((Path(__file__).parent.parent / "deployments" / "prefect.yaml").read_text())
    assert tuple(deployment["name"] for deployment in document["deployments"]) == DEPLOYMENTS
    assert not any(schedule["active"] for deployment in document["deployments"] for schedule in deployment["schedules"])
