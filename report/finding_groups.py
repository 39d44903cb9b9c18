"""Puts findings that ask for the same remedy together: one thing to do, and all the places where it is to be done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from migration.target import ALL_TARGETS
from migration.verdict import Finding, Severity

MOST_GROUPS = 80
MOST_CASES = 240  # in all groups together

_WORST_FIRST = list(Severity)


@dataclass(frozen=True, slots=True)
class FindingGroup:
    """Findings with one severity, code and remedy; `left_out` of them are not among the cases."""

    severity: Severity
    code: str
    remedy: str
    cases: tuple[Finding, ...]
    left_out: int


def group_findings(findings: Sequence[Finding]) -> tuple[tuple[FindingGroup, ...], int]:
    """Return the groups, the worst first, and how many findings are in none, as no page has room for them."""
    alike: dict[tuple[Severity, str, str], list[Finding]] = {}
    for finding in findings:
        alike.setdefault((finding.severity, finding.code, finding.remedy), []).append(finding)
    ordered = sorted(alike.items(), key=lambda item: _WORST_FIRST.index(item[0][0]))
    groups, room = [], MOST_CASES
    for (severity, code, remedy), cases in ordered[:MOST_GROUPS]:
        kept = cases[: max(1, room)]
        room -= len(kept)
        groups.append(FindingGroup(severity, code, remedy, tuple(kept), len(cases) - len(kept)))
    return tuple(groups), sum(len(cases) for _, cases in ordered[MOST_GROUPS:])


def place_of(finding: Finding) -> str:
    """Return where a finding was made: `/etc/fstab:3`, "" where that says nothing."""
    return f"{finding.file}:{finding.line}" if finding.file and finding.line else finding.file or finding.device or ""


def buses_of(finding: Finding) -> str:
    """Return the buses on which alone it holds, "" for all."""
    return "" if set(finding.targets) == set(ALL_TARGETS) else ", ".join(finding.targets)
