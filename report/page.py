"""Renders a report as one HTML page that needs nothing else: no network, no script, no font.

What the cloud or a guest said is made harmless in one place: every value that a template writes goes through
`_finalize`, which makes it printable and short, and is then escaped by Jinja.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fstab_check.render import render_forecasts, render_summary
from fstab_check.repair_render import changed_lines
from fstab_check.repair_render import place_of as place_of_left
from migration.repair import Repair
from migration.storage import format_size
from migration.verdict import Severity
from report.course import State, find_course, find_stop
from report.disk_paths import DiskPath, find_disk_paths
from report.disk_picture import draw_side_by_side, draw_stacked, left_out
from report.facts import boot_facts, crcs, proofs, provenance, sizes, times
from report.finding_groups import buses_of, group_findings, place_of
from report.headline import Tone, find_headline
from report.report import Report
from report.shown_text import format_span, format_time, shown, shown_lines

MOST_DIFF_LINES, MOST_LINES = 400, 100

_MARKS = {Tone.GOOD: "✓", Tone.MIXED: "!", Tone.BAD: "✗", Tone.UNKNOWN: "?"}
_STEP_TONES = {State.DONE: "good", State.STOPPED: "bad", State.OPEN: "mixed", State.AHEAD: "unknown"}
_SEVERITY_TONES = {Severity.ERROR: "bad", Severity.WARNING: "mixed", Severity.INFO: "unknown"}


def render_page(report: Report) -> str:
    """Return the page; it stays small, whatever the report holds."""
    paths = find_disk_paths(report)
    context = {
        "report": report,
        "headline": find_headline(report), "marks": _MARKS, "severity_tones": _SEVERITY_TONES,
        "course": find_course(report), "step_tones": _STEP_TONES, "stop": find_stop(report),
        "stop_lines": _stop_lines(report), "not_examined": shown_lines(report.not_examined, MOST_LINES),
        "paths": paths, "described": _described(paths), "left_out": left_out(paths),
        "wide": draw_side_by_side(paths), "narrow": draw_stacked(paths),
        **_verdict(report), **(_repair(report.repair) if report.repair is not None else {}),
        "boot_facts": boot_facts(report.boot) if report.boot is not None else (),
        "times": times(report)[:MOST_LINES], "times_left_out": max(0, len(report.stages) - MOST_LINES),
        "tried_again": any(one.tries > 1 for one in report.stages),
        "sizes": sizes(report)[:MOST_LINES],
        "crcs": crcs(report)[:MOST_LINES], "proofs": proofs(report)[:MOST_LINES], "provenance": provenance(report),
    }  # fmt: skip
    return _environment().get_template("page.html").render(context)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined,
        finalize=_finalize, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters |= {
        "time": format_time, "span": format_span, "size": format_size,
        "place": place_of, "buses": buses_of, "diff_class": _diff_class,
    }  # fmt: skip
    return environment


def _finalize(value: Any) -> Any:
    """Return what a template may write: only what a macro has made is left as it is."""
    if isinstance(value, Markup):
        return value
    return shown(value) if isinstance(value, str) else value


def _stop_lines(report: Report) -> list[str]:
    if report.stopped:
        return shown_lines(report.stopped, MOST_LINES)
    return ["not ended"] if report.started is not None and report.ended is None else []


def _verdict(report: Report) -> dict[str, Any]:
    if report.verdict is None:
        return {}
    groups, missing = group_findings(report.verdict.findings)
    told = [line.removeprefix("  ") for line in render_forecasts(report.verdict.forecasts)]
    return {
        "summary": render_summary(report.verdict), "groups": groups, "groups_left_out": missing,
        "forecast": _at_most(told, MOST_LINES),
    }  # fmt: skip


def _repair(repair: Repair) -> dict[str, Any]:
    left = [f"{place_of_left(one)}: {one.why}" for one in repair.left]
    return {
        "before": render_summary(repair.before),
        "after": render_summary(repair.after) if repair.after is not None else "not written",
        "diff": shown_lines(repair.diff, MOST_DIFF_LINES),
        "changed": _at_most(list(changed_lines(repair.changed)), MOST_LINES), "left": _at_most(left, MOST_LINES),
    }  # fmt: skip


def _at_most(lines: list[str], most: int) -> list[str]:
    left = len(lines) - most
    return lines if left <= 0 else [*lines[:most], f"… {left} more, all of them in report.json"]


def _diff_class(line: str) -> str:
    if line.startswith(("+++", "---")):
        return "at"
    return {"+": "add", "-": "del", "@": "at"}.get(line[:1], "same")


def _described(paths: tuple[DiskPath, ...]) -> str:
    """Say in words what the picture shows, for whoever does not see it; as short as every value."""
    told = []
    for path in paths:
        places = [mount.place for volume in path.volumes for mount in volume.mounts]
        told.append(f"{path.device or 'No disk'}: {', '.join(places[:8]) or 'nothing is mounted from it'}.")
    return " ".join(told)
