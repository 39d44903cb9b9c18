"""Writes a patch into the guest, on disks that are layers of ours; a layer that fails half-way is thrown away.

Files are written in place, so that they keep their inode, owner, mode and labels (`security.selinux`): the guest
needs no relabelling. What a path means is decided inside the guest's own tree, as the guest would.
"""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from fstab_check.check import follow_lines
from fstab_check.config_files import mount_boot
from fstab_check.examine import read_guest
from fstab_check.patch import FilePatch, Patch
from fstab_check.root import mount_root
from migration.appliance import Refused, refusals
from migration.errors import CorruptData, GuestError
from migration.served_disk import ReadableDisk
from migration.verdict import printable

if TYPE_CHECKING:
    import guestfs

BEFORE_SUFFIX = ".ferry-before"
_WRITABLE = "rw,nosuid,nodev,noexec"
_MORE_ROOM = "make room in the guest (its own package caches and logs), export again; or repair these lines by hand"


def apply_patch(g: guestfs.GuestFS, disks: Sequence[ReadableDisk], patch: Patch, expected: Collection[str]) -> None:
    """Write `patch` into the guest on `disks`, which are the drives of `g`, and end the appliance.

    Each changed file is kept beside itself as `….ferry-before`, unless there is one already. Raises `GuestError`
    where the guest does not let itself be written to, `CorruptData` where it is not the guest that was planned for.
    """
    survey, guest = read_guest(g, disks, expected=expected)
    lines = follow_lines(guest)
    g.umount_all()
    location = printable(guest.root.location)
    try:
        mount_root(g, survey, guest.root, options=_WRITABLE)
        mount_boot(g, survey, lines, options=_WRITABLE)
    except Refused as refusal:
        raise GuestError(
            f"{location}: the root file system cannot be mounted for writing: {refusal}",
            "check it with fsck on a copy; nothing was changed",
        ) from refusal
    for file in patch.files:
        _write_file(g, file)
    g.umount_all()
    g.shutdown()  # a late write error surfaces here; close() would swallow it


def _write_file(g: guestfs.GuestFS, file: FilePatch) -> None:
    try:
        with refusals(g):
            _write_in_place(g, file)
    except Refused as refusal:
        raise _cannot_write(file, refusal) from refusal


def _write_in_place(g: guestfs.GuestFS, file: FilePatch) -> None:
    # Without symlinks: some calls resolve them outside the guest's tree.
    real = g.realpath(file.path)
    if bytes(g.read_file(real)) != file.before:
        raise CorruptData(
            f"{file.path} is not what it was when the repair was planned", "see what writes to the disk, run again"
        )
    folder, name = posixpath.split(file.path)
    _keep_original(g, real, posixpath.join(g.realpath(folder), name + BEFORE_SUFFIX), file.before)
    g.write(real, file.after)
    g.sync()
    if bytes(g.read_file(real)) != file.after:
        raise CorruptData(f"{file.path} was written and reads differently", "doubt the disk it is on; run again")


def _keep_original(g: guestfs.GuestFS, real: str, kept: str, content: bytes) -> None:
    """Copy the file to `kept` with its owner, mode and labels, unless anything is there."""
    if g.exists(kept) or g.is_symlink(kept):
        return
    g.write(kept, content)
    g.copy_attributes(real, kept, mode=True, ownership=True)
    with contextlib.suppress(Refused), refusals(g):  # FAT has no labels
        g.copy_attributes(real, kept, xattributes=True)


def _cannot_write(file: FilePatch, refusal: Refused) -> GuestError:
    said = str(refusal)
    if "No space left" in said or "Disk quota" in said:
        return GuestError(f"{file.path}: the guest's file system is full; nothing was changed", _MORE_ROOM)
    if "Operation not permitted" in said:
        return GuestError(
            f"{file.path} may not be changed, even by root; nothing was changed: {said}",
            "it is marked immutable, most likely: chattr -i in the guest, then export again; or repair it by hand",
        )
    return GuestError(f"{file.path} cannot be written; nothing was changed: {said}", "repair these lines by hand")
