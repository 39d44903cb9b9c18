"""Tries what a superblock promises: that the file system can be mounted, and its root directory read.

A superblock reads well when all behind it is gone. Drivers look at group descriptors, allocation group headers,
trees and the root inode when they mount, and ext4, xfs and btrfs refuse a disk that is shorter than they are
(tried with Linux 6.1). What lies deeper is a matter for fsck: it takes minutes, and is not tried here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fstab_check.layout import ENCRYPTED_TYPES, MEMBER_TYPES
from migration.appliance import Refused, refusals

if TYPE_CHECKING:
    import guestfs

# What no `mount` is meant for; the signature is all that there is to see.
NOT_MOUNTED = MEMBER_TYPES | ENCRYPTED_TYPES | {"swap"}

# Said of paths that the guest laid out in circles, on a file system that is sound (ELOOP, ENAMETOOLONG).
_OF_PATHS = ("Too many levels of symbolic links", "File name too long")


def check_mounted(g: guestfs.GuestFS, fstype: str, path: str) -> None:
    """Look at the root directory of what is mounted as the appliance's `/`, from `path`; raises `Refused`."""
    try:
        with refusals(g):
            # Both: a directory is read past a damaged block without a word, and a name is looked up in all of them.
            g.ls0("/", "/dev/null")
            g.is_symlink("/etc")
    except Refused as refusal:
        raise Refused(f"its root directory cannot be read: {refusal}") from refusal
    if fstype == "vfat":  # whose driver does not compare
        with refusals(g):
            seen, given = g.statvfs("/"), g.blockdev_getsize64(path)
        claimed = seen["blocks"] * seen["frsize"]
        if claimed > given:
            raise Refused(f"it is cut off: it has {claimed} bytes, and what it lies on {given}")


def is_of_paths(refusal: Refused) -> bool:
    """Return whether it was the names in a file system that led nowhere, not the file system."""
    return any(text in str(refusal) for text in _OF_PATHS)


def reason_of(refusal: Refused, name: str) -> str:
    """Return why the volume `name` was refused, in our names: the appliance's mean nothing to anybody else.

    Any of its names, as its kernel may call a disk otherwise than libguestfs does: /dev/sdb for what is asked for
    as /dev/sdc.
    """
    text = str(refusal).rpartition("mount: /sysroot: ")[2]
    return re.sub(r"/dev/[\w/+-]+", lambda _match: name, text)
