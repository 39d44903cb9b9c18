"""Follows a line's source to what lies on the exported disks, or says where the way ends."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from fstab_check.codes import Code
from fstab_check.layout import (
    ENCRYPTED_TYPES,
    GuestDisk,
    GuestLayout,
    Volume,
    volume_of_array,
    volume_of_disk,
    volume_of_group,
    volume_of_partition,
)
from fstab_check.sources import TAG_KINDS, Source, SourceKind
from migration.device import DeviceName

LONGEST_MAPPER_NAME = 127  # the kernel takes none longer; a guest's megabyte of dashes has as many readings


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """Where a source leads: to a volume, or to a `failure` (a finding's code) with what was seen.

    Both are set where something was found that nevertheless is in the way.
    """

    volume: Volume | None = None
    failure: Code | None = None
    evidence: str = ""
    device: DeviceName | None = None  # the disk it is about, also where that disk is missing
    is_open: bool = False  # it may lead to a disk that has not come yet: then nothing else is said


def resolve(source: Source, layout: GuestLayout, root: Volume | None) -> Resolution:
    """Follow `source`; `root` is what /dev/root stands for. Kinds without a disk resolve to nothing at all."""
    if source.kind is SourceKind.DEVICE:
        return _resolve_device(source, layout)
    if source.kind in TAG_KINDS:
        return _resolve_tag(source, layout)
    if source.kind is SourceKind.MAPPER:
        return _resolve_mapper(source, layout)
    if source.kind is SourceKind.ARRAY:
        return _resolve_array(source, layout)
    if source.kind is SourceKind.ROOT:
        return Resolution(volume=root)
    return Resolution(failure=_DEAD_ENDS.get(source.kind))


# What another disk may mend. TAG_CASE too: the exact spelling, which is preferred, may be on that disk.
_OPEN_WHILE_DISKS_ARE_AWAITED = frozenset(
    {
        Code.TAG_UNMATCHED, Code.TAG_CASE, Code.ARRAY_MISSING,
        Code.VOLUME_MISSING, Code.VOLUME_INCOMPLETE, Code.MAPPING_UNEXAMINED,
    }
)  # fmt: skip


def leave_open(resolution: Resolution, awaited: Collection[str]) -> Resolution:
    """Return `resolution`, unless a disk that is `awaited` (by ECS name) may lead to another."""
    device = resolution.device
    is_awaited = resolution.failure is Code.DEVICE_NOT_EXPORTED and device is not None and device.disk in awaited
    if is_awaited or (awaited and resolution.failure in _OPEN_WHILE_DISKS_ARE_AWAITED):
        return Resolution(is_open=True)
    if awaited and resolution.failure is Code.FILESYSTEM_UNMOUNTABLE:
        # It is known where it leads; the other devices of a btrfs, or a journal of its own, may be what is to come.
        return Resolution(volume=resolution.volume, device=device, is_open=True)
    return resolution


_DEAD_ENDS = {
    SourceKind.DISK_ID: Code.CLOUD_DISK_ID,
    SourceKind.DISK_PATH: Code.CLOUD_DISK_PATH,
    SourceKind.UNKNOWN: Code.SOURCE_UNKNOWN,
}


def _resolve_device(source: Source, layout: GuestLayout) -> Resolution:
    name = source.device
    assert name is not None  # noqa: S101  # a DEVICE source always has one
    disk = layout.disk(name.index)
    if disk is None:
        return Resolution(failure=Code.DEVICE_NOT_EXPORTED, device=name, evidence=f"given: {layout.names}")
    if disk.unexamined:
        return Resolution(failure=Code.SOURCE_UNEXAMINED, device=name, evidence=disk.unexamined)
    if name.partition is None:
        if disk.table:
            return Resolution(failure=Code.WHOLE_DISK_PARTITIONED, device=name, evidence=_describe(disk))
        return _checked(volume_of_disk(disk), name)
    partition = next((found for found in disk.partitions if found.number == name.partition), None)
    if partition is None:
        return Resolution(failure=Code.PARTITION_MISSING, device=name, evidence=_describe(disk))
    return _checked(volume_of_partition(disk, partition), name)


_TAG_OF: dict[SourceKind, Callable[[Volume], str]] = {
    SourceKind.UUID: lambda volume: volume.content.uuid if volume.content and not volume.is_member else "",
    SourceKind.LABEL: lambda volume: volume.content.label if volume.content and not volume.is_member else "",
    SourceKind.PARTUUID: lambda volume: volume.partition.uuid if volume.partition else "",
    SourceKind.PARTLABEL: lambda volume: volume.partition.label if volume.partition else "",
}


def _resolve_tag(source: Source, layout: GuestLayout) -> Resolution:
    tag_of = _TAG_OF[source.kind]
    found = [volume for volume in layout.volumes() if source.value and tag_of(volume) == source.value]
    if not found:
        folded = source.value.casefold()
        near = [volume for volume in layout.volumes() if folded and tag_of(volume).casefold() == folded]
        if near:
            return Resolution(
                volume=near[0], failure=Code.TAG_CASE, device=near[0].members[0],
                evidence=f"{near[0].name} spells it {tag_of(near[0])}",
            )  # fmt: skip
        return Resolution(failure=Code.TAG_UNMATCHED, evidence=_describe_tags(source.kind, layout))
    if len(found) > 1 and not _are_one_btrfs(found):
        names = ", ".join(volume.name for volume in found)
        return Resolution(failure=Code.TAG_AMBIGUOUS, device=found[0].members[0], evidence=f"all of {names} carry it")
    members = tuple(sorted(member for volume in found for member in volume.members))
    volume = found[0] if len(found) == 1 else Volume(name=found[0].name, members=members, content=found[0].content)
    return _checked(volume, volume.members[0])


def _resolve_mapper(source: Source, layout: GuestLayout) -> Resolution:
    for group_name, volume_name in split_mapper_name(source.value):
        group = layout.group(group_name)
        if group is None:
            continue
        volume = next((found for found in group.volumes if found.name == volume_name), None)
        device = group.members[0] if group.members else None
        where = f"group {group.name} has {', '.join(found.name for found in group.volumes) or 'no volumes'}"
        if volume is None:
            return Resolution(failure=Code.VOLUME_MISSING, device=device, evidence=where)
        found_volume = volume_of_group(group, volume)
        if group.missing_members:
            lies_on = ", ".join(str(member) for member in group.members) or "nothing that was given"
            return Resolution(
                volume=found_volume, failure=Code.VOLUME_INCOMPLETE, device=device,
                evidence=f"group {group.name} lies on {lies_on}, and {group.missing_members} more that are not there",
            )  # fmt: skip
        return _checked(found_volume, device)
    encrypted = [volume for volume in layout.volumes() if volume.type in ENCRYPTED_TYPES]
    if encrypted and "/" not in source.value:
        names = ", ".join(f"{volume.name} {volume.type}" for volume in encrypted)
        return Resolution(failure=Code.MAPPING_UNEXAMINED, evidence=f"it may be opened from {names} at boot")
    groups = ", ".join(group.name for group in layout.groups) or "none"
    return Resolution(failure=Code.VOLUME_MISSING, evidence=f"volume groups on the disks: {groups}")


def split_mapper_name(name: str) -> list[tuple[str, str]]:
    """Return the (group, volume) that a mapper name can stand for: dashes inside either are doubled.

    `group/volume`, as in /dev/group/volume, stands for itself.
    """
    if "/" in name:
        group, _, volume = name.partition("/")
        return [(group, volume)]
    pairs: list[tuple[str, str]] = []
    if len(name) > LONGEST_MAPPER_NAME:
        return pairs
    for run in re.finditer(r"-+", name):
        # A volume's name does not begin with a dash, so the one that separates is the last of its run.
        group, volume = name[: run.end() - 1], name[run.end() :]
        if len(run.group()) % 2 and group and volume:
            pairs.append((group.replace("--", "-"), volume.replace("--", "-")))
    return pairs


def _resolve_array(source: Source, layout: GuestLayout) -> Resolution:
    wanted = source.value.removeprefix("md/").removeprefix("md")
    for array in layout.arrays:
        short = array.name.rpartition(":")[2]
        if wanted in {array.name, short, re.sub(r"[^0-9a-f]", "", array.uuid)} or wanted.replace(":", "") == array.uuid:
            volume = volume_of_array(array)
            if array.content is None:
                return Resolution(
                    volume=volume, failure=Code.VOLUME_INCOMPLETE, device=array.members[0],
                    evidence=f"array {array.name or array.uuid} does not start from {_names(array.members)}",
                )  # fmt: skip
            return _checked(volume, array.members[0])
    known = "; ".join(f"{array.name or array.uuid} on {_names(array.members)}" for array in layout.arrays)
    return Resolution(failure=Code.ARRAY_MISSING, evidence=f"arrays on the disks: {known or 'none'}")


def _checked(volume: Volume, device: DeviceName | None) -> Resolution:
    """Return the way to `volume`, with what is in the way there."""
    if volume.unexamined:
        return Resolution(volume=volume, failure=Code.SOURCE_UNEXAMINED, device=device, evidence=volume.unexamined)
    if volume.content is None:
        return Resolution(
            volume=volume, failure=Code.FILESYSTEM_MISSING, device=device, evidence=f"no signature on {volume.name}"
        )
    if volume.is_member or volume.type in ENCRYPTED_TYPES:
        return Resolution(
            volume=volume, failure=Code.FILESYSTEM_MISSING, device=device, evidence=f"{volume.name} is {volume.type}"
        )
    if volume.content.unmountable:
        evidence = f"{volume.name} says it is {volume.type}, and was tried: {volume.content.unmountable}"
        return Resolution(volume=volume, failure=Code.FILESYSTEM_UNMOUNTABLE, device=device, evidence=evidence)
    return Resolution(volume=volume, device=device)


def _are_one_btrfs(volumes: list[Volume]) -> bool:
    """One btrfs over several devices shows its UUID on each of them, with a UUID_SUB of their own."""
    subs = {volume.content.uuid_sub for volume in volumes if volume.content and volume.type == "btrfs"}
    return len(subs) == len(volumes)


def _describe(disk: GuestDisk) -> str:
    if disk.partitions:
        parts = ", ".join(
            f"{disk.name}{partition.number} {partition.content.type if partition.content else 'empty'}"
            for partition in disk.partitions
        )
        return f"{disk.name} holds {parts}"
    if disk.content:
        return f"{disk.name} has no partition table: {disk.content.type} on the whole disk"
    return f"{disk.name} has a partition table without partitions" if disk.table else f"{disk.name} is blank"


def _describe_tags(kind: SourceKind, layout: GuestLayout) -> str:
    tag_of = _TAG_OF[kind]
    known = [f"{volume.name} {tag_of(volume)}" for volume in layout.volumes() if tag_of(volume)]
    unread = [str(disk.name) for disk in layout.disks if disk.unexamined]
    text = f"{kind.upper()}s on the disks: {', '.join(known[:16]) or 'none'}"
    return f"{text}; {', '.join(unread)} could not be read" if unread else text


def _names(members: tuple[DeviceName, ...]) -> str:
    return ", ".join(str(member) for member in members)
