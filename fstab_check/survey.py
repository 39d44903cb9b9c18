"""Asks a running appliance what lies on each disk, and fills the types of `fstab_check.layout` with the answers."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fstab_check.guest import Refused, refusals
from fstab_check.layout import (
    GuestDisk,
    GuestFilesystem,
    GuestLayout,
    GuestPartition,
    LogicalVolume,
    RaidArray,
    VolumeGroup,
    volume_of_array,
    volume_of_disk,
    volume_of_group,
    volume_of_partition,
)
from migration.device import DeviceName, parse_device_name
from migration.disk import Disk
from migration.errors import InvalidInput

if TYPE_CHECKING:
    import guestfs

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Survey:
    """The layout, and where the appliance keeps each of its volumes: `paths["xvdb1"]` is "/dev/sdb1"."""

    layout: GuestLayout
    paths: dict[str, str] = field(default_factory=dict)


def survey_guest(g: guestfs.GuestFS, disks: Sequence[Disk]) -> Survey:
    """Read what exists on `disks`, which are the appliance's drives in this order.

    A disk or partition that cannot be read is noted as unexamined. Costs about 0.2 s a disk and partition
    under emulation. Raises `InvalidInput` as `names_of` does.
    """
    names = names_of(disks)
    paths: dict[str, str] = {}
    devices = list(g.list_devices())
    partitions = list(g.list_partitions())
    found = []
    for disk, name, device in sorted(zip(disks, names, devices, strict=True), key=lambda row: row[1]):
        numbers = {
            int(path.removeprefix(device)): path
            for path in partitions
            if path.startswith(device) and path.removeprefix(device).isdecimal()
        }
        read = _read_disk(g, GuestDisk(name=name, role=disk.role), device, numbers)
        if not read.table:
            paths[volume_of_disk(read).name] = device
        for partition in read.partitions:
            paths[volume_of_partition(read, partition).name] = numbers[partition.number]
        found.append(read)
    members = _members_by_uuid(found)
    layout = GuestLayout(
        disks=tuple(found),
        groups=_read_groups(g, members, paths),
        arrays=_read_arrays(g, members, paths),
    )
    for volume in layout.volumes():
        content = volume.content
        log.debug("%s: %s %s", volume.name, content.type if content else "-", content.uuid if content else "")
    return Survey(layout, paths)


def names_of(disks: Sequence[Disk]) -> list[DeviceName]:
    """Return the positions that the disks' names stand for, or raise `InvalidInput` if two claim the same."""
    names = []
    for disk in disks:
        name = parse_device_name(disk.device)
        if name is None or name.partition is not None:
            raise InvalidInput(f"{disk.path.name}: {disk.device!r} is not a disk name", "say it: xvdb=FILE")
        if name in names:
            raise InvalidInput(f"two disks are given as {name}", "say which is which: xvdb=FILE")
        names.append(name)
    return names


def _read_disk(g: guestfs.GuestFS, disk: GuestDisk, device: str, numbers: dict[int, str]) -> GuestDisk:
    """Return `disk` with what is on `device`, whose partitions are at the paths in `numbers`."""
    try:
        facts = _blkid(g, device)
    except Refused as refusal:
        if not numbers:
            return replace(disk, unexamined=str(refusal))
        facts = {}
    return replace(
        disk,
        # The kernel knows partitions where blkid was confused by several signatures.
        table=facts.get("PTTYPE", "unknown" if numbers else ""),
        partitions=tuple(_read_partition(g, number, path) for number, path in sorted(numbers.items())),
        content=_filesystem(facts),
    )


def _read_partition(g: guestfs.GuestFS, number: int, path: str) -> GuestPartition:
    try:
        facts = _blkid(g, path)
    except Refused as refusal:
        return GuestPartition(number=number, unexamined=str(refusal))
    return GuestPartition(
        number=number,
        uuid=facts.get("PART_ENTRY_UUID", ""),
        label=facts.get("PART_ENTRY_NAME", ""),
        content=_filesystem(facts),
    )


def _blkid(g: guestfs.GuestFS, path: str) -> dict[str, str]:
    """Return what blkid sees by probing, its values as they are on disk."""
    with refusals(g):
        answer = g.blkid(path)
    # `blkid -o export` puts a backslash before what a shell would take for its own.
    return {key: re.sub(r"\\(.)", r"\1", value) for key, value in answer.items()}


def _filesystem(facts: dict[str, str]) -> GuestFilesystem | None:
    if "TYPE" not in facts:
        return None
    return GuestFilesystem(
        type=facts["TYPE"],
        uuid=facts.get("UUID", ""),
        label=facts.get("LABEL", ""),
        uuid_sub=facts.get("UUID_SUB", ""),
    )


def _read_content(g: guestfs.GuestFS, path: str) -> GuestFilesystem | None:
    """Return what a volume holds; None also where it is known but not active, its parts being absent."""
    try:
        return _filesystem(_blkid(g, path))
    except Refused:
        return None


@dataclass(frozen=True, slots=True)
class _Members:
    """Where each member of something lies, by the UUID in its superblock."""

    physical_volumes: dict[str, DeviceName]
    arrays: dict[str, list[tuple[DeviceName, str]]]  # array UUID → member and the array's name


def _members_by_uuid(disks: Sequence[GuestDisk]) -> _Members:
    members = _Members({}, {})
    for volume in GuestLayout(disks=tuple(disks)).volumes():
        content = volume.content
        if content is None:
            continue
        if content.type == "LVM2_member":
            members.physical_volumes[content.uuid] = volume.members[0]
        elif content.type == "linux_raid_member":
            members.arrays.setdefault(_hex(content.uuid), []).append((volume.members[0], content.label))
    return members


def _read_groups(g: guestfs.GuestFS, members: _Members, paths: dict[str, str]) -> tuple[VolumeGroup, ...]:
    try:
        with refusals(g):
            logical: list[list[str]] = [path.split("/")[2:] for path in g.lvs()]
            parts: dict[str, list[str]] = {name: g.vgpvuuids(name) for name in g.vgs()}
    except Refused as refusal:
        log.warning("LVM could not be examined: %s", refusal)
        return ()
    # A member on an array is known by the array, which is no disk of ours: it counts as missing there.
    groups = []
    for group, uuids in sorted(parts.items()):
        present = sorted(members.physical_volumes[uuid] for uuid in uuids if uuid in members.physical_volumes)
        volumes = tuple(
            LogicalVolume(name=name, content=_read_content(g, f"/dev/{group}/{name}"))
            for owner, name in logical
            if owner == group
        )
        groups.append(
            VolumeGroup(name=group, members=tuple(present), missing_members=len(uuids) - len(present), volumes=volumes)
        )
        for volume in volumes:
            paths[volume_of_group(groups[-1], volume).name] = f"/dev/{group}/{volume.name}"
    return tuple(groups)


def _read_arrays(g: guestfs.GuestFS, members: _Members, paths: dict[str, str]) -> tuple[RaidArray, ...]:
    started = {}
    for path in g.list_md_devices():
        detail: dict[str, Any] = {}
        try:
            with refusals(g):
                detail = g.md_detail(path)
        except Refused as refusal:
            log.debug("%s: %s", path, refusal)
        started[_hex(detail.get("uuid", ""))] = path
    arrays = []
    for uuid, parts in sorted(members.arrays.items()):
        path = started.get(uuid, "")
        array = RaidArray(
            uuid=uuid,
            name=parts[0][1],
            members=tuple(sorted(name for name, _ in parts)),
            content=_read_content(g, path) if path else None,
        )
        arrays.append(array)
        if path:
            paths[volume_of_array(array).name] = path
    return tuple(arrays)


def _hex(uuid: str) -> str:
    """Return a UUID without punctuation: mdadm writes colons where blkid writes dashes."""
    return re.sub(r"[^0-9a-f]", "", uuid.lower())
