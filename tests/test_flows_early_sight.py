"""Which outcomes of an early look stop a run, and which only leave the judging to the check after the download."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.early_sight import EarlySight, weigh_failure, weigh_verdict
from migration.errors import CloudUnavailable, FindingsRemain, NoLinuxRoot
from report.markdown import render_markdown
from report.report import Report
from tests.fstab_check_fixtures import GOOD_FSTAB, ROOT_LINE, judge

MISMATCH = judge(ROOT_LINE + "/dev/vdx1 /late ext4 defaults 0 0\n")


def report_of(sight: EarlySight) -> str:
    return render_markdown(Report(title="t", workspace=Path("/w"), **sight.facts))


@pytest.mark.parametrize("stops", [True, False])
def test_look_that_was_not_possible_is_reported_and_stops_nothing(*, stops: bool) -> None:
    sight = weigh_failure(CloudUnavailable("OSS is unwell", "try again"), stops_without_linux=stops)
    assert sight.refusal is None
    assert "could not be judged before the download: OSS is unwell" in report_of(sight)
    assert "has not been examined yet" in report_of(sight)


def test_what_is_no_linux_stops_the_run_where_a_mismatch_would() -> None:
    error = NoLinuxRoot("Windows image")
    assert weigh_failure(error, stops_without_linux=False).refusal is None
    sight = weigh_failure(error, stops_without_linux=True)
    assert sight.refusal is error
    assert "could not be examined" in report_of(sight)


def test_clean_early_look_is_told_and_is_not_the_report_s_verdict() -> None:
    sight = weigh_verdict(judge(GOOD_FSTAB), "Looked at", stops_on_mismatch=True)
    assert (sight.refusal, "verdict" in sight.facts) == (None, False)
    assert "Looked at: nothing stood in the way." in report_of(sight)


def test_mismatch_stops_the_run_or_is_told_as_asked() -> None:
    warned = weigh_verdict(MISMATCH, "Looked at", stops_on_mismatch=False)
    assert warned.refusal is None
    assert "device-not-exported" in report_of(warned)
    stopped = weigh_verdict(MISMATCH, "Looked at", stops_on_mismatch=True)
    assert isinstance(stopped.refusal, FindingsRemain)
    assert stopped.facts["verdict"] is MISMATCH
    assert "/etc/fstab:2" in report_of(stopped)
