"""What really lies on the exported disks: tables, partitions, file systems, volume groups, arrays.

GuestDisk ─ GuestPartition ─┬─ GuestFilesystem        GuestLayout.volumes() flattens all of it into
VolumeGroup ─ LogicalVolume ┤  (what a superblock     Volumes: the things that can be mounted.
RaidArray ──────────────────┘   says of itself)

The types are pure; `fstab_check.survey` fills them from a running appliance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from migration.device import DeviceName
from migration.disk import DiskRole

# Signatures that say "I am a part of something": their UUID is no file system's, udev links none by it.
MEMBER_TYPES = frozenset({"LVM2_member", "LVM1_member", "linux_raid_member", "ddf_raid_member", "isw_raid_member"})
ENCRYPTED_TYPES = frozenset({"crypto_LUKS", "BitLocker"})


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestFilesystem:
    """What a superblock says of itself, in blkid's words: `type` is "ext4", "swap", "LVM2_member", …"""

    type: str
    uuid: str = ""
    label: str = ""
    uuid_sub: str = ""  # of one btrfs device; the devices of one btrfs share `uuid`
    unmountable: str = ""  # why it could not be mounted or read, where that was tried
    subvolumes: frozenset[tuple[int, str]] | None = None  # of a btrfs, (id, path from the top); None: not listed


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestPartition:
    """A partition as its table describes it; on MBR `uuid` is the disk's signature and the number, `label` is ""."""

    number: int
    uuid: str = ""  # PARTUUID
    label: str = ""  # PARTLABEL
    content: GuestFilesystem | None = None
    unexamined: str = ""  # why its content could not be read


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestDisk:
    """An exported disk. `table` is "gpt", "dos" or "" where the disk has no partition table."""

    name: DeviceName
    role: DiskRole
    table: str = ""
    partitions: tuple[GuestPartition, ...] = ()
    content: GuestFilesystem | None = None  # of the whole disk, where it has no table
    unexamined: str = ""

    @property
    def is_blank(self) -> bool:
        """Nothing was ever written to it that anybody could mount."""
        contents = [self.content, *(partition.content for partition in self.partitions)]
        reasons = [self.unexamined, *(partition.unexamined for partition in self.partitions)]
        return not any(contents) and not any(reasons)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogicalVolume:
    name: str
    content: GuestFilesystem | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeGroup:
    """An LVM volume group: on which exported disks or partitions it lies, and how many of its parts are not there."""

    name: str
    members: tuple[DeviceName, ...]
    missing_members: int = 0
    volumes: tuple[LogicalVolume, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RaidArray:
    """An MD array. `name` is what its superblock calls it, mostly `host:0`; "" in the oldest format."""

    uuid: str
    name: str
    members: tuple[DeviceName, ...]
    content: GuestFilesystem | None = None  # None also where too few members are there to start it


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """Anything a line of fstab can lead to. `members` is what it lies on, one for a disk or a partition."""

    name: str  # "xvdb", "xvdb1", "vg0/data", "host:0"
    kind: str = ""  # "lvm", "md", "" for a disk or a partition
    members: tuple[DeviceName, ...]
    content: GuestFilesystem | None
    partition: GuestPartition | None = None
    unexamined: str = ""

    @property
    def disks(self) -> frozenset[int]:
        """The positions of the disks it lies on."""
        return frozenset(member.index for member in self.members)

    @property
    def place(self) -> str:
        """What it lies on, for people: "xvdb1", "xvdb+xvdc1"."""
        return "+".join(str(member) for member in self.members)

    @property
    def type(self) -> str:
        return self.content.type if self.content else ""

    @property
    def is_member(self) -> bool:
        return self.type in MEMBER_TYPES


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestLayout:
    """All exported disks of one guest, in the order of their device names."""

    disks: tuple[GuestDisk, ...]
    groups: tuple[VolumeGroup, ...] = ()
    arrays: tuple[RaidArray, ...] = ()

    def disk(self, index: int) -> GuestDisk | None:
        return next((disk for disk in self.disks if disk.name.index == index), None)

    def group(self, name: str) -> VolumeGroup | None:
        return next((group for group in self.groups if group.name == name), None)

    @property
    def names(self) -> str:
        """The disks as people say them: "xvda, xvdb"."""
        return ", ".join(str(disk.name) for disk in self.disks)

    def volumes(self) -> Iterator[Volume]:
        """Yield everything that can hold a file system, disks first, each once."""
        for disk in self.disks:
            if not disk.table:
                yield volume_of_disk(disk)
            for partition in disk.partitions:
                yield volume_of_partition(disk, partition)
        for group in self.groups:
            for volume in group.volumes:
                yield volume_of_group(group, volume)
        for array in self.arrays:
            yield volume_of_array(array)


def with_unmountable(layout: GuestLayout, reasons: Mapping[str, str]) -> GuestLayout:
    """Return `layout` with the reasons, by volume name, noted; of a btrfs it is on all of its devices."""
    of_btrfs = {
        volume.content.uuid: reasons[volume.name]
        for volume in layout.volumes()
        if volume.content is not None and volume.type == "btrfs" and volume.name in reasons
    }

    def noted(volume: Volume, content: GuestFilesystem) -> GuestFilesystem:
        reason = of_btrfs.get(content.uuid, "") if content.type == "btrfs" else reasons.get(volume.name, "")
        return replace(content, unmountable=reason)

    return _with_contents(layout, noted)


def with_subvolumes(layout: GuestLayout, listed: Mapping[str, frozenset[tuple[int, str]]]) -> GuestLayout:
    """Return `layout` with the subvolumes of each btrfs, by its UUID, noted on all of its devices."""

    def noted(_volume: Volume, content: GuestFilesystem) -> GuestFilesystem:
        return replace(content, subvolumes=listed.get(content.uuid)) if content.type == "btrfs" else content

    return _with_contents(layout, noted)


def _with_contents(
    layout: GuestLayout, change: Callable[[Volume, GuestFilesystem], GuestFilesystem]
) -> GuestLayout:  # fmt: skip
    def noted(volume: Volume) -> GuestFilesystem | None:
        return None if volume.content is None else change(volume, volume.content)

    return GuestLayout(
        disks=tuple(
            replace(
                disk,
                # With a table it is none of the volumes.
                content=disk.content if disk.table else noted(volume_of_disk(disk)),
                partitions=tuple(
                    replace(partition, content=noted(volume_of_partition(disk, partition)))
                    for partition in disk.partitions
                ),
            )
            for disk in layout.disks
        ),
        groups=tuple(
            replace(
                group,
                volumes=tuple(
                    replace(volume, content=noted(volume_of_group(group, volume))) for volume in group.volumes
                ),
            )
            for group in layout.groups
        ),
        arrays=tuple(replace(array, content=noted(volume_of_array(array))) for array in layout.arrays),
    )


def is_same_volume(one: Volume, other: Volume) -> bool:
    """Return whether both are one file system; the devices of one btrfs are."""
    is_btrfs = one.type == other.type == "btrfs"
    return one.name == other.name or (
        is_btrfs and one.content is not None and other.content is not None and one.content.uuid == other.content.uuid
    )


def volume_of_disk(disk: GuestDisk) -> Volume:
    return Volume(name=str(disk.name), members=(disk.name,), content=disk.content, unexamined=disk.unexamined)


def volume_of_partition(disk: GuestDisk, partition: GuestPartition) -> Volume:
    name = DeviceName(disk.name.index, partition.number)
    return Volume(
        name=str(name), members=(name,), content=partition.content,
        partition=partition, unexamined=partition.unexamined,
    )  # fmt: skip


def volume_of_group(group: VolumeGroup, volume: LogicalVolume) -> Volume:
    return Volume(name=f"{group.name}/{volume.name}", kind="lvm", members=group.members, content=volume.content)


def volume_of_array(array: RaidArray) -> Volume:
    return Volume(name=array.name or array.uuid, kind="md", members=array.members, content=array.content)
