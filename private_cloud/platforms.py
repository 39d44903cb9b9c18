"""Knows the platforms of the other side: which buses and image formats each takes, best first."""

from __future__ import annotations

from migration.disk import DiskFormat
from migration.str_enum import StrEnum
from migration.target import Target


class Platform(StrEnum):
    """A platform that a machine can be defined for."""

    LIBVIRT = "libvirt"
    OPENSTACK = "openstack"
    PROXMOX = "proxmox"
    QEMU = "qemu"
    OVA = "ova"  # VMware, VirtualBox: one file
    OVF = "ovf"  # the same as a folder

    @property
    def buses(self) -> tuple[Target, ...]:
        """What its machines hang disks on, in the order of preference."""
        return _BUSES[self]

    @property
    def formats(self) -> tuple[DiskFormat, ...]:
        """The image formats that its definition may refer to, in the order of preference."""
        return _FORMATS[self]

    @property
    def network(self) -> str:
        """What the guests' network is called if nobody has named it otherwise; "" where there is no usual name."""
        return _NETWORKS.get(self, "")


_QEMU_BUSES = (Target.VIRTIO, Target.SCSI, Target.SATA, Target.VMWARE, Target.IDE)
# pvscsi is what ESXi is made for; VirtualBox has none, and takes the next.
_VMWARE_BUSES = (Target.VMWARE, Target.SATA, Target.IDE, Target.NVME)

_BUSES = {
    Platform.LIBVIRT: _QEMU_BUSES,  # it has no emulated NVMe disks before version 11.5
    Platform.OPENSTACK: (Target.VIRTIO, Target.SCSI, Target.SATA, Target.IDE),
    Platform.PROXMOX: _QEMU_BUSES,
    Platform.QEMU: (*_QEMU_BUSES, Target.NVME),
    Platform.OVA: _VMWARE_BUSES,
    Platform.OVF: _VMWARE_BUSES,
}

_FORMATS = {
    Platform.LIBVIRT: (DiskFormat.QCOW2, DiskFormat.RAW),
    Platform.OPENSTACK: (DiskFormat.QCOW2, DiskFormat.RAW),
    # It cannot be told what a RAW image is and looks at its first bytes, which are the guest's word.
    Platform.PROXMOX: (DiskFormat.QCOW2,),
    Platform.QEMU: (DiskFormat.QCOW2, DiskFormat.RAW),
    Platform.OVA: (DiskFormat.VMDK,),
    Platform.OVF: (DiskFormat.VMDK,),
}

_NETWORKS = {
    Platform.LIBVIRT: "default",
    Platform.PROXMOX: "vmbr0",
    Platform.OVA: "VM Network",
    Platform.OVF: "VM Network",
}
