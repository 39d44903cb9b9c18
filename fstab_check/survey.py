"""Asks a running appliance what lies on each disk, and fills the types of `fstab_check.layout` with the answers."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fstab_check.layout import (
    GuestDisk,
    GuestFilesystem,
    GuestLayout,
    GuestPartition,
    LogicalVolume,
    RaidArray,
    Volume,
    VolumeGroup,
    volume_of_array,
    volume_of_disk,
    volume_of_group,
    volume_of_partition,
)
from migration.appliance import Refused, refusals
from migration.device import DeviceName, parse_device_name
from migration.errors import InvalidInput
from migration.served_disk import ReadableDisk
from migration.verdict import printable

if TYPE_CHECKING:
    import guestfs

log = logging.getLogger(__name__)

HEAD = 128 * 1024  # bytes in which every usual file system and table has its signature
MAX_PARTITIONS = 64  # looked into on each disk; real ones have a handful, a table can hold thousands


@dataclass(frozen=True, slots=True)
class Survey:
    """The layout, and where the appliance keeps each of its volumes: `paths["xvdb1"]` is "/dev/sdb1"."""

    layout: GuestLayout
    paths: dict[str, str] = field(default_factory=dict)


def survey_guest(g: guestfs.GuestFS, disks: Sequence[ReadableDisk]) -> Survey:
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
    arrays = _read_arrays(g, found, paths)
    groups = _read_groups(g, _physical_volumes(found, arrays), paths)
    layout = GuestLayout(disks=tuple(found), groups=groups, arrays=arrays)
    for volume in layout.volumes():
        content = volume.content
        shown = f"{volume.name}: {content.type} {content.uuid}" if content else f"{volume.name}: -"
        log.debug("%s", printable(shown))
    return Survey(layout, paths)


def names_of(disks: Sequence[ReadableDisk]) -> list[DeviceName]:
    """Return the positions that the disks' names stand for, or raise `InvalidInput` if two claim the same."""
    names = []
    for disk in disks:
        name = parse_device_name(disk.device)
        if name is None or name.partition is not None:
            raise InvalidInput(f"{disk.name}: {disk.device!r} is not a disk name", "say it: xvdb=FILE")
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
    read = replace(
        disk,
        # The kernel knows partitions where blkid was confused by several signatures.
        table=facts.get("PTTYPE", "unknown" if numbers else ""),
        partitions=tuple(
            _read_partition(g, number, path)
            if place < MAX_PARTITIONS
            else GuestPartition(number=number, unexamined=f"behind the first {MAX_PARTITIONS} of {len(numbers)}")
            for place, (number, path) in enumerate(sorted(numbers.items()))
        ),
        content=_filesystem(facts),
    )
    return replace(read, unexamined=_why_not_blank(g, device, read.table)) if read.is_blank else read


def _why_not_blank(g: guestfs.GuestFS, device: str, table: str) -> str:
    """Say why nothing was recognised on a disk that is nevertheless not blank, "" if it is."""
    if table == "PMBR":
        return "a protective MBR says that there is a GPT, and none can be read"
    try:
        with refusals(g):
            is_zero = not any(g.pread_device(device, HEAD, 0))
    except Refused as refusal:
        return str(refusal)
    return "" if table or is_zero else "it begins with data of no kind that is known, or with a damaged superblock"


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


def _read_arrays(g: guestfs.GuestFS, disks: Sequence[GuestDisk], paths: dict[str, str]) -> tuple[RaidArray, ...]:
    """Return the arrays that the members on `disks` speak of, with what is on those that the appliance started."""
    members: dict[str, list[Volume]] = {}
    for volume in GuestLayout(disks=tuple(disks)).volumes():
        if volume.content is not None and volume.type == "linux_raid_member":
            members.setdefault(_hex(volume.content.uuid), []).append(volume)
    started = {_array_uuid(g, path): path for path in g.list_md_devices()} if members else {}
    arrays = []
    for uuid, parts in sorted(members.items()):
        path, content = started.get(uuid, ""), parts[0].content
        array = RaidArray(
            uuid=uuid,
            name=content.label if content else "",
            members=tuple(sorted(member for part in parts for member in part.members)),
            content=_read_content(g, path) if path else None,
        )
        arrays.append(array)
        if path:
            paths[volume_of_array(array).name] = path
    return tuple(arrays)


def _array_uuid(g: guestfs.GuestFS, path: str) -> str:
    try:
        with refusals(g):
            return _hex(g.md_detail(path).get("uuid", ""))
    except Refused as refusal:
        log.debug("%s: %s", printable(path), refusal)
        return ""


def _hex(uuid: str) -> str:
    """Return a UUID without punctuation: mdadm writes colons where blkid writes dashes."""
    return re.sub(r"[^0-9a-f]", "", uuid.lower())


def _physical_volumes(
    disks: Sequence[GuestDisk], arrays: tuple[RaidArray, ...]
) -> dict[str, tuple[DeviceName, ...]]:  # fmt: skip
    """Return what each LVM physical volume lies on, by its UUID."""
    volumes = GuestLayout(disks=tuple(disks), arrays=arrays).volumes()
    return {
        volume.content.uuid: volume.members
        for volume in volumes
        if volume.content is not None and volume.type == "LVM2_member"
    }


def _read_groups(
    g: guestfs.GuestFS, physical: dict[str, tuple[DeviceName, ...]], paths: dict[str, str]
) -> tuple[VolumeGroup, ...]:  # fmt: skip
    try:
        with refusals(g):
            logical: list[list[str]] = [path.split("/")[2:] for path in g.lvs()]
            parts: dict[str, list[str]] = {name: g.vgpvuuids(name) for name in g.vgs()}
    except Refused as refusal:
        log.warning("LVM could not be examined: %s", refusal)
        return ()
    groups = []
    for name, uuids in sorted(parts.items()):
        group = VolumeGroup(
            name=name,
            members=tuple(sorted({member for uuid in uuids for member in physical.get(uuid, ())})),
            missing_members=sum(uuid not in physical for uuid in uuids),
            volumes=tuple(
                LogicalVolume(name=volume, content=_read_content(g, f"/dev/{owner}/{volume}"))
                for owner, volume in logical
                if owner == name
            ),
        )
        groups.append(group)
        for volume in group.volumes:
            paths[volume_of_group(group, volume).name] = f"/dev/{name}/{volume.name}"
    return tuple(groups)
