"""The cells of the boot matrix: which /etc/fstab is booted from which disks on which bus, and with what fault.

A cell is booted as it is, or after the check has repaired it (`is_repaired`): then nothing of it may stop the boot.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from migration.target import Target
from tests.systemd_guest import ROOT_UUID

B, C = (f"{digit * 8}-{digit * 4}-4{digit * 3}-8{digit * 3}-{digit * 12}" for digit in "bc")
NOWHERE = "deadbeef-dead-4ead-8ead-deadbeefdead"
BUSES = (Target.VIRTIO, Target.SCSI, Target.SATA)

ROOT = f"UUID={ROOT_UUID} / ext4 errors=remount-ro 0 1\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One boot: `text` is the guest's fstab behind the line for its root, or all of it."""

    name: str
    disk_set: str  # one of those of tests/boot_matrix_disks.py
    target: Target
    text: str
    root: str = ROOT
    command_line: str = ""
    is_repaired: bool = False
    units: tuple[tuple[str, str], ...] = ()  # files in /etc/systemd/system and what is in them; nothing: masked

    @property
    def fstab(self) -> str:
        return self.root + self.text


# Name, set of disks, and the lines. These are booted on every bus,
ON_EVERY_BUS = (
    ("UUID", "two", f"UUID={B} /data ext4 defaults 0 2\nUUID={C} /srv ext4 defaults 0 0\n"),
    ("virtio name", "two", "/dev/vdb1 /data ext4 defaults 0 0\n"),
    ("SCSI name", "two", "/dev/sdb1 /data ext4 defaults 0 0\n"),
    ("Xen name", "two", "/dev/xvdb1 /data ext4 defaults 0 0\n"),
    ("a disk was left behind", "gap", "/dev/vdb1 /data ext4 nofail 0 0\n/dev/sdb1 /srv ext4 nofail 0 0\n"),
    ("LVM by path", "lvm", "/dev/vg/data /data ext4 defaults 0 0\n/dev/mapper/vg-more /srv ext4 defaults 0 0\n"),
    ("swapped names", "two", "/dev/vdc1 /data ext4 defaults 0 0\n/dev/vdb1 /srv ext4 defaults 0 0\n"),
)  # fmt: skip

# these on virtio and SCSI, which differ in the names of disks,
ON_TWO_BUSES = (
    ("virtio name, nofail", "two", "/dev/vdb1 /data ext4 nofail 0 0\n"),
    ("missing disk", "two", f"UUID={NOWHERE} /data ext4 defaults 0 0\n"),
    ("no such partition", "two", "/dev/vdb7 /data ext4 nofail 0 0\n/dev/sdb7 /srv ext4 defaults 0 0\n"),
    ("whole disk", "whole", f"/dev/vdb /data ext4 nofail 0 0\nUUID={C} /srv xfs defaults 0 0\n"),
    ("LVM by UUID", "lvm", f"UUID={B} /data ext4 defaults 0 2\nUUID={C} /srv ext4 defaults 0 2\n"),
)  # fmt: skip

# and these on one, as little or nothing about them hangs on the bus.
ON_ONE_BUS = (
    ("label", "two", "LABEL=data /data ext4 defaults 0 0\n"),
    ("partition UUID", "two", "PARTUUID=1234abcd-01 /data ext4 defaults 0 0\n"),
    ("link by UUID", "two", f"/dev/disk/by-uuid/{B} /data ext4 defaults 0 0\n"),
    ("link by the cloud's serial", "two", "/dev/disk/by-id/virtio-bp15tehyhsf9-part1 /data ext4 defaults 0 0\n"),
    ("missing disk, nofail", "two", f"UUID={NOWHERE} /data ext4 nofail 0 0\nUUID={B} /srv ext4 defaults 0 0\n"),
    ("LVM, a member left behind", "lvm gap", "/dev/vg/data /data ext4 defaults 0 0\n"),
    ("btrfs subvolumes", "btrfs", f"UUID={B} /data btrfs subvol=@data 0 0\nUUID={B} /srv btrfs subvol=/@srv 0 0\n"),
    ("xfs on a partition", "btrfs", f"UUID={C} /srv xfs defaults 0 0\n"),
    ("missing disk, short wait", "two", f"UUID={NOWHERE} /data ext4 x-systemd.device-timeout=3s 0 0\n"),
    ("missing disk, automount", "two", f"UUID={NOWHERE} /data ext4 x-systemd.automount 0 0\n"),
    ("missing disk, _netdev", "two", f"UUID={NOWHERE} /data ext4 _netdev 0 0\n"),
    ("missing swap", "two", f"UUID={NOWHERE} none swap sw 0 0\nUUID={B} /data ext4 defaults 0 0\n"),
    ("wrong type", "two", f"UUID={B} /data xfs defaults 0 0\n"),
    ("missing directory", "two", f"UUID={B} /not/there/yet ext4 defaults 0 0\n"),
    ("mount point is a file", "two", f"UUID={B} /etc/hostname ext4 defaults 0 0\n"),
    ("twice the same place", "two", f"UUID={B} /data ext4 defaults 0 0\nUUID={C} /data/ ext4 defaults 0 0\n"),
    ("dead NFS", "two", "nas.example:/ /data nfs vers=4,_netdev 0 0\n"),
    ("bind of a missing directory", "two", "/no/such /data none bind 0 0\n"),
    ("missing loop file", "two", "/no/such.img /data ext4 loop 0 0\n"),
    ("missing swap file", "two", "/no/swap none swap sw 0 0\n"),
    ("LVM, a member left behind, nofail", "lvm gap", "/dev/vg/data /data ext4 nofail 0 0\n"),
    ("btrfs, no such subvolume", "btrfs", f"UUID={B} /data btrfs subvol=@none 0 0\n"),
    ("btrfs, no such subvolume, nofail", "btrfs", f"UUID={B} /data btrfs subvol=@none,nofail 0 0\n"),
    ("xfs said to be ext4", "btrfs", f"UUID={C} /srv ext4 defaults 0 0\n"),
)  # fmt: skip

LINES = tuple(
    (name, disk_set, text, buses)
    for lines, buses in ((ON_EVERY_BUS, BUSES), (ON_TWO_BUSES, BUSES[:2]), (ON_ONE_BUS, BUSES[:1]))
    for name, disk_set, text in lines
)

# Whether a link by the slot is there on its own bus nobody can know beforehand: not booted on that.
BY_SLOT = (
    ("link by a virtio slot", "two", "/dev/disk/by-path/pci-0000:00:05.0-part1 /data ext4 nofail 0 0\n"),
)  # fmt: skip

# Those that need a root line or a kernel command line of their own.
ROOTS = (
    ("root line leads nowhere", "two", f"UUID={NOWHERE} / ext4 defaults 0 1\n", ""),
    ("no root line", "two", "", ""),
    ("kernel's root by virtio name", "two", ROOT, "root=/dev/vda1"),
    ("kernel's root leads nowhere", "two", ROOT, f"root=UUID={NOWHERE}"),
)

# Where a unit of the guest's own counts before the line.
UNITS = (
    # Without nofail local-fs.target is impossible, and what comes of the rest is foretold as unknown.
    (
        "masked mount unit, nofail", f"UUID={B} /data ext4 nofail 0 0\nUUID={C} /srv ext4 defaults 0 0\n",
        (("data.mount", ""),),
    ),
    (
        "unit in place of the line", f"UUID={NOWHERE} /data ext4 defaults 0 0\n",
        (("data.mount", f"[Mount]\nWhat=/dev/disk/by-uuid/{B}\nWhere=/data\nType=ext4\n"),),
    ),
    (
        "unit that leads nowhere in place of the line", f"UUID={B} /data ext4 nofail 0 0\n",
        (("data.mount", f"[Mount]\nWhat=/dev/disk/by-uuid/{NOWHERE}\nWhere=/data\nType=ext4\n"),),
    ),
)  # fmt: skip

# Booted once more after the repair, with the fault and the set of disks as above.
REPAIRED = (
    ("virtio name", Target.VIRTIO), ("virtio name", Target.SCSI), ("missing disk", Target.VIRTIO),
    ("a disk was left behind", Target.SCSI), ("LVM, a member left behind", Target.VIRTIO),
)  # fmt: skip

# And these, where GRUB has to find another `root=` in the configuration that was mended.
REPAIRED_BOOT_LOADERS = (
    ("root= by Xen name, a data disk left behind", "uefi", "/dev/xvdd1 /data ext4 defaults 0 0\n", "root=/dev/xvda2"),
)  # fmt: skip


def all_cells() -> Iterator[Cell]:
    """Yield every cell."""
    yield from _line_cells()
    yield from _boot_cells()
    yield from _repaired_cells()
    for name, text, units in UNITS:
        yield Cell(name=name, disk_set="two", target=Target.VIRTIO, text=text, units=units)


def _line_cells() -> Iterator[Cell]:
    for name, disk_set, text, buses in LINES:
        for target in buses:
            yield Cell(name=name, disk_set=disk_set, target=target, text=text)
    for name, disk_set, text in BY_SLOT:
        yield Cell(name=name, disk_set=disk_set, target=Target.SCSI, text=text)


def _boot_cells() -> Iterator[Cell]:
    for name, disk_set, root, told in ROOTS:
        for target in BUSES if "name" in name else BUSES[:1]:
            yield Cell(name=name, disk_set=disk_set, target=target, text="", root=root, command_line=told)
    for disk_set in ("gpt", "uefi"):
        for target in (Target.VIRTIO, Target.SATA):
            yield Cell(
                name=f"{disk_set} disk, started by its boot loader", disk_set=disk_set, target=target,
                text=f"UUID={B} /data ext4 defaults 0 0\n/dev/vdb1 /srv ext4 nofail 0 0\n",
            )  # fmt: skip


def _repaired_cells() -> Iterator[Cell]:
    faults = {name: (disk_set, text) for name, disk_set, text, _ in LINES}
    for name, target in REPAIRED:
        disk_set, text = faults[name]
        yield Cell(name=f"{name}, repaired", disk_set=disk_set, target=target, text=text, is_repaired=True)
    for name, disk_set, text, told in REPAIRED_BOOT_LOADERS:
        yield Cell(
            name=f"{name}, repaired", disk_set=disk_set, target=Target.SCSI, text=text, command_line=told,
            is_repaired=True,
        )  # fmt: skip


# What continuous integration boots of them.
SAMPLE = frozenset(
    {
        ("virtio name", Target.SCSI), ("LVM by path", Target.VIRTIO), ("kernel's root by virtio name", Target.SATA),
        ("a disk was left behind, repaired", Target.SCSI),
    }
)  # fmt: skip
