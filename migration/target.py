"""Knows the buses that a machine on the other side may give the disks, and what its kernel calls them there."""

from __future__ import annotations

from collections.abc import Sequence

from migration.errors import InvalidInput
from migration.str_enum import StrEnum


class Target(StrEnum):
    """A way of attaching disks, by the name that people and hypervisors have for it."""

    VIRTIO = "virtio"  # virtio-blk: KVM, libvirt, OpenStack, Proxmox
    SCSI = "scsi"  # virtio-scsi
    SATA = "sata"  # AHCI
    IDE = "ide"
    NVME = "nvme"
    XEN = "xen"
    VMWARE = "vmware"  # pvscsi, LSI

    @property
    def disk_prefix(self) -> str:
        """What disk names begin with, as `DeviceName.spelled` takes it: "vd", "sd", "nvme", "xvd"."""
        return _PREFIXES.get(self, "sd")


_PREFIXES = {Target.VIRTIO: "vd", Target.NVME: "nvme", Target.XEN: "xvd"}

ALL_TARGETS = tuple(Target)


def parse_targets(words: Sequence[str]) -> tuple[Target, ...]:
    """Return the targets that `words` name, each once; all of them for none. Raises `InvalidInput`."""
    try:
        return tuple(dict.fromkeys(Target(word) for word in words)) or ALL_TARGETS
    except ValueError:
        wrong = next(word for word in words if word not in ALL_TARGETS)
        raise InvalidInput(f"{wrong!r} is no target", f"one of {', '.join(ALL_TARGETS)}") from None
