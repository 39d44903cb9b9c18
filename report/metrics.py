"""The reports of many workspaces as metrics, in text that Prometheus' node_exporter and OpenMetrics readers take.

All are gauges of what lies in the workspaces now: one that is deleted takes its numbers with it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from migration.errors import Interrupted, InvalidInput
from migration.workspace import REPORT_DOCUMENT
from report.document import find_report
from report.report import Report

log = logging.getLogger(__name__)

Labels = Mapping[str, str]

HELP = {
    "ferry_migration_state": "1 for the state the last run of a workspace is in: completed, failed, stopped (somebody "
    "wanted that), or open, which is under way, suspended or killed.",
    "ferry_migration_started_timestamp_seconds": "When the last run of a workspace began.",
    "ferry_migration_ended_timestamp_seconds": "When the last run of a workspace ended.",
    "ferry_migration_last_success_timestamp_seconds": "When an image was last migrated, as far as workspaces tell.",
    "ferry_migration_failure": "1 for the kind of failure that ended the last run of a workspace.",
    "ferry_exported_bytes": "Size of the exported objects.",
    "ferry_image_bytes": "Size of the converted images.",
    "ferry_stage_seconds": "What a stage took, all its tries and disks together.",
    "ferry_stage_retries": "How often a stage was tried again, all disks together.",
    "ferry_findings": "What was found in the guest, by code and severity.",
    "ferry_workspaces": "Workspaces with a report.",
    "ferry_unreadable_reports": "Workspaces whose report cannot be read.",
}


@dataclass
class _Families:
    samples: dict[str, list[tuple[dict[str, str], float]]] = field(default_factory=lambda: {name: [] for name in HELP})

    def add(self, name: str, value: float | None, labels: Labels) -> None:
        if value is not None:
            self.samples[name].append((dict(labels), value))


def find_workspaces(root: Path) -> list[Path]:
    """Return the workspaces in a folder, which may be one itself, by name. Raises `InvalidInput`."""
    try:
        found = sorted(path.parent for path in (*root.glob(REPORT_DOCUMENT), *root.glob(f"*/{REPORT_DOCUMENT}")))
    except OSError as error:
        raise InvalidInput(f"{root} cannot be read: {error.strerror}", "name the folder of the workspaces") from error
    if not found and not root.is_dir():
        raise InvalidInput(f"{root} is no folder", "name the folder of the workspaces")
    return found


def render_metrics(workspaces: Iterable[Path]) -> str:
    """Return the metrics of these workspaces; one that cannot be read is counted, and does not hide the others."""
    families, readable, unreadable = _Families(), 0, 0
    last_success: dict[str, float] = {}
    for path in workspaces:
        try:
            report = find_report(path)
        except InvalidInput as error:
            unreadable += 1
            log.warning("%s", error)
            continue
        readable += 1
        image_id = report.image.image_id if report.image is not None else ""
        _add_report(families, report, {"workspace": path.absolute().name, "image": image_id})
        if state_of(report) == "completed" and report.ended is not None:
            last_success[image_id] = max(report.ended, last_success.get(image_id, 0.0))
    for image_id, when in sorted(last_success.items()):
        families.add("ferry_migration_last_success_timestamp_seconds", when, {"image": image_id})
    families.add("ferry_workspaces", readable, {})
    families.add("ferry_unreadable_reports", unreadable, {})
    return "".join(_render(families)) + "# EOF\n"


def state_of(report: Report) -> str:
    """Return "completed", "failed", "stopped" (by somebody: nothing failed) or "open"."""
    if report.ended is None:
        return "open"
    if not report.stopped:
        return "completed"
    return "stopped" if report.failure == Interrupted.__name__ else "failed"


def _add_report(families: _Families, report: Report, labels: Labels) -> None:
    families.add("ferry_migration_state", 1, {**labels, "state": state_of(report)})
    families.add("ferry_migration_started_timestamp_seconds", report.started, labels)
    families.add("ferry_migration_ended_timestamp_seconds", report.ended, labels)
    if state_of(report) == "failed":
        families.add("ferry_migration_failure", 1, {**labels, "failure": report.failure or "unknown"})
    families.add("ferry_exported_bytes", sum(one.size for one in report.objects), labels)
    families.add("ferry_image_bytes", sum(one.file_size for one in report.artifacts), labels)
    for stage in dict.fromkeys(one.stage for one in report.stages):
        tried = [one for one in report.stages if one.stage is stage]
        of_stage = {**labels, "stage": str(stage)}
        families.add("ferry_stage_seconds", sum(one.seconds for one in tried), of_stage)
        families.add("ferry_stage_retries", sum(one.tries - 1 for one in tried), of_stage)
    findings = report.verdict.findings if report.verdict is not None else ()
    for code, severity in sorted({(str(one.code), str(one.severity)) for one in findings}):
        count = sum((str(one.code), str(one.severity)) == (code, severity) for one in findings)
        families.add("ferry_findings", count, {**labels, "code": code, "severity": severity})


def _render(families: _Families) -> Iterator[str]:
    for name, samples in families.samples.items():
        if not samples:
            continue
        yield f"# HELP {name} {HELP[name]}\n# TYPE {name} gauge\n"
        for labels, value in samples:
            shown = ",".join(f'{label}="{_escape(text)}"' for label, text in labels.items())
            yield f"{name}{{{shown}}} {_number(value)}\n" if shown else f"{name} {_number(value)}\n"


def _number(value: float) -> str:
    return str(int(value)) if math.isfinite(value) and value == int(value) else repr(float(value))


def _escape(text: str) -> str:
    # A folder's name may be any bytes, and half a surrogate pair is no text.
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
