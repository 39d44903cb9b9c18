"""The sets of disks that the cells of the boot matrix are booted from, made once each.

LVM and btrfs subvolumes are made in an appliance; the rest by the programs that make file systems in files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock

from migration.disk import Disk
from migration.run import run
from tests.boot_matrix_cells import B, C
from tests.fstab_check_disks import MIB, building_appliance, empty_disk, make_ext4, make_partitioned, make_xfs
from tests.systemd_guest import Layout, make_guest

_MEMBER = 40  # MiB, of each physical volume
_LARGER_THAN_A_MEMBER = 56  # MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSet:
    """Disks that cells share: how the system disk is laid out, and the data disks by device.

    `tail` is what a last partition of the system disk holds, behind the root.
    """

    name: str
    layout: Layout
    disks: Mapping[str, Path]
    tail: Path | None = None

    def make_guest(self, folder: Path, *, fstab: str, command_line: str, device_timeout: str) -> tuple[Disk, ...]:
        """Make a guest with these disks in `folder`, otherwise as `make_guest` of tests/systemd_guest.py."""
        disks = make_guest(
            folder, fstab=fstab, disks=self.disks, layout=self.layout, command_line=command_line,
            device_timeout=device_timeout,
        )  # fmt: skip
        if self.tail is not None:
            _append_partition(disks[0].path, self.tail)
        return disks


class DiskSets:
    """Makes the sets in `folder`, each when it is asked for first; for use by several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, DiskSet] = {}
        self._lock = Lock()

    def make(self, name: str) -> DiskSet:
        """Return the set of that name."""
        with self._lock:
            if name not in self._made:
                self._made[name] = self._make(name)
            return self._made[name]

    def _make(self, name: str) -> DiskSet:
        if name == "gap":
            return DiskSet(name=name, layout=Layout.MBR, disks={"xvdc": self._second})
        if name == "whole":
            return DiskSet(name=name, layout=Layout.MBR, disks={"xvdb": self._ext4[0], "xvdc": self._xfs})
        if name == "btrfs":
            xfs = make_partitioned(self._folder / "xfs-partition.raw", [self._xfs])
            return DiskSet(name=name, layout=Layout.MBR, disks={"xvdb": self._btrfs, "xvdc": xfs})
        if name == "lvm":
            return DiskSet(name=name, layout=Layout.MBR, disks={"xvdb": self._group[1]}, tail=self._group[0])
        if name == "lvm gap":
            return DiskSet(name=name, layout=Layout.MBR, disks={"xvdc": self._second}, tail=self._group[0])
        layout = {"two": Layout.MBR, "gpt": Layout.GPT, "uefi": Layout.UEFI}[name]
        first = make_partitioned(self._folder / f"{name}-b.raw", [self._ext4[0]])
        return DiskSet(name=name, layout=layout, disks={"xvdb": first, "xvdc": self._second})

    @cached_property
    def _ext4(self) -> tuple[Path, Path]:
        return (
            make_ext4(self._folder / "b.img", uuid=B, label="data"),
            make_ext4(self._folder / "c.img", uuid=C, label="more"),
        )

    @cached_property
    def _second(self) -> Path:
        return make_partitioned(self._folder / "c.raw", [self._ext4[1]], label="gpt")

    @cached_property
    def _xfs(self) -> Path:
        return make_xfs(self._folder / "xfs.raw", uuid=C)

    @cached_property
    def _btrfs(self) -> Path:
        disk = make_partitioned(self._folder / "btrfs.raw", [120])
        with building_appliance(disk) as g:
            g.mkfs_btrfs(["/dev/sda1"])
            g.set_uuid("/dev/sda1", B)
            g.mount("/dev/sda1", "/")
            for subvolume in ("/@data", "/@srv"):
                g.btrfs_subvolume_create(subvolume)
        return disk

    @cached_property
    def _group(self) -> tuple[Path, Path]:
        """The group `vg` over two members: `data` on both of them, `more` on the second."""
        members = (
            empty_disk(self._folder / "member-1.raw", _MEMBER), empty_disk(self._folder / "member-2.raw", 2 * _MEMBER)
        )  # fmt: skip
        with building_appliance(*members) as g:
            for device in ("/dev/sda", "/dev/sdb"):
                g.pvcreate(device)
            g.vgcreate("vg", ["/dev/sda", "/dev/sdb"])
            for name, size, uuid in (("data", _LARGER_THAN_A_MEMBER, B), ("more", 16, C)):
                g.lvcreate(name, "vg", size)
                g.mke2fs(f"/dev/vg/{name}", uuid=uuid, fstype="ext4")
        return members


def _append_partition(disk: Path, content: Path) -> None:
    size = content.stat().st_size
    start = disk.stat().st_size // MIB * MIB
    with disk.open("r+b") as file:
        file.truncate(start + size + MIB)
    run(["sfdisk", "--quiet", "--append", disk], stdin=f"start={start // 512}, size={size // 512}, type=8e\n")
    run(["dd", f"if={content}", f"of={disk}", "bs=1M", f"seek={start // MIB}", "conv=notrunc,sparse", "status=none"])
