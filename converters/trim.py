"""Gives back the free space inside a guest's file systems, so that what was deleted there is not converted.

FITRIM is what `fstrim` in the guest itself would do: the appliance's kernel tells which blocks are free, and the layer
reads as zeros there. A file system is left alone where that kernel's word cannot be taken.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from migration.appliance import Refused, refusals
from migration.verdict import printable

if TYPE_CHECKING:
    import guestfs

log = logging.getLogger(__name__)

_EXT = frozenset({"ext2", "ext3", "ext4"})
TRIMMABLE = _EXT | {"xfs", "btrfs", "vfat"}  # NTFS may be hibernated, and its driver is no Windows
SUSPENDED = "swsuspend"  # libblkid's word for a swap that holds the memory of a sleeping guest
_NONE = frozenset({"", "unknown", "swap"})
_MOUNT = "rw,nosuid,nodev,noexec"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrimmedFilesystem:
    """A file system of the guest by the volume that it lies on ("xvda1", "vg0/root"), and why it was left alone.

    `why_not` is "" where its free space was given back. The strings are printable.
    """

    volume: str
    type: str
    why_not: str = ""


class TrimSpoilt(Exception):
    """A file system turned out to be damaged while it was trimmed: what was written to the layers is of no use."""


def trim_filesystems(g: guestfs.GuestFS, devices: Sequence[str]) -> list[TrimmedFilesystem]:
    """Trim what can be trimmed on the disks `devices` ("xvda", …), which are those of `g` in their order.

    Raises `TrimSpoilt`, and `RuntimeError` where the appliance dies.
    """
    kinds: dict[str, str] = g.list_filesystems()
    is_asleep = SUSPENDED in kinds.values()
    found = []
    for path, kind in kinds.items():
        if kind in _NONE or kind.endswith("_member") or path.startswith("btrfsvol:"):
            continue  # swap, a part of something else, or a subvolume of what is in the list itself
        why_not = "the guest is suspended: it remembers what it had mounted" if is_asleep else _trim(g, path, kind)
        volume, label = _name(g, path, devices), printable(kind)
        found.append(TrimmedFilesystem(volume=volume, type=label, why_not=printable(why_not)))
        log.debug("%s (%s): %s", volume, label, why_not or "trimmed")
    return found


def _trim(g: guestfs.GuestFS, path: str, kind: str) -> str:
    """Trim one file system; return why it was left alone, "" if it was not."""
    if kind not in TRIMMABLE:
        return "it is encrypted" if kind == "crypto_LUKS" else f"{kind} is not trimmed"
    if path.startswith("/dev/md"):
        return "it lies on a RAID, whose other halves would differ"
    try:
        with refusals(g):
            if (state := _ext_state(g, path, kind)) != "clean":
                return f"it is not clean ({state}): what it calls free may not be"
            g.mount_options(_MOUNT, path, "/")
            try:
                g.fstrim("/")
            finally:
                g.umount_all()
            state = _ext_state(g, path, kind)
    except Refused as refusal:
        return str(refusal)
    if state != "clean":
        raise TrimSpoilt(f"{printable(path)}: its kernel found it damaged ({printable(state)})")
    return ""


def _ext_state(g: guestfs.GuestFS, path: str, kind: str) -> str:
    """Return what an ext file system says of itself; others check their own structures when they are mounted."""
    return str(g.tune2fs_l(path).get("Filesystem state", "unknown")) if kind in _EXT else "clean"


def _name(g: guestfs.GuestFS, path: str, devices: Sequence[str]) -> str:
    """Return what people call the volume: "/dev/sdb1" of the appliance is "xvdb1", "/dev/vg0/root" is "vg0/root"."""
    try:
        with refusals(g):
            disk = path
            number = ""
            if not g.is_whole_device(path):
                disk, number = g.part_to_dev(path), str(g.part_to_partnum(path))
            return f"{devices[g.device_index(disk)]}{number}"
    except (Refused, IndexError):  # a logical volume
        return printable(path.removeprefix("/dev/"))
