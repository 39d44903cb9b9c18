"""Judges what the guest's other files say about its mounts, and says which of them could not be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fstab_check.autofs_check import check_autofs
from fstab_check.cloud_init_check import check_cloud_init
from fstab_check.codes import Code
from fstab_check.facts import Guest, Line
from fstab_check.mount_unit_check import check_mount_units
from fstab_check.mount_units import lines_in_force
from fstab_check.obstacles import check_obstacles
from fstab_check.service_check import check_services
from migration.target import Target
from migration.verdict import Finding, Severity

MAX_UNREAD = 20  # told one by one


def check_config(lines: Sequence[Line], guest: Guest, targets: Sequence[Target]) -> Iterator[Finding]:
    """Yield what the other files make of the mounts on `targets`, a file after the other."""
    yield from check_mount_units(lines, guest, targets)
    yield from check_services(lines, guest, targets)
    yield from check_cloud_init(lines, guest, targets)
    yield from check_obstacles(lines_in_force(lines, guest), guest, targets)
    yield from check_autofs(guest, targets)
    yield from _check_unread(guest)


def _check_unread(guest: Guest) -> Iterator[Finding]:
    for path, reason in list(guest.config.unread.items())[:MAX_UNREAD]:
        yield Finding(
            code=Code.CONFIG_UNEXAMINED, severity=Severity.WARNING, file=path,
            message=f"{path} could not be read: what it says about mounts is unknown",
            evidence=reason, remedy="see what is there, and that nothing in it names a disk or server of the cloud",
        )  # fmt: skip
