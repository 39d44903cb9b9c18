"""The dry run, against clouds that know it, refuse it, and ignore it."""

from __future__ import annotations

from pathlib import Path

import pytest

from image_export.gather import ask_dry_run
from image_export.outcome import Outcome
from image_export.request import Attempt, ExportRequest
from image_export.start import ATTEMPT
from migration.journal import Journal
from tests.image_export_fixtures import CUT, Reply, answer, error, make_image, scripted_ecs

INTENT = Attempt(request=ExportRequest(image_id="m-bp1image", bucket="exports"), image=make_image(), prefix="ferrytest")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.json")


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        pytest.param(error(400, "DryRunOperation"), Outcome.PASS, id="passed"),
        pytest.param(error(200, "DryRunOperation"), Outcome.PASS, id="passed-with-200"),
        pytest.param(error(412, "DryRunOperation"), Outcome.PASS, id="passed-with-an-odd-status"),
        pytest.param(error(403, "NoSetRoletoECSServiceAcount"), Outcome.REFUSE, id="role-missing"),
        pytest.param(error(400, "InvalidParameter", "DryRun is not supported"), Outcome.UNKNOWN, id="not-supported"),
        pytest.param(error(400, "Throttling.User"), Outcome.UNKNOWN, id="throttled"),
    ],
)
def test_dry_run_leaves_nothing_under_way(journal: Journal, reply: Reply, outcome: Outcome) -> None:
    with scripted_ecs([reply]) as scripted:
        assert ask_dry_run(scripted.ecs(), journal, INTENT).outcome is outcome
    assert scripted.requests[0]["DryRun"] == "true"
    attempt = journal.get(ATTEMPT, Attempt)
    assert attempt is not None
    assert not attempt.is_under_way


def test_dry_run_that_is_not_heeded_is_recorded_as_the_export_it_started(journal: Journal) -> None:
    with scripted_ecs([answer(TaskId="t-real")]) as scripted:
        finding = ask_dry_run(scripted.ecs(), journal, INTENT)
    assert finding.outcome is Outcome.WARN
    assert "t-real" in finding.message
    attempt = journal.get(ATTEMPT, Attempt)
    assert attempt is not None
    assert (attempt.task_id, attempt.is_under_way, attempt.prefix) == ("t-real", True, "ferrytest")


def test_dry_run_whose_answer_is_lost_may_have_started_an_export(journal: Journal) -> None:
    with scripted_ecs([CUT]) as scripted:
        assert ask_dry_run(scripted.ecs(), journal, INTENT).outcome is Outcome.UNKNOWN
    attempt = journal.get(ATTEMPT, Attempt)
    assert attempt is not None
    assert attempt.is_under_way  # the next run looks for its task
