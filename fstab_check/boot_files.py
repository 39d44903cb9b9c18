"""Fetches the boot loader's configuration out of a guest, from /boot and the EFI system partition if they are apart."""

from __future__ import annotations

import contextlib
import logging
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from fstab_check.facts import Line
from fstab_check.guest import Refused, refusals
from fstab_check.mountpoint_check import normal_path

if TYPE_CHECKING:
    import guestfs

log = logging.getLogger(__name__)

MAX_SIZE = 1024 * 1024  # bytes of one file; a menu has some KiB
MAX_FILES = 100

# Where distributions keep them: Debian and Ubuntu, Red Hat and SUSE, GRUB 1, extlinux, EFI's removable path and own.
_FILES = (
    "/boot/grub/grub.cfg", "/boot/grub2/grub.cfg", "/boot/grub/menu.lst", "/boot/grub/grub.conf",
    "/boot/extlinux/extlinux.conf", "/boot/syslinux/syslinux.cfg", "/boot/grub/grubenv", "/boot/grub2/grubenv",
)  # fmt: skip
_FOLDERS = {  # and what the names of the files in them end with
    "/boot/loader/entries": ".conf",
    "/boot/efi/loader/entries": ".conf",
    "/efi/loader/entries": ".conf",
}
_EFI = "/boot/efi/EFI"
_APART = ("/boot", "/boot/efi", "/efi")  # file systems of their own, in the order of mounting


def read_boot_files(g: guestfs.GuestFS, lines: Iterable[Line], paths: Mapping[str, str]) -> dict[str, bytes]:
    """Return the configuration files of the guest whose root is mounted, by their path.

    What `lines` mount on /boot and on the EFI system partition's place is mounted there, read-only, if it is on
    the disks; `paths` says where the appliance keeps each volume. What cannot be read is left out.
    """
    _mount_apart(g, lines, paths)
    found: dict[str, bytes] = {}
    for path in _candidates(g):
        if len(found) >= MAX_FILES:
            break
        with contextlib.suppress(Refused), refusals(g):
            if g.is_file(path, followsymlinks=True):
                found[path] = bytes(g.pread(path, MAX_SIZE, 0))
    return found


def _mount_apart(g: guestfs.GuestFS, lines: Iterable[Line], paths: Mapping[str, str]) -> None:
    wanted = {normal_path(line.entry.mountpoint): line for line in lines if line.entry.mountpoint.startswith("/")}
    for mountpoint in _APART:
        line = wanted.get(mountpoint)
        volume = line.resolution.volume if line is not None else None
        device = paths.get(volume.name, "") if volume is not None else ""
        if not device:
            continue
        try:
            with refusals(g):
                g.mount_options("ro,nosuid,nodev,noexec", device, mountpoint)
        except Refused as refusal:
            log.debug("%s cannot be mounted on %s: %s", device, mountpoint, refusal)


def _candidates(g: guestfs.GuestFS) -> Iterator[str]:
    yield from _FILES
    for folder, ending in _FOLDERS.items():
        for name in sorted(_names_in(g, folder)):
            if name.endswith(ending):
                yield posixpath.join(folder, name)
    for vendor in sorted(_names_in(g, _EFI)):
        for name in ("grub.cfg", "grubenv"):
            yield posixpath.join(_EFI, vendor, name)


def _names_in(g: guestfs.GuestFS, folder: str) -> list[str]:
    with contextlib.suppress(Refused), refusals(g):
        if g.is_dir(folder, followsymlinks=True):
            return [str(name) for name in g.ls(folder)[:MAX_FILES]]
    return []
