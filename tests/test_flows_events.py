"""What a run tells a server: enough to alert on, nothing a guest wrote, and never a reason to fail."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from prefect.events.schemas.automations import AutomationCore, EventTrigger
from prefect.events.schemas.events import Resource, ResourceSpecification
from prefect.exceptions import TerminationSignal

from flows.events import migration_event, stage_event
from migration.errors import CloudUnavailable, FindingsRemain, Interrupted, NoSpace
from report.stage_times import Stage
from tests.report_fixtures import finished_report
from tests.test_report_stage_times import _Failure

IMAGE = "m-bp1hx7z8qk2mexample"


def test_end_of_a_migration_has_what_a_team_counts() -> None:
    report = finished_report()
    event = migration_event(report, None, image_id=IMAGE)
    assert event.name == "ferry.migration.finished"
    assert event.resource["prefect.resource.id"] == f"ferry.migration.{IMAGE}"
    assert event.resource["ferry.outcome"] == "completed"
    assert "ferry.failure" not in event.resource
    payload = event.payload
    assert (payload["image_id"], payload["failure"], payload["exit_code"]) == (IMAGE, None, 0)
    assert report.started is not None
    assert report.ended is not None
    assert payload["seconds"] == report.ended - report.started > 0
    assert payload["bytes_exported"] == sum(one.size for one in report.objects) > 0
    assert payload["bytes_of_images"] == sum(one.file_size for one in report.artifacts) > 0
    assert set(payload["stage_seconds"]) == {str(one.stage) for one in report.stages}
    json.dumps(payload)


@pytest.mark.parametrize(
    ("failure", "outcome", "kind", "code"),
    [
        pytest.param(NoSpace("no room"), "failed", "NoSpace", 6, id="full disk"),
        pytest.param(FindingsRemain("the guest is called SECRET"), "failed", "FindingsRemain", 1, id="findings"),
        pytest.param(CloudUnavailable("later"), "failed", "CloudUnavailable", 4, id="cloud"),
        pytest.param(Interrupted("stopped"), "stopped", "Interrupted", 130, id="stopped"),
        pytest.param(TerminationSignal(15), "stopped", "Interrupted", 130, id="cancelled"),
        pytest.param(_Failure("SECRET"), "failed", "_Failure", None, id="bug"),
    ],
)
def test_failure_is_told_by_its_kind_where_an_automation_can_match_it(
    failure: BaseException, outcome: str, kind: str, code: int | None
) -> None:
    [first, *_] = finished_report().stages
    for event in (
        migration_event(finished_report(), failure, image_id=IMAGE),
        stage_event(finished_report(), first, failure, image_id=IMAGE),
    ):
        assert (event.resource["ferry.outcome"], event.resource["ferry.failure"]) == (outcome, kind)
        assert (event.payload["failure"], event.payload["exit_code"]) == (kind, code)
        assert "SECRET" not in json.dumps([event.resource, event.payload])


def test_stage_is_told_with_its_disk_bytes_time_and_retries() -> None:
    report = finished_report()
    stage = next(one for one in report.stages if one.stage is Stage.DOWNLOAD)
    event = stage_event(report, replace(stage, tries=3), None, image_id=IMAGE)
    assert (event.name, event.resource["ferry.stage"]) == ("ferry.stage.finished", "download")
    assert (event.payload["subject"], event.payload["retries"]) == (stage.subject, 2)
    assert event.payload["seconds"] == stage.seconds
    assert event.payload["bytes"] == next(one.size for one in report.objects if one.device == stage.subject)
    assert stage_event(report, stage, NoSpace("x")).name == "ferry.stage.failed"


def test_disks_that_saw_no_cloud_are_told_by_their_workspace() -> None:
    event = migration_event(finished_report(), None)
    assert event.resource["prefect.resource.id"] == "ferry.migration.web1"
    assert event.payload["image_id"] == ""


@pytest.mark.slow
def test_server_that_is_away_fails_nothing_and_holds_nobody_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    code = (
        "from flows.events import migration_event, send\n"
        "from tests.report_fixtures import finished_report\n"
        "for _ in range(20): send(migration_event(finished_report(), None))\n"
        "print('went on')\n"
    )
    env = {**os.environ, "PREFECT_API_URL": f"http://127.0.0.1:{port}/api", "DO_NOT_TRACK": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False, timeout=90
    )
    assert (done.returncode, done.stdout) == (0, "went on\n"), done.stderr


def test_automation_in_the_documentation_is_one_and_matches_what_a_failed_run_tells() -> None:
    page = (Path(__file__).parent.parent / "docs" / "monitoring.md").read_text(encoding="utf-8")
    automation = AutomationCore.model_validate(yaml.safe_load(page.split("```yaml\n")[1].split("```")[0]))
    trigger = automation.trigger
    assert isinstance(trigger, EventTrigger)
    assert isinstance(trigger.match, ResourceSpecification)
    failed = migration_event(finished_report(), NoSpace("no room"), image_id=IMAGE)
    assert trigger.expect == {failed.name}
    assert trigger.match.matches(Resource.model_validate(dict(failed.resource)))
    for other in (None, Interrupted("stopped")):
        told = migration_event(finished_report(), other, image_id=IMAGE)
        assert not trigger.match.matches(Resource.model_validate(dict(told.resource)))
