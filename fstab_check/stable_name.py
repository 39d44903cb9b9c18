"""Finds the name by which a file system is known on every bus: the `UUID=` that leads to it and to nothing else."""

from __future__ import annotations

import re

from fstab_check.fstab import Entry
from fstab_check.layout import GuestLayout, Volume

# What every reader takes unquoted: fstab, crypttab, a kernel command line inside a GRUB script.
_PLAIN = re.compile(r"[0-9A-Za-z-]{1,64}")


def entry_naming(device: str) -> Entry:
    """Return a line of fstab that mounts `device`: other files name disks as fstab does."""
    return Entry(line=1, source=device, mountpoint="/", fstype="auto", options="", freq=0, passno=0, raw=device)


def uuid_tag(volume: Volume, layout: GuestLayout) -> str | None:
    """Return `UUID=…` of what is on `volume`, None where it has none, an odd one, or shares it with another."""
    content = volume.content
    if content is None or not _PLAIN.fullmatch(content.uuid):
        return None
    # Whatever their role: udev makes no link for a member of an array, but who copies disks copies arrays, too.
    carriers = [other for other in layout.volumes() if other.content and _same(other.content.uuid, content.uuid)]
    if len(carriers) > 1:
        subs = {other.content.uuid_sub for other in carriers if other.content and other.type == "btrfs"}
        if len(subs) != len(carriers):
            return None
    return f"UUID={content.uuid}"


def partuuid_tag(volume: Volume, layout: GuestLayout) -> str | None:
    """Return `PARTUUID=…` of the partition that `volume` is, which the kernel finds without an initramfs."""
    if volume.partition is None or not _PLAIN.fullmatch(volume.partition.uuid):
        return None
    uuid = volume.partition.uuid
    carriers = [other for other in layout.volumes() if other.partition and _same(other.partition.uuid, uuid)]
    return f"PARTUUID={uuid}" if len(carriers) == 1 else None


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()
