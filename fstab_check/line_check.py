"""Judges one line of fstab: does its source lead to a file system that can be mounted, here and over there?"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence

from fstab_check.arrival import is_spelled, places
from fstab_check.boot_effect import at_least, at_most, effect_of_loss, severity_of_loss, severity_over
from fstab_check.codes import Code
from fstab_check.facts import Guest, Line, PathKind
from fstab_check.fstab import FSTAB, Entry
from fstab_check.layout import Volume
from fstab_check.sources import SourceKind
from migration.device import DeviceName
from migration.target import ALL_TARGETS, Target
from migration.verdict import Finding, Severity

# Per code: what is wrong, and what to do.
_FAILURES = {
    Code.DEVICE_NOT_EXPORTED: (
        "{source} is on {disk}, which was not exported",
        "export and give that disk, add nofail to the options, or take the line out",
    ),
    Code.PARTITION_MISSING: (
        "{source}: {disk} has no such partition",
        "name the partition or disk that holds the file system, best by UUID=",
    ),
    Code.WHOLE_DISK_PARTITIONED: (
        "{source} names the whole disk, and {disk} has a partition table",
        "name the partition that holds the file system, best by UUID=",
    ),
    Code.FILESYSTEM_MISSING: (
        "{source} holds nothing that can be mounted",
        "make a file system on it, name the one that is meant, or take the line out",
    ),
    Code.TAG_UNMATCHED: (
        "{source} is on none of the disks",
        "give the disk that carries it, correct the line, add nofail, or take the line out",
    ),
    Code.TAG_AMBIGUOUS: (
        "{source} is on more than one file system; which one is mounted is chance",
        "give the copy a UUID of its own: tune2fs -U random, xfs_admin -U generate, swaplabel -U",
    ),
    Code.TAG_CASE: (
        "{source} differs from the disk's in upper and lower case, and systemd compares exactly",
        "write it as the disk has it",
    ),
    Code.CLOUD_DISK_ID: (
        "{source} is made from the serial number that the cloud gave the disk, which stays in the cloud",
        "write UUID= instead, or give the disk the same serial number over there",
    ),
    Code.CLOUD_DISK_PATH: (
        "{source} names the slot that the disk has in the cloud's machine",
        "write UUID= instead",
    ),
    Code.VOLUME_MISSING: (
        "{source} is a logical volume that is on none of the disks",
        "give the disks of its volume group, add nofail, or take the line out",
    ),
    Code.VOLUME_INCOMPLETE: (
        "{source} lies over several disks, and not all of them are there",
        "give the missing disks too, add nofail, or take the line out",
    ),
    Code.ARRAY_MISSING: (
        "{source} is an array that is on none of the disks",
        "give its disks, correct the name, add nofail, or take the line out",
    ),
    Code.MAPPING_UNEXAMINED: (
        "{source} could not be followed: it is no logical volume, and there are encrypted disks",
        "see in /etc/crypttab which disk it opens, and that the key is at hand over there",
    ),
    Code.SOURCE_UNKNOWN: (
        "{source} is no name of a disk, file system, file or server that we know",
        "correct it, add nofail, or take the line out",
    ),
    Code.SOURCE_UNEXAMINED: (
        "{source} is on {disk}, which could not be examined",
        "see why it cannot be read; without that the line is neither good nor bad",
    ),
    Code.FILESYSTEM_UNMOUNTABLE: (
        "{source} is a file system on {disk} that could not be mounted, or not be read in full",
        "check it with fsck on a copy, or export again; without that the line is neither good nor bad",
    ),
}

_NOT_KNOWN_TO_BE_BAD = frozenset({Code.SOURCE_UNEXAMINED, Code.FILESYSTEM_UNMOUNTABLE, Code.MAPPING_UNEXAMINED})


def check_line(line: Line, guest: Guest, targets: Sequence[Target]) -> Iterator[Finding]:
    """Yield what is wrong with where `line` leads, on `targets`; its mount point is judged elsewhere."""
    failure, volume = line.resolution.failure, line.resolution.volume
    if line.source.kind is SourceKind.NETWORK:
        yield _network(line)
    elif line.source.kind is SourceKind.FILE:
        yield from _check_path(line, guest)
    elif failure is not None:
        yield _failure(line, failure, guest)
    elif volume is not None:
        yield from _check_type(line, volume)
        yield from _check_subvolume(line, volume)
        yield from _check_device_name(line, volume, guest, targets)


def finding_on(
    line: Line, code: Code, severity: Severity, message: str, *,
    evidence: str, remedy: str, device: DeviceName | None = None, targets: Sequence[Target] = ALL_TARGETS,
) -> Finding:  # fmt: skip
    """Return a finding that points to `line`."""
    return Finding(
        code=code, severity=severity, message=message, evidence=evidence, remedy=remedy,
        file=FSTAB, line=line.entry.line, device=device.disk if device else None, targets=tuple(targets),
    )  # fmt: skip


def can_mount(written: str, found: str) -> bool:
    """Return whether the type in fstab's third field mounts a file system whose superblock says `found`."""
    words = set(written.split(","))
    if found == "swap" or "swap" in words:
        return found == written
    return bool(words & {"", "auto", "none", found, *_ALSO_MOUNTED_BY.get(found, ())})


def missing_subvolume(entry: Entry, volume: Volume) -> str:
    """Return the option of `entry` that names a subvolume which the btrfs on `volume` has not; "" if none does.

    A plain directory is none, and where the subvolumes could not be listed nothing is missed (source: btrfs(5)).
    """
    known = volume.content.subvolumes if volume.content is not None else None
    if known is None or volume.type != "btrfs" or entry.is_root:  # the root is mounted already
        return ""
    options = entry.mount_options
    path, number = options.get("subvol", "").strip("/"), options.get("subvolid", "")
    if path and path not in {known_path for _, known_path in known}:
        return f"subvol={options['subvol']}"
    is_top = number in {"", "0", "5"}
    if not is_top and not (number.isascii() and number.isdigit() and int(number) in {id_ for id_, _ in known}):
        return f"subvolid={number}"
    return ""


# One kernel driver mounts ext2, ext3 and ext4, but as ext3 it wants a journal, and none of ext4's features.
_ALSO_MOUNTED_BY = {
    "ext2": ("ext4",),
    "ext3": ("ext2", "ext4"),
    "vfat": ("msdos",),
    "ntfs": ("ntfs3", "ntfs-3g", "lowntfs-3g", "fuseblk"),
    "exfat": ("exfat-fuse", "fuse.exfat", "fuseblk"),
}


def _failure(line: Line, code: Code, guest: Guest) -> Finding:
    entry, device = line.entry, line.resolution.device
    problem, remedy = _FAILURES[code]
    if entry.is_nofail:
        remedy = re.sub(", add nofail( to the options)?", "", remedy)
    severity = severity_of_loss(entry)
    if code in _NOT_KNOWN_TO_BE_BAD:
        severity = at_most(severity, Severity.WARNING)
    evidence = [line.resolution.evidence or f"the line says {entry.source}"]
    absent = sorted(set(guest.expected) - {disk.name.disk for disk in guest.layout.disks})
    if code is Code.DEVICE_NOT_EXPORTED and device is not None and device.disk in absent:
        evidence.append(f"the image has {device.disk}")
    elif code in {Code.TAG_UNMATCHED, Code.VOLUME_MISSING, Code.VOLUME_INCOMPLETE, Code.ARRAY_MISSING} and absent:
        evidence.append(f"it may be on {', '.join(absent)}, which the image has and was not given")
    # Not str.format: the source is the guest's, and so are its braces.
    message = problem.replace("{disk}", device.disk if device else "the disk").replace("{source}", entry.source)
    return finding_on(
        line, code, severity, f"{message}: {effect_of_loss(entry)}",
        evidence="; ".join(evidence), remedy=remedy, device=device,
    )  # fmt: skip


def _network(line: Line) -> Finding:
    entry = line.entry
    return finding_on(
        line, Code.NETWORK_MOUNT, severity_of_loss(entry),
        f"{entry.source} is on a server that an offline network does not reach: {effect_of_loss(entry)}",
        evidence=f"type {entry.fstype or 'none'}, options {entry.options or 'none'}",
        remedy="take the line out, name a server that is over there, or add nofail,_netdev",
    )  # fmt: skip


def _check_path(line: Line, guest: Guest) -> Iterator[Finding]:
    entry = line.entry
    path = posixpath.normpath(entry.source)
    kind = guest.paths.get(path)
    if kind is None:
        yield finding_on(
            line, Code.FILE_UNEXAMINED, Severity.INFO,
            f"{entry.source} lies on another mount, where nobody looked",
            evidence=f"mounted at {entry.mountpoint}", remedy="see that it is there",
        )  # fmt: skip
    elif kind is PathKind.MISSING:
        yield finding_on(
            line, Code.FILE_MISSING, severity_of_loss(entry),
            f"{entry.source} does not exist in the guest: {effect_of_loss(entry)}",
            evidence=f"nothing at {path} on the root file system",
            remedy="make it, correct the path, or take the line out",
        )  # fmt: skip


def _check_type(line: Line, volume: Volume) -> Iterator[Finding]:
    entry = line.entry
    if not can_mount(entry.fstype, volume.type):
        yield finding_on(
            line, Code.TYPE_DIFFERS, severity_of_loss(entry),
            f"{entry.source} holds {volume.type}, not {entry.fstype}: {effect_of_loss(entry)}",
            evidence=f"the superblock on {volume.place} says {volume.type}",
            remedy=f"write {volume.type} in the third field, or name the file system that is meant",
            device=volume.members[0],
        )  # fmt: skip


def _check_subvolume(line: Line, volume: Volume) -> Iterator[Finding]:
    option = missing_subvolume(line.entry, volume)
    if option and volume.content is not None:
        known = sorted(path for _, path in volume.content.subvolumes or ())
        yield finding_on(
            line, Code.SUBVOLUME_MISSING, severity_of_loss(line.entry),
            f"the btrfs on {volume.place} has no such subvolume ({option}): {effect_of_loss(line.entry)}",
            evidence=f"its subvolumes: {', '.join(known[:16]) or 'none'}",
            remedy="name one that is there, or take the option out", device=volume.members[0],
        )  # fmt: skip


def _check_device_name(line: Line, volume: Volume, guest: Guest, targets: Sequence[Target]) -> Iterator[Finding]:
    name, source = line.source.device, line.entry.source
    if name is None:
        return
    tag = f"UUID={volume.content.uuid}" if volume.content and volume.content.uuid else "a UUID or label"
    elsewhere = [target for target in targets if not is_spelled(line.source.value, name, target)]
    if elsewhere:
        effect = effect_of_loss(line.entry)
        yield finding_on(
            line, Code.DEVICE_NAME, severity_over(elsewhere, targets, severity_of_loss(line.entry)),
            f"{source} is no name that {', '.join(elsewhere)} gives a disk: {effect} there",
            evidence=f"it is {name}: {name.spelled('vd')} on virtio, {name.spelled('sd')} on SCSI and SATA, "
            f"{name.spelled('nvme')} on NVMe, {name.spelled('xvd')} on Xen",
            remedy=f"write {tag} instead", device=name, targets=elsewhere,
        )  # fmt: skip
    place = places(guest).index(DeviceName(name.index))
    if place != name.index and len(elsewhere) < len(targets):
        there = DeviceName(place, name.partition)
        yield finding_on(
            line, Code.DEVICE_NAME_SHIFTS, at_least(severity_of_loss(line.entry), Severity.WARNING),
            f"{source} will be another disk or none: the other side calls this one {there.spelled('vd')}",
            evidence=f"{name.disk} is number {place + 1} of the disks given: {guest.layout.names}",
            remedy=f"write {tag} instead", device=name,
            targets=[target for target in targets if target not in elsewhere],
        )  # fmt: skip
