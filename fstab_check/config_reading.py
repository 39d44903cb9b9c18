"""Reads the guest's other files that decide about mounts, all from the root file system that is mounted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fstab_check.guest import Refused, refusals
from fstab_check.guest_config import GuestConfig
from fstab_check.guest_files import GuestFiles
from fstab_check.unit_reading import read_units

if TYPE_CHECKING:
    import guestfs

MAX_LINKS = 64  # mount points of which it is asked whether a symlink is in the way


def read_config(g: guestfs.GuestFS, mountpoints: Sequence[str]) -> GuestConfig:
    """Read all of them; `mountpoints` are the normal paths of those in fstab that lie on the root."""
    files = GuestFiles(g)
    return GuestConfig(units=read_units(files), links=_read_links(files, mountpoints), unread=files.unread)


def _read_links(files: GuestFiles, mountpoints: Sequence[str]) -> dict[str, str]:
    found = {}
    for path in mountpoints[:MAX_LINKS]:
        try:
            with refusals(files.g):
                real = files.g.realpath(path)
        except (Refused, UnicodeDecodeError):  # mostly: nothing is there
            continue
        if real != path:
            found[path] = real
    return found
