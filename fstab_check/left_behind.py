"""Finds what a cloud-made link (by serial number, by slot) means, by what is left when all other lines are followed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fstab_check.codes import Code
from fstab_check.facts import Guest, Line
from fstab_check.layout import ENCRYPTED_TYPES, Volume
from fstab_check.line_check import can_mount
from migration.disk import DiskRole

_PART = re.compile(r".*-part(?P<number>\d+)", re.DOTALL)


def find_by_elimination(line: Line, lines: Sequence[Line], guest: Guest) -> Volume | None:
    """Return the one file system that `line` can mean, None where there are several or one may be elsewhere.

    That is certain only where all disks of the image are known, given and read, the line says a type, and no other
    such line could mean the same.
    """
    given = {disk.name.disk for disk in guest.layout.disks}
    unread = any(disk.unexamined or any(part.unexamined for part in disk.partitions) for disk in guest.layout.disks)
    if unread or not guest.expected or not set(guest.expected) <= given:
        return None
    candidates = _candidates(line, lines, guest)
    if len(candidates) != 1:
        return None
    rivals = [other for other in lines if other is not line and _is_cloud_link(other)]
    if any(candidates[0] in _candidates(other, lines, guest) for other in rivals):
        return None
    return candidates[0]


def _candidates(line: Line, lines: Sequence[Line], guest: Guest) -> list[Volume]:
    """Return what is on the data disks, mountable as the line says, and led to by no other line."""
    entry = line.entry
    if entry.fstype in {"", "auto", "none"}:
        return []
    taken = {guest.root.volume.name}
    taken |= {other.resolution.volume.name for other in lines if other.resolution.volume is not None}
    data = {disk.name.index for disk in guest.layout.disks if disk.role is DiskRole.DATA}
    part = _PART.fullmatch(line.source.value)
    number = int(part["number"]) if part else None
    return [
        volume
        for volume in guest.layout.volumes()
        if volume.content is not None
        and not volume.content.unmountable
        and not volume.kind
        and not volume.is_member
        and volume.type not in ENCRYPTED_TYPES
        and volume.disks <= data
        and volume.members[0].partition == number
        and volume.name not in taken
        and can_mount(entry.fstype, volume.type)
    ]


def _is_cloud_link(line: Line) -> bool:
    return line.resolution.failure in {Code.CLOUD_DISK_ID, Code.CLOUD_DISK_PATH}
