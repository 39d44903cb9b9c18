"""Judges the mount units of the guest's own: those that take the place of a line of fstab, and those beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fstab_check.boot_effect import severity_over
from fstab_check.codes import Code
from fstab_check.facts import Guest, Line
from fstab_check.forecast import forecast_in_force, forecast_native
from fstab_check.line_check import finding_on
from fstab_check.mount_units import (
    NativeMount,
    impossible_targets,
    masking_unit,
    native_mounts,
    overriding_mount,
    target_of,
)
from migration.target import Target
from migration.verdict import Finding, LineForecast, Outcome, Severity

# How bad it is that a mount ends so, where it does on every target.
SEVERITIES = {
    Outcome.EMERGENCY: Severity.ERROR, Outcome.WRONG_DISK: Severity.ERROR, Outcome.UNKNOWN: Severity.WARNING,
    Outcome.DELAYED: Severity.WARNING, Outcome.IGNORED: Severity.WARNING,
}  # fmt: skip
_EFFECTS = {
    Outcome.EMERGENCY: "the boot ends in emergency mode",
    Outcome.WRONG_DISK: "another disk than the one that is meant is mounted",
    Outcome.UNKNOWN: "what comes of it is unknown",
    Outcome.DELAYED: "the boot waits for it, then goes on without",
    Outcome.IGNORED: "the boot goes on without it",
}


def check_mount_units(lines: Sequence[Line], guest: Guest, targets: Sequence[Target]) -> Iterator[Finding]:
    """Yield what the units make of the lines of fstab, then what is wrong with where they lead."""
    impossible = impossible_targets(lines, guest)
    for line in lines:
        mask = masking_unit(line.entry, guest)
        if mask is not None and mask.file is not None:
            target = target_of(line.entry)
            is_required = impossible.get(target) is mask
            yield finding_on(
                line, Code.MOUNT_UNIT_MASKED, Severity.ERROR if is_required else Severity.WARNING,
                f"{line.entry.source} is not mounted: its unit {mask.name} is masked, and "
                + (f"{target} cannot start without it: others may stay away, the root read-only" if is_required
                   else "the boot goes on without it"),
                evidence=f"{mask.file.path} is empty or leads to /dev/null",
                remedy=f"systemctl unmask {mask.name}, or take the line out"
                + (", or give it nofail" if is_required else ""),
            )  # fmt: skip
        native = overriding_mount(line, guest)
        if native is not None:
            yield _overrides(line, native)
            told = {target: forecast_in_force(line, guest, target) for target in targets}
            yield from _check_source(native, told, guest)
    for native in native_mounts(lines, guest):
        yield from _check_source(native, {target: forecast_native(native, guest, target) for target in targets}, guest)


def _overrides(line: Line, native: NativeMount) -> Finding:
    entry, counts = line.entry, native.line.entry
    is_same = (entry.source, entry.fstype) == (counts.source, counts.fstype)
    return finding_on(
        line, Code.MOUNT_UNIT_OVERRIDES, Severity.INFO if is_same else Severity.WARNING,
        f"{native.file} counts in the place of this line: systemd mounts {counts.source or 'what it says'}",
        evidence=f"the unit says {counts.source or 'nothing'} {counts.fstype}, the line {entry.source} {entry.fstype}",
        remedy="keep one of the two: a change of the line alone has no effect",
    )  # fmt: skip


def _check_source(native: NativeMount, told: dict[Target, LineForecast], guest: Guest) -> Iterator[Finding]:
    if native.problem:
        if not any(part.path in guest.config.unread for part in native.unit.files):  # told for the file itself
            yield Finding(
                code=Code.MOUNT_UNIT_UNEXAMINED, severity=Severity.WARNING, file=native.file,
                message=f"{native.unit.name} could not be followed: {native.problem}",
                evidence=native.line.entry.source or "no What=", remedy="see what it mounts, and test it over there",
            )  # fmt: skip
        return
    if native.line.resolution.is_open:
        return  # a disk to come decides
    lost = {target: line for target, line in told.items() if line.outcome is not Outcome.MOUNTED}
    if not lost:
        return
    worst = max((line.outcome for line in lost.values()), key=list(Outcome).index)
    entry = native.line.entry
    yield Finding(
        code=Code.MOUNT_UNIT_SOURCE, severity=severity_over(lost, told, SEVERITIES[worst]),
        message=f"{native.unit.name} mounts {entry.source}, which is not there as it is named: {_EFFECTS[worst]}",
        evidence=next(line.reason for line in lost.values() if line.outcome is worst),
        remedy="write What=/dev/disk/by-uuid/… of a file system that is given, or disable the unit",
        file=native.file, line=entry.line, targets=tuple(lost),
    )  # fmt: skip
