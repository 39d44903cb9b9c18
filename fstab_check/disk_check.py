"""Judges the other direction: exported disks that no line of fstab leads to."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from fstab_check.codes import Code
from fstab_check.layout import ENCRYPTED_TYPES, GuestDisk, GuestLayout, Volume
from migration.disk import DiskRole
from migration.verdict import Finding, Severity

MAX_REASONS = 8  # told why a disk could not be read


def check_disks(layout: GuestLayout, used: Sequence[Volume], *, has_mappings: bool) -> Iterator[Finding]:
    """Yield what is odd about the disks, given the volumes that lines lead to or the root lies on.

    A disk is in use if anything on it is: all members of a used volume group, array or btrfs are.
    `has_mappings` says that a line leads to some encrypted disk, nobody knows to which.
    """
    busy = {index for volume in used for index in volume.disks}
    for disk in layout.disks:
        reasons = [*_unread(disk), *_unmountable(layout, disk, used)]
        if reasons:
            yield _finding(
                disk, Code.DISK_UNEXAMINED, Severity.WARNING, f"{disk.name} could not be examined in full",
                evidence=_joined(reasons), remedy="see that the disk is whole; what is on it was not judged",
            )  # fmt: skip
        elif disk.role is DiskRole.SYSTEM or disk.name.index in busy:
            continue
        elif disk.is_blank:
            yield _finding(
                disk, Code.DISK_BLANK, Severity.INFO, f"{disk.name} is blank and no line of fstab wants it",
                evidence=f"table {disk.table or 'none'}, no file system, no signature",
                remedy="leave it behind if nobody needs it",
            )  # fmt: skip
        elif not (has_mappings and _is_encrypted(disk)):
            yield _finding(
                disk, Code.DISK_UNREFERENCED, Severity.WARNING,
                f"{disk.name} was exported and no line of fstab leads to it: its data will not be mounted",
                evidence=_contents(layout, disk),
                remedy="add a line with its UUID= and nofail, unless a systemd unit or a script mounts it",
            )  # fmt: skip
    yield from _check_volumes(layout, used, busy)


def check_expected(layout: GuestLayout, expected: Collection[str], named: Collection[str]) -> Iterator[Finding]:
    """Yield the disks that the image has and that were not given, unless a finding on a line names them already."""
    given = {disk.name.disk for disk in layout.disks}
    for device in sorted(set(expected) - given - set(named)):
        yield Finding(
            code=Code.DISK_NOT_GIVEN, severity=Severity.WARNING,
            message=f"the image has {device}, which was not given",
            evidence=f"given: {layout.names}", remedy="export and give it too, or see that nobody needs it",
            device=device,
        )  # fmt: skip


def _check_volumes(layout: GuestLayout, used: Sequence[Volume], busy: set[int]) -> Iterator[Finding]:
    """Yield the file systems on data disks that are in use otherwise."""
    contents = {volume.content.uuid for volume in used if volume.content}
    names = {volume.name for volume in used}
    for volume in layout.volumes():
        disks = [disk for disk in layout.disks if disk.name.index in volume.disks & busy and disk.role is DiskRole.DATA]
        if volume.content is None or volume.is_member or volume.type in ENCRYPTED_TYPES or not disks:
            continue
        if volume.name not in names and volume.content.uuid not in contents:
            yield _finding(
                disks[0], Code.FILESYSTEM_UNREFERENCED, Severity.INFO,
                f"{volume.place} holds {volume.type} that no line of fstab leads to",
                evidence=f"UUID {volume.content.uuid or 'none'}, label {volume.content.label or 'none'}",
                remedy="add a line if it should be mounted",
            )  # fmt: skip


def _joined(reasons: Sequence[str]) -> str:
    more = f"; and {len(reasons) - MAX_REASONS} more" if len(reasons) > MAX_REASONS else ""
    return "; ".join(reasons[:MAX_REASONS]) + more


def _unread(disk: GuestDisk) -> Iterator[str]:
    if disk.unexamined:
        yield disk.unexamined
    for partition in disk.partitions:
        if partition.unexamined:
            yield f"partition {partition.number}: {partition.unexamined}"


def _unmountable(layout: GuestLayout, disk: GuestDisk, used: Sequence[Volume]) -> Iterator[str]:
    """Yield the file systems of which no line's finding tells that they could not be mounted."""
    told = {volume.name for volume in used}
    for volume in layout.volumes():
        is_here = (
            bool(volume.members) and volume.members[0].disk == disk.name.disk
        )  # told once of a volume over several
        if volume.content and volume.content.unmountable and is_here and volume.name not in told:
            yield f"{volume.name} {volume.type}: {volume.content.unmountable}"


def _is_encrypted(disk: GuestDisk) -> bool:
    contents = [disk.content, *(partition.content for partition in disk.partitions)]
    return any(content and content.type in ENCRYPTED_TYPES for content in contents)


def _contents(layout: GuestLayout, disk: GuestDisk) -> str:
    found = [
        f"{volume.name} {volume.type} {volume.content.label or volume.content.uuid}"
        for volume in layout.volumes()
        if volume.content and disk.name.index in volume.disks
    ]
    return ", ".join(found)


def _finding(
    disk: GuestDisk, code: Code, severity: Severity, message: str, *, evidence: str, remedy: str
) -> Finding:  # fmt: skip
    return Finding(
        code=code, severity=severity, message=message, evidence=evidence, remedy=remedy, device=disk.name.disk
    )
