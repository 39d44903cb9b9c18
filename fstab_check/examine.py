"""Stage 3 as one call: disks in, verdict out, with one launch of the appliance in between."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fstab_check.boot_config import BootConfig, parse_boot_config
from fstab_check.check import MAX_ENTRIES, check_guest, follow_lines
from fstab_check.config_files import mount_boot, read_config_files
from fstab_check.config_reading import read_config
from fstab_check.drivers import KernelDrivers
from fstab_check.facts import Guest
from fstab_check.fstab import parse_fstab
from fstab_check.kernel_files import read_kernels
from fstab_check.manager_config import read_device_timeout
from fstab_check.mount_units import paths_of_units
from fstab_check.mountpoint_check import paths_of_interest
from fstab_check.root import READ_ONLY, find_roots, look_at_paths, mount_root, read_fstab
from fstab_check.survey import Survey, names_of, survey_guest
from migration.appliance import Refused, open_guest
from migration.errors import GuestError, InvalidInput
from migration.progress import Stop
from migration.served_disk import ReadableDisk
from migration.target import ALL_TARGETS, Target
from migration.verdict import Verdict, printable

if TYPE_CHECKING:
    import guestfs

log = logging.getLogger(__name__)


def examine_guest(
    disks: Sequence[ReadableDisk],
    *,
    expected_devices: Collection[str] = (),
    awaited_devices: Collection[str] = (),
    targets: Sequence[Target] = ALL_TARGETS,
    stop: Stop | None = None,
) -> Verdict:
    """Read the guest on `disks`, which are never written to, and judge its /etc/fstab against them.

    `expected_devices` are the ECS names ("xvdb") of all disks that the image has: those not among `disks`
    become findings. `awaited_devices` are those that are to come: only what is certain without them is found,
    and lines that may lead to them are left open. What the boot will do is foretold for `targets`.

    Raises `NoLinuxRoot` (Windows, a blank disk), `GuestError` where something else is in the way of judging,
    `InvalidInput` for disks that cannot be told apart, `ToolMissing`, `Interrupted`.
    """
    if not disks:
        raise InvalidInput("there is no disk to look into", "give the system disk and its data disks")
    names_of(disks)  # refuses what cannot be meant, before the wait for the appliance
    with open_guest(disks, stop=stop) as g:
        _, guest = read_guest(g, disks, expected=expected_devices, awaited=awaited_devices)
    return check_guest(guest, targets)


def read_guest(
    g: guestfs.GuestFS,
    disks: Sequence[ReadableDisk],
    *,
    expected: Collection[str] = (),
    awaited: Collection[str] = (),
) -> tuple[Survey, Guest]:
    """Read what the judgement needs from `disks`, which are the drives of `g`; the root is mounted afterwards.

    Raises as `examine_guest` does.
    """
    survey, roots = find_roots(g, survey_guest(g, disks))
    location = printable(roots[0].location)
    log.info("The root file system is on %s", location)
    try:
        mount_root(g, survey, roots[0])
        file = read_fstab(g)
    except Refused as refusal:
        raise GuestError(
            f"{location}: /etc/fstab cannot be read: {refusal}",
            "the file system may be damaged: check it with fsck on a copy",
        ) from refusal
    fstab = parse_fstab(file.content)
    config = read_config(g, paths_of_interest(fstab, MAX_ENTRIES))
    guest = Guest(
        layout=survey.layout,
        roots=tuple(roots),
        file=file,
        fstab=fstab,
        paths=look_at_paths(g, paths_of_interest(fstab, MAX_ENTRIES, paths_of_units(config.units))),
        device_timeout=read_device_timeout(g),
        config=config,
        expected=frozenset(expected),
        awaited=frozenset(awaited),
    )
    # Last, because it mounts more than the root, and the paths above are of the root file system.
    mounted, failures = mount_boot(g, survey, follow_lines(guest), options=READ_ONLY)
    kernels: tuple[KernelDrivers, ...] = ()
    if failures:
        # What lies on the root under a /boot that cannot be looked at is a leftover: nothing starts from it.
        boot = BootConfig(failure=f"{failures[0].path}: {failures[0].failure}")
    else:
        files = {file.path: file.content for file in read_config_files(g) if file.kind is not None}
        boot, kernels = parse_boot_config(files), read_kernels(g)
    for mount in reversed(mounted):
        g.umount(mount.mountpoint)
    return survey, replace(guest, boot=boot, kernels=kernels)
