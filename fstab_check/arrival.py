"""Follows a source on the other side: which of the disks will answer to it once they hang on a target's bus.

The disks that are given arrive without a gap, in the order of their letters: the first is vda, sda, xvda or nvme0n1
there, whatever it was here. Tags and volume groups lie on the disks and travel with them; kernel names and links made
from slots and serial numbers do not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from fstab_check.codes import Code
from fstab_check.facts import Guest, Line
from fstab_check.fstab import Entry
from fstab_check.layout import Volume
from fstab_check.resolve import Resolution, leave_open, resolve
from fstab_check.sources import Source, SourceKind, parse_source
from migration.device import DeviceName, parse_device_name
from migration.target import Target


def follow(entry: Entry, guest: Guest) -> Line:
    """Return `entry` with where it leads among the guest's disks, as they are named here."""
    source = parse_source(entry)
    resolution = leave_open(resolve(source, guest.layout, guest.root.volume), guest.awaited)
    return Line(entry=entry, source=source, resolution=resolution)


def places(guest: Guest) -> list[DeviceName]:
    """Return the disks in the order in which they arrive, those among them that are still awaited."""
    names = {disk.name for disk in guest.layout.disks}
    names |= {name for device in guest.awaited if (name := parse_device_name(device)) is not None}
    return sorted(names)


def arrive(source: Source, guest: Guest, target: Target) -> Resolution:
    """Return where `source` leads when the guest's disks hang on the bus of `target`."""
    if source.kind is SourceKind.DEVICE:
        return _arrive_by_name(source, guest, target)
    if source.kind is SourceKind.DISK_ID:
        return Resolution(failure=Code.CLOUD_DISK_ID, evidence="made from the serial number that the cloud gave")
    if source.kind is SourceKind.DISK_PATH and (bus := _BUS_IN_PATH.fullmatch(source.value)):
        return _arrive_by_path(bus.lastgroup or "virtio", target)
    return resolve(source, guest.layout, guest.root.volume)


def _arrive_by_name(source: Source, guest: Guest, target: Target) -> Resolution:
    name = source.device
    assert name is not None  # noqa: S101  # a DEVICE source always has one
    if not is_spelled(source.value, name, target):
        return Resolution(
            failure=Code.DEVICE_NAME, evidence=f"on {target} the disks are {_all(guest, target)}", device=name
        )
    order = places(guest)
    if name.index >= len(order):
        return Resolution(
            failure=Code.DEVICE_NOT_EXPORTED, evidence=f"on {target} the disks are {_all(guest, target)}", device=name
        )
    there = DeviceName(order[name.index].index, name.partition)
    if guest.layout.disk(there.index) is None:
        return Resolution(is_open=True)
    return resolve(Source(kind=SourceKind.DEVICE, value=source.value, device=there), guest.layout, None)


# How udev's `path_id` tells a disk's bus behind the slot of its controller: nothing for virtio-blk.
_BUS_IN_PATH = re.compile(
    r"(?:virtio-)?pci-[0-9a-f:.]+(?:(?P<scsi>-scsi-[0-9:]+)|(?P<ata>-ata-[0-9.]+)|(?P<nvme>-nvme-[0-9]+))?(?:-part\d+)?"
)
_PATHS_ON = {
    Target.VIRTIO: "virtio", Target.SCSI: "scsi", Target.VMWARE: "scsi", Target.SATA: "ata", Target.IDE: "ata",
    Target.NVME: "nvme", Target.XEN: "xen",
}  # fmt: skip


def _arrive_by_path(bus: str, target: Target) -> Resolution:
    """Say that a link of another bus is not there; whether the slot is the same on this one, nobody can know."""
    if bus == _PATHS_ON[target]:
        return Resolution(failure=Code.CLOUD_DISK_PATH, evidence="made from the slot that the target's machine gives")
    return Resolution(
        failure=Code.DEVICE_NAME, evidence=f"a link by the slot of a {bus} disk, and on {target} the disks are others"
    )


def is_spelled(path: str, name: DeviceName, target: Target) -> bool:
    """Return whether the kernel uses this spelling for `name` on the bus of `target`."""
    return path == name.spelled(target.disk_prefix)


def device_there(volume: Volume, guest: Guest, target: Target) -> str | None:
    """Return what the kernel calls a disk or partition on `target`; None for what lies on several, or on none."""
    if volume.kind or len(volume.members) != 1:
        return None
    name = volume.members[0]
    order = [disk.index for disk in places(guest)]
    if name.index not in order:
        return None
    return DeviceName(order.index(name.index), name.partition).spelled(target.disk_prefix)


def _all(guest: Guest, target: Target) -> str:
    return _listed([DeviceName(place).spelled(target.disk_prefix) for place in range(len(places(guest)))])


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
