"""Shows a verdict: as text for people, as JSON (format version 1) for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence

from migration.target import Target
from migration.verdict import EntryChain, Finding, Forecast, LineForecast, Outcome, Severity, Verdict

JSON_VERSION = 1

_PLURALS = {Severity.ERROR: "errors", Severity.WARNING: "warnings", Severity.INFO: "notes"}
_SINGULARS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_WORST_FIRST = (Severity.ERROR, Severity.WARNING, Severity.INFO)


def render_text(verdict: Verdict) -> str:
    """Return the verdict for people: where each line leads, what was found, and a last line that sums up."""
    system = verdict.operating_system or "unknown Linux"
    parts = [f"Root file system: {verdict.root} ({system})"]
    if verdict.chain:
        parts += ["", *(render_chain(entry, verdict.forecasts) for entry in verdict.chain)]
    for severity in _WORST_FIRST:
        for finding in verdict.findings:
            if finding.severity is severity:
                parts += ["", *_finding_lines(finding)]
    if verdict.forecasts:
        parts += ["", "What the boot will do:", *render_forecasts(verdict.forecasts)]
    return "\n".join([*parts, "", render_summary(verdict)]) + "\n"


def render_summary(verdict: Verdict) -> str:
    """Return the verdict in one line: `clean: 3 lines lead to …` or `2 errors, 1 note`."""
    counts = Counter(finding.severity for finding in verdict.findings)
    told = ", ".join(
        f"{counts[severity]} {(_SINGULARS if counts[severity] == 1 else _PLURALS)[severity]}"
        for severity in _WORST_FIRST
        if counts[severity]
    )
    count = len(verdict.chain)
    lines = f"{count} line" if count == 1 else f"{count} lines"
    if verdict.is_clean:
        return f"clean: {lines} of fstab checked" + (f", {told}" if told else "")
    return f"not clean: {lines} of fstab checked, {told}"


def render_chain(entry: EntryChain, forecasts: Sequence[Forecast] = ()) -> str:
    """Return where one line leads: `fstab:7  /dev/vdb1 → xvdb1 → ext4 UUID … → /data → there vdb1, sdb1`."""
    steps = [entry.source]
    if entry.source.removeprefix("/dev/") != entry.resolved:
        steps.append(entry.resolved)
    if entry.filesystem:
        steps.append(f"{entry.filesystem} UUID {entry.uuid}" if entry.uuid else entry.filesystem)
    steps.append("swap" if entry.fstype == "swap" else entry.mountpoint)
    told = (line for forecast in forecasts for line in forecast.lines if line.line == entry.line)
    names = dict.fromkeys(line.device.removeprefix("/dev/") for line in told if line.device)
    if names:
        steps.append(f"there {', '.join(names)}")
    return f"fstab:{entry.line}  {' → '.join(steps)}"


_OUTCOMES = {
    Outcome.BOOTS: "boots", Outcome.DELAYED: "boots, after a wait", Outcome.UNKNOWN: "unknown",
    Outcome.WRONG_DISK: "boots with the wrong disk mounted", Outcome.EMERGENCY: "does not boot",
}  # fmt: skip


def render_forecasts(forecasts: Sequence[Forecast]) -> Iterator[str]:
    """Yield what the boot does, targets with the same outcome together; below them the lines that are to blame.

    Each is told once: under the outcome if it holds for those targets alone, else after all, with where it holds.
    """
    alike: dict[Outcome, list[Target]] = {}
    blamed: dict[str, list[Target]] = {}
    for forecast in forecasts:
        alike.setdefault(forecast.outcome, []).append(forecast.target)
        for line in forecast.lines:
            if line.outcome is not Outcome.MOUNTED:
                _add_once(blamed.setdefault(_blame(line), []), forecast.target)
    for outcome, targets in alike.items():
        yield f"  {', '.join(targets)}: {_OUTCOMES[outcome]}"
        for text in [text for text, where in blamed.items() if set(where) <= set(targets)]:
            where = blamed.pop(text)
            yield f"    {text}" if where == targets else f"    {', '.join(where)}: {text}"
    for text, where in blamed.items():
        yield f"  {'everywhere' if len(where) == len(forecasts) else ', '.join(where)}: {text}"


def _add_once(targets: list[Target], target: Target) -> None:
    if target not in targets:
        targets.append(target)


def _blame(line: LineForecast) -> str:
    place = f"fstab:{line.line} {line.source}" if line.line else line.source
    what = {Outcome.IGNORED: "not mounted", Outcome.DELAYED: "waited for, not mounted"}.get(line.outcome, line.outcome)
    wait = "" if not line.seconds or line.outcome is Outcome.EMERGENCY else f" after {line.seconds:g} s"
    return f"{place}: {what}{wait}: {line.reason}"


def render_json(verdict: Verdict, **more: int) -> str:
    """Return the verdict and `more` as one JSON object, ASCII only; docs/fstab-findings.md describes it."""
    return json.dumps({**verdict_as_dict(verdict), **more}, indent=2) + "\n"


def verdict_as_dict(verdict: Verdict) -> dict[str, object]:
    """Return the object that `render_json` writes, for reports that hold more than one."""
    return {
        "version": JSON_VERSION,
        "clean": verdict.is_clean,
        "root": verdict.root,
        "operating_system": verdict.operating_system,
        "findings": [
            {
                "code": str(finding.code), "severity": str(finding.severity),
                "file": finding.file, "line": finding.line, "device": finding.device,
                "message": finding.message, "evidence": finding.evidence, "remedy": finding.remedy,
                "targets": list(finding.targets),
            }
            for finding in verdict.findings
        ],
        "lines": [
            {
                "line": entry.line, "source": entry.source, "mountpoint": entry.mountpoint,
                "type": entry.fstype, "options": entry.options,
                "device": entry.device, "partition": entry.partition,
                "filesystem": entry.filesystem, "uuid": entry.uuid, "resolved": entry.resolved,
            }
            for entry in verdict.chain
        ],
        "targets": {str(forecast.target): _forecast_as_dict(forecast) for forecast in verdict.forecasts},
    }  # fmt: skip


def _forecast_as_dict(forecast: Forecast) -> dict[str, object]:
    return {
        "outcome": str(forecast.outcome),
        "seconds": forecast.seconds,
        "lines": [
            {
                "line": line.line, "source": line.source, "mountpoint": line.mountpoint,
                "outcome": str(line.outcome), "seconds": line.seconds, "device": line.device, "reason": line.reason,
            }
            for line in forecast.lines
        ],
    }  # fmt: skip


def _finding_lines(finding: Finding) -> Iterator[str]:
    place = f"{finding.file}:{finding.line}" if finding.line else finding.file or finding.device or "guest"
    yield f"{finding.severity.upper()} {place}: {finding.message} [{finding.code}]"
    yield f"    seen: {finding.evidence}"
    yield f"    do:   {finding.remedy}"
