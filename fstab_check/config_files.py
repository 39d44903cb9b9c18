"""Finds and reads the guest's other files that name disks: /etc/crypttab and what the boot loader keeps.

They may lie on /boot and /boot/efi, which are mounted beside the root as fstab says. The mount points are looked
at first: a symlink in their place would have the appliance mount over its own folders.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fstab_check.boot_syntax import BootFileKind
from fstab_check.crypttab_repair import CRYPTTAB
from fstab_check.facts import Line
from fstab_check.layout import Volume
from fstab_check.mountpoint_check import normal_path
from fstab_check.repair import ConfigFile
from fstab_check.root import MAX_FSTAB
from migration.appliance import Refused, names_in, refusals

if TYPE_CHECKING:
    import guestfs

    from fstab_check.survey import Survey

BOOT_MOUNTS = ("/boot", "/boot/efi")  # in the order in which they are mounted
MAX_IN_FOLDER = 64  # loader entries and EFI vendors that are looked at

_FILES: tuple[tuple[str, BootFileKind | None], ...] = (
    (CRYPTTAB, None),
    ("/etc/default/grub", BootFileKind.GRUB_DEFAULT),
    *(
        (f"/boot/{folder}/{name}", kind)
        for folder in ("grub", "grub2")
        for name, kind in (
            ("grub.cfg", BootFileKind.GRUB_SCRIPT),
            ("grubenv", BootFileKind.GRUB_ENVIRONMENT),
            ("grub.conf", BootFileKind.GRUB_SCRIPT),  # of GRUB before version 2, as in CentOS 6
            ("menu.lst", BootFileKind.GRUB_SCRIPT),
        )
    ),
)
_VENDORS = "/boot/efi/EFI"
_ENTRIES = "/boot/loader/entries"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """A volume that is mounted beside the root."""

    mountpoint: str
    volume: Volume


def mount_boot(
    g: guestfs.GuestFS, survey: Survey, lines: Sequence[Line], *, options: str
) -> tuple[list[Mounted], list[ConfigFile]]:  # fmt: skip
    """Mount /boot and /boot/efi under the mounted root, where `lines` lead there; return what failed, too."""
    mounted, failures = [], []
    for mountpoint in BOOT_MOUNTS:
        line = next((line for line in lines if normal_path(line.entry.mountpoint) == mountpoint), None)
        if line is None:
            continue
        try:
            mounted.append(_mount_beside(g, survey, line, mountpoint, options))
        except Refused as refusal:
            failure = f"what is mounted there could not be looked at: {refusal}"
            failures.append(ConfigFile(path=mountpoint, kind=None, failure=failure))
            break  # /boot/efi may lie on it
    return mounted, failures


def _mount_beside(g: guestfs.GuestFS, survey: Survey, line: Line, mountpoint: str, options: str) -> Mounted:
    volume, entry = line.resolution.volume, line.entry
    subvolume = entry.mount_options.get("subvol", "")
    if volume is None or line.resolution.failure is not None or volume.name not in survey.paths or "," in subvolume:
        raise Refused(f"line {entry.line} of fstab does not lead to a file system")
    with refusals(g):
        # Its parents are the root, and /boot, of which the same was asked before.
        if g.is_symlink("/boot") or not g.is_dir(mountpoint, followsymlinks=False):
            raise Refused("the mount point is no directory")
        with_subvolume = f"{options},subvol={subvolume}" if subvolume else options
        g.mount_options(with_subvolume, survey.paths[volume.name], mountpoint)
    return Mounted(mountpoint=mountpoint, volume=volume)


def read_config_files(g: guestfs.GuestFS) -> list[ConfigFile]:
    """Read what there is of them in the mounted guest, each once, however many names it has."""
    found, seen = [], set()
    for path, kind in [*_FILES, *_in_folders(g)]:
        try:
            with refusals(g):
                if not g.is_file(path, followsymlinks=True):
                    continue
                real = g.realpath(path)
                if real in seen:
                    continue
                content = bytes(g.pread(path, MAX_FSTAB + 1, 0))
        except Refused as refusal:
            found.append(ConfigFile(path=path, kind=kind, failure=f"it cannot be read: {refusal}"))
            continue
        seen.add(real)
        if len(content) > MAX_FSTAB:
            found.append(ConfigFile(path=path, kind=kind, failure=f"it is larger than {MAX_FSTAB // 1024} KiB"))
        else:
            found.append(ConfigFile(path=path, kind=kind, content=content))
    return found


def volume_holding(real_path: str, root: Volume, mounted: Sequence[Mounted]) -> Volume:
    """Return the volume on which a file lies, whose path holds no symlink any more."""
    holding = root
    for mount in mounted:
        if real_path.startswith(f"{mount.mountpoint}/"):
            holding = mount.volume  # the last one is the innermost
    return holding


def _in_folders(g: guestfs.GuestFS) -> Iterator[tuple[str, BootFileKind]]:
    for name in names_in(g, _VENDORS)[:MAX_IN_FOLDER]:
        yield f"{_VENDORS}/{name}/grub.cfg", BootFileKind.GRUB_SCRIPT
        yield f"{_VENDORS}/{name}/grubenv", BootFileKind.GRUB_ENVIRONMENT
    for name in names_in(g, _ENTRIES)[:MAX_IN_FOLDER]:
        if name.endswith(".conf"):
            yield posixpath.join(_ENTRIES, name), BootFileKind.LOADER_ENTRY
