"""The disk as it lies in a workspace: which one of the guest's disks, in which format, how large.

ExportedObject --download--> Disk (raw) --convert--> Artifact (qcow2, vmdk)
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from migration.device import parse_device_name
from migration.errors import InvalidInput
from migration.str_enum import StrEnum

SYSTEM_DEVICE = "xvda"


class DiskRole(StrEnum):
    """What ECS calls a disk's type."""

    SYSTEM = "system"
    DATA = "data"


class DiskFormat(StrEnum):
    """An image format, spelled as `qemu-img` spells it."""

    RAW = "raw"
    QCOW2 = "qcow2"
    VMDK = "vmdk"
    VPC = "vpc"  # ECS exports call this VHD
    VHDX = "vhdx"
    VDI = "vdi"

    @property
    def suffix(self) -> str:
        """The file name suffix, dot included."""
        return ".vhd" if self is DiskFormat.VPC else f".{self}"

    @classmethod
    def from_suffix(cls, suffix: str) -> DiskFormat | None:
        """Return the format that a file name suffix (`.vhd`, `raw`, `.IMG`) stands for, or None."""
        word = suffix.lower().lstrip(".")
        word = {"vhd": "vpc", "img": "raw"}.get(word, word)
        return cls(word) if word in cls._value2member_map_ else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """One disk of the guest as a file on this machine.

    `device` is ECS's spelling without `/dev/` ("xvda", "xvdb"); `virtual_size` is what the guest
    sees, in bytes; `crc64` is the CRC-64/XZ of exactly those bytes, None where nobody computed it.
    `proof` says how the file was shown to be what the cloud holds, in words a report can print: it
    begins with UNKNOWN where that could not be shown, and is "" where nobody tried. `base` is the
    downloaded disk under a layer that Ferry made (`system.repaired.qcow2`), None for a file complete in itself.
    """

    device: str
    role: DiskRole
    path: Path
    format: DiskFormat
    virtual_size: int
    crc64: int | None = None
    proof: str = ""
    base: Path | None = None

    @property
    def stem(self) -> str:
        """The name its files carry in a workspace: `system`, `data_xvdb`."""
        return disk_stem(self.role, self.device)

    @property
    def name(self) -> str:
        """What people call it: the file's name."""
        return self.path.name

    @property
    def location(self) -> str:
        """What QEMU opens."""
        return str(self.path.absolute())

    @property
    def is_there(self) -> bool:
        """Whether the file exists."""
        return self.path.is_file()


REPAIRED_SUFFIX = ".repaired.qcow2"  # of a layer with a repair in it, behind the stem of the disk's own file


def is_layer(path: Path) -> bool:
    """Return whether the file's name is that of a layer with a repair in it."""
    return path.name.endswith(REPAIRED_SUFFIX)


class _GuestDisk(Protocol):
    @property
    def role(self) -> DiskRole: ...

    @property
    def device(self) -> str: ...


def guest_order(disk: _GuestDisk) -> tuple[bool, int, str]:
    """Sort disks and images as the guest numbers them: the system disk first, xvdz before xvdaa."""
    return disk.role is not DiskRole.SYSTEM, len(disk.device), disk.device


def disk_stem(role: DiskRole, device: str) -> str:
    """Return the file name stem of a disk: `system`, or `data_` and the ECS device name."""
    return "system" if role is DiskRole.SYSTEM else f"data_{device}"


_ROLE_IN_NAME = re.compile(r"(?:^|[_-])(?:(?P<system>system)|data[_-](?P<device>[a-z0-9]+))(?=\.|$)")


def parse_disk_argument(argument: str) -> tuple[DiskRole, str, Path]:
    """Return role, ECS device name and path meant by a command-line word.

    `DEVICE=FILE` says it outright (`xvdc=backup.raw`, `vda=root.raw`); otherwise the file's name
    must end as exported objects do, `system.raw` or `…_data_xvdb.raw`. Raises `InvalidInput`.
    """
    device, _, rest = argument.partition("=")
    name = parse_device_name(device) if rest else None
    if name is not None and name.partition is None:
        path = Path(rest)
    else:
        path = Path(argument)
        match = _ROLE_IN_NAME.search(path.name)
        if match is None and rest and not path.exists():
            xvda, xvdb = (shlex.quote(f"{name}={rest}") for name in ("xvda", "xvdb"))
            raise InvalidInput(
                f"{device!r} is no disk of a guest",
                f"say which it is: {xvda} for the system disk, {xvdb} for a data disk",
            )
        if match is None:
            message = f"{path.name}: cannot tell from the name which disk of the guest this is"
            system, data = (shlex.quote(f"{name}={argument}") for name in ("xvda", "xvdb"))
            raise InvalidInput(message, f"say it: {system} for the system disk, {data} for a data disk")
        name = parse_device_name(SYSTEM_DEVICE if match["system"] else match["device"])
        if name is None or name.partition is not None:
            raise InvalidInput(
                f"{path.name}: {match['device']!r} is not a disk name", f"say it: {shlex.quote(f'xvdb={argument}')}"
            )
    return (DiskRole.SYSTEM if name.disk == SYSTEM_DEVICE else DiskRole.DATA), name.disk, path
