"""Knows the machine that the other side must give a guest, whatever its platform: what definitions are made from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from migration.artifact import Artifact
from migration.disk import DiskRole, disk_stem
from migration.errors import InvalidInput
from migration.str_enum import StrEnum
from migration.target import Target
from private_cloud.machine import CPUS, MEMORY, Firmware

# What every platform takes as it is; Proxmox alone wants `-` for `_`.
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)
_NETWORK = re.compile(r"[A-Za-z0-9]([A-Za-z0-9 ._-]{0,61}[A-Za-z0-9])?", re.ASCII)
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.ASCII)

# Disks that one machine takes on a bus, on every platform that has it: SCSI controllers of VMware have 15 places.
MOST_DISKS = {Target.IDE: 4, Target.SATA: 6}
MOST_DISKS_OTHERWISE = 15


class Nic(StrEnum):
    """A network card, as QEMU spells it."""

    VIRTIO = "virtio"
    E1000E = "e1000e"
    VMXNET3 = "vmxnet3"


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualMachine:
    """A machine with its disks in the order of booting, the system disk first. Secure Boot is off.

    `memory` is in MiB. `network` "" is the platform's own usual one, `mac` "" one that the platform makes.
    `notes` say what whoever takes the machine over should know; they are printable. Raises `InvalidInput`
    for what no platform takes, so that names in it may be trusted to be harmless words.
    """

    name: str
    disks: tuple[Artifact, ...]
    bus: Target
    firmware: Firmware
    architecture: str = "x86_64"
    memory: int = MEMORY
    cpus: int = CPUS
    network: str = ""
    mac: str = ""
    operating_system: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_words(self)
        _check_sizes(self)
        _check_disks(self.disks, self.bus)

    @property
    def nic(self) -> Nic:
        """The card that a guest is sure to have a driver for which has one for the bus."""
        return {Target.VMWARE: Nic.VMXNET3, Target.SATA: Nic.E1000E, Target.IDE: Nic.E1000E}.get(self.bus, Nic.VIRTIO)

    @property
    def chipset(self) -> str:
        """QEMU's machine type: q35 has the AHCI controller and is what OVMF is made for, pc has the IDE one."""
        if self.bus is Target.IDE:
            return "pc"
        return "q35" if self.bus is Target.SATA or self.firmware is Firmware.UEFI else "pc"

    @property
    def folder(self) -> Path:
        """The folder that all images lie in."""
        return self.disks[0].path.parent


def stem_of(artifact: Artifact) -> str:
    """Return the name of a disk that goes into definitions: `system`, `data_xvdb`."""
    return disk_stem(artifact.role, artifact.device)


def suggest_name(words: str, otherwise: str = "guest") -> str:
    """Return a name made of `words`, which may be anything: an image's name, a folder's."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", words, flags=re.ASCII)[:63].strip("._-")
    return safe or otherwise


def _check_words(machine: VirtualMachine) -> None:
    if _NAME.fullmatch(machine.name) is None:
        raise InvalidInput(
            f"{machine.name!r} is no name for a machine on every platform",
            f"letters, digits, `.`, `_` and `-`, 63 at most: --name {suggest_name(machine.name)}",
        )
    if machine.network and _NETWORK.fullmatch(machine.network) is None:
        raise InvalidInput(
            f"{machine.network!r} is no name for a network", "letters, digits, blanks, `.`, `_` and `-`, 63 at most"
        )
    if machine.mac and (_MAC.fullmatch(machine.mac) is None or int(machine.mac[:2], 16) & 1):
        raise InvalidInput(
            f"{machine.mac!r} is no MAC address of a network card",
            "six pairs of hexadecimal digits in small letters, the first one even: 52:54:00:12:34:56",
        )


def _check_sizes(machine: VirtualMachine) -> None:
    if machine.architecture != "x86_64":
        raise InvalidInput(
            f"no machine of the architecture {machine.architecture!r} can be defined", "x86_64 is the one that can"
        )
    if machine.memory < 128 or machine.memory % 4:
        raise InvalidInput(
            f"{machine.memory} MiB cannot be a machine's memory", "128 or more, and for VMware a multiple of 4"
        )
    if not 1 <= machine.cpus <= 512:
        raise InvalidInput(f"{machine.cpus} processors cannot be had", "1 to 512")


def _check_disks(disks: Sequence[Artifact], bus: Target) -> None:
    if not disks or disks[0].role is not DiskRole.SYSTEM:
        raise InvalidInput("the system disk is not among the disks", "give it too: xvda=FILE")
    if len({disk.device for disk in disks}) < len(disks):
        raise InvalidInput("two images are given for one disk", "give one of them")
    most = MOST_DISKS.get(bus, MOST_DISKS_OTHERWISE)
    if len(disks) > most:
        raise InvalidInput(
            f"a machine takes {most} disks on {bus}, and there are {len(disks)}", "choose another --target"
        )
    for disk in disks:
        if disk.path.parent != disks[0].path.parent:
            raise InvalidInput(
                f"{disk.path} and {disks[0].path} lie in two folders", "put all images of a machine into one"
            )
        if not disk.path.name.isprintable():
            raise InvalidInput(f"{disk.path.name!r}: no name for an image", "rename it: system.qcow2, data_xvdb.qcow2")
