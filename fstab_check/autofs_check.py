"""Judges what autofs will find when somebody looks into its places: devices that are absent, servers that are far."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fstab_check.arrival import follow
from fstab_check.autofs import AutofsEntry
from fstab_check.boot_effect import severity_over
from fstab_check.codes import Code
from fstab_check.facts import Guest
from fstab_check.forecast import forecast_in_force
from fstab_check.fstab import Entry
from fstab_check.sources import SourceKind
from migration.target import Target
from migration.verdict import Finding, Outcome, Severity

_SUBSTITUTES = ("&", "$")  # the key that is looked up, and variables: what they become is not followed


def check_autofs(guest: Guest, targets: Sequence[Target]) -> Iterator[Finding]:
    """Yield the locations of the maps that lead to nothing on `targets`; autofs fails late, and stops no boot."""
    for entry in guest.config.autofs:
        yield from _check_entry(entry, guest, targets)


def _check_entry(entry: AutofsEntry, guest: Guest, targets: Sequence[Target]) -> Iterator[Finding]:
    is_local = entry.location.startswith("/")
    line = follow(
        Entry(
            line=entry.line, source=entry.location, mountpoint=entry.mountpoint, fstype=entry.fstype or "auto",
            options=entry.options, freq=0, passno=0, raw="",
        ),
        guest,
    )  # fmt: skip
    if not is_local or line.source.kind is SourceKind.NETWORK:
        yield Finding(
            code=Code.AUTOFS_NETWORK, severity=Severity.WARNING, file=entry.file, line=entry.line,
            message=f"autofs mounts {entry.location} at {entry.mountpoint}, which an offline network does not reach: "
            "whoever looks into it waits, then gets an error",
            evidence=f"options {entry.options or 'none'}", remedy="take the entry out, or name a server over there",
        )  # fmt: skip
        return
    is_followed = line.source.kind is not SourceKind.FILE and not any(sign in entry.location for sign in _SUBSTITUTES)
    if not is_followed or line.resolution.is_open:
        return
    told = {target: forecast_in_force(line, guest, target) for target in targets}
    lost = {target: one for target, one in told.items() if one.outcome is not Outcome.MOUNTED}
    if lost:
        yield Finding(
            code=Code.AUTOFS_DEVICE, severity=severity_over(lost, targets, Severity.WARNING),
            message=f"autofs mounts {entry.location} at {entry.mountpoint}, which is not there as it is named: "
            "whoever looks into it gets an error",
            evidence=next(iter(lost.values())).reason, file=entry.file, line=entry.line, targets=tuple(lost),
            remedy="write -fstype=… :UUID=…, or take the entry out",
        )  # fmt: skip
