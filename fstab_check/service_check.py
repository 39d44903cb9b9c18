"""Judges the enabled services that say which mounts they cannot do without: what becomes of them with the mount.

Only what a unit says by itself is taken: RequiresMountsFor=, WorkingDirectory=, which implies it (man 5 systemd.exec),
and ConditionPathIsMountPoint=. Where a program keeps its data otherwise is not guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from fstab_check.boot_effect import severity_over
from fstab_check.codes import Code
from fstab_check.facts import Guest, Line
from fstab_check.forecast import forecast_in_force
from fstab_check.mountpoint_check import normal_path, real_path
from fstab_check.unit_files import Setting, Unit
from migration.target import Target
from migration.verdict import Finding, Outcome, Severity

MAX_FINDINGS = 50
_LOST = frozenset({Outcome.IGNORED, Outcome.DELAYED, Outcome.WRONG_DISK})  # with another, the line itself is the news


def check_services(lines: Sequence[Line], guest: Guest, targets: Sequence[Target]) -> Iterator[Finding]:
    """Yield each enabled service that needs what a line of fstab does not mount on some of `targets`."""
    mounts = {
        real_path(line.entry.mountpoint, guest): line for line in reversed(lines)
        if line.entry.mountpoint.startswith("/") and not line.entry.is_swap and not line.entry.is_root
    }  # fmt: skip
    told: dict[int, dict[Target, Outcome]] = {}
    found = 0
    for unit in guest.config.units.by_name.values():
        if not unit.name.endswith(".service") or not unit.is_enabled or unit.is_masked:
            continue
        for path, setting in _needs(unit):
            line = _mount_of(path, mounts)
            if line is None or found == MAX_FINDINGS:
                continue
            outcomes = told.setdefault(line.entry.line, _outcomes(line, guest, targets))
            lost = [target for target, outcome in outcomes.items() if outcome in _LOST]
            if lost:
                found += 1
                severity = severity_over(lost, targets, Severity.WARNING)
                yield _finding(unit, path, setting, line, lost, severity)


def _needs(unit: Unit) -> Iterator[tuple[str, Setting]]:
    yield from unit.words("Unit", "RequiresMountsFor")
    folder = unit.setting("Service", "WorkingDirectory")
    if folder is not None:
        yield folder.value.removeprefix("-"), folder
    for word, setting in unit.words("Unit", "ConditionPathIsMountPoint"):
        yield word.removeprefix("|"), setting  # with "!" it is no path, and is passed over


def _mount_of(path: str, mounts: dict[str, Line]) -> Line | None:
    """Return the line that mounts what `path` lies on, None for the root; specifiers are not followed."""
    if not path.startswith("/") or "%" in path:
        return None
    path = normal_path(path)
    above = [mountpoint for mountpoint in mounts if path == mountpoint or path.startswith(f"{mountpoint}/")]
    return mounts[max(above, key=len)] if above else None


def _outcomes(line: Line, guest: Guest, targets: Sequence[Target]) -> dict[Target, Outcome]:
    if line.entry.is_noauto:  # the service itself has it mounted
        words = [word for word in line.entry.options.split(",") if word not in {"noauto", "auto"}]
        line = replace(line, entry=replace(line.entry, options=",".join([*words, "nofail"])))
    return {target: forecast_in_force(line, guest, target).outcome for target in targets}


def _finding(
    unit: Unit, path: str, setting: Setting, line: Line, lost: Sequence[Target], severity: Severity
) -> Finding:  # fmt: skip
    is_condition = setting.name == "ConditionPathIsMountPoint"
    return Finding(
        code=Code.SERVICE_NEEDS_MOUNT, severity=severity,
        message=f"{unit.name} needs {path}, and line {line.entry.line} of fstab does not mount "
        f"{line.entry.mountpoint} there: the service " + ("is passed over" if is_condition else "does not start"),
        evidence=f"{setting.name}={setting.value}; the line mounts {line.entry.source}",
        remedy="mend the line, or disable the service over there",
        file=unit.file_of(setting), line=setting.line, targets=tuple(lost),
    )  # fmt: skip
