"""Findings with one remedy are one group, the worst first, and none is dropped without being counted."""

from __future__ import annotations

from dataclasses import replace

from migration.target import Target
from migration.verdict import Finding, Severity
from report.finding_groups import MOST_CASES, MOST_GROUPS, buses_of, group_findings, place_of

FINDING = Finding(code="c", severity=Severity.INFO, message="m", evidence="e", remedy="r", file="/etc/fstab", line=1)


def test_findings_with_one_remedy_are_one_group_and_errors_come_first() -> None:
    second = replace(FINDING, line=2)
    error = replace(FINDING, severity=Severity.ERROR, remedy="mend")
    groups, left_out = group_findings((FINDING, error, second))
    assert [(group.severity, group.cases) for group in groups] == [
        (Severity.ERROR, (error,)), (Severity.INFO, (FINDING, second)),
    ]  # fmt: skip
    assert left_out == 0
    assert [place_of(case) for case in groups[1].cases] == ["/etc/fstab:1", "/etc/fstab:2"]


def test_what_has_no_room_is_counted() -> None:
    many = tuple(replace(FINDING, line=number, remedy=f"r{number % (MOST_GROUPS + 5)}") for number in range(2_000))
    groups, left_out = group_findings(many)
    assert len(groups) == MOST_GROUPS
    shown = sum(len(group.cases) for group in groups)
    assert shown <= MOST_CASES + MOST_GROUPS
    assert shown + sum(group.left_out for group in groups) + left_out == len(many)


def test_buses_are_named_where_a_finding_does_not_hold_on_all() -> None:
    assert buses_of(FINDING) == ""
    assert buses_of(replace(FINDING, targets=(Target.SCSI, Target.IDE))) == "scsi, ide"
