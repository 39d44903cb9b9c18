"""Knows how OpenStack is told what a guest needs: image formats and properties, by the names that Glance and Nova read.

Sources: Glance's "Useful image properties", Nova's `ImageMetaProps` and the enums it allows, and Nova's page on VMware.
Pure: whatever reaches Glance, whether uploaded by us or by a recipe, takes them from here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from migration.artifact import Artifact
from migration.device import parse_device_name
from migration.disk import DiskFormat, DiskRole
from migration.errors import InvalidInput
from migration.image import GIB
from migration.target import Target
from private_cloud.machine import Firmware

CONTAINER = "bare"  # no envelope around the disk, as an OVA is one
LONGEST_NAME = 200  # characters; Glance takes 255, and we add which disk it is
PROVENANCE = "ferry_"  # what all properties of our own begin with
SHA256 = "ferry_sha256"

_DISK_FORMATS = {DiskFormat.VPC: "vhd"}  # the others are spelled as we do
_ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "i386": "i686", "i686": "i686", "arm64": "aarch64",
                  "aarch64": "aarch64"}  # fmt: skip
_OS_TYPES = ("linux", "windows")
_VMWARE_DISK_TYPES = {"streamOptimized": "streamOptimized", "monolithicSparse": "sparse"}

# All that `guest_properties` ever sets: what a later run does not want any more is taken away.
GUEST_KEYS = frozenset({
    "hw_architecture", "hw_disk_bus", "hw_firmware_type", "hw_machine_type", "hw_scsi_model", "hw_vif_model",
    "hypervisor_type", "os_secure_boot", "os_type", "vmware_adaptertype", "vmware_disktype",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class GlanceImage:
    """An image as Glance shall have it. `min_disk` is in GiB, `min_ram` in MiB, 0 for none, as Glance counts."""

    name: str
    disk_format: str
    min_disk: int
    min_ram: int = 0
    container_format: str = CONTAINER
    visibility: str = "private"
    properties: dict[str, str] = field(default_factory=dict)


def guest_properties(
    *, firmware: Firmware, target: Target, architecture: str = "x86_64", os_type: str = "linux", vmdk_type: str = ""
) -> dict[str, str]:
    """Return what Nova has to know to boot the guest: firmware, machine, the buses of its disks, its network card.

    `architecture` is as ECS or `uname -m` spells it; `vmdk_type` is the createType of a VMDK, "" for other formats.
    Raises `InvalidInput` for a machine that Nova does not make.
    """
    arch = _ARCHITECTURES.get(architecture)
    if arch is None:
        raise InvalidInput(f"{architecture!r} is no architecture known here", "x86_64, i686 or aarch64")
    if os_type not in _OS_TYPES:
        raise InvalidInput(f"{os_type!r} is no os_type that Nova knows", "linux or windows")
    return {
        "hw_architecture": arch,
        "os_type": os_type,
        "hw_firmware_type": firmware.value,
        **({"os_secure_boot": "disabled"} if firmware is Firmware.UEFI else {}),
        **_bus(target, vmdk_type),
        **_machine(arch, firmware, target),
    }


def _bus(target: Target, vmdk_type: str) -> dict[str, str]:
    if target is Target.NVME:
        raise InvalidInput(
            "Nova gives a guest no NVMe disks",
            "--target virtio or scsi, if `ferry check-fstab` says the guest knows it",
        )
    if target is Target.VMWARE:
        # As Nova's VMware driver reads them; without a disk type it takes every VMDK for a flat one.
        disk_type = {"vmware_disktype": _VMWARE_DISK_TYPES[vmdk_type]} if vmdk_type in _VMWARE_DISK_TYPES else {}
        return {
            "hypervisor_type": "vmware", "vmware_adaptertype": "paraVirtual", "hw_vif_model": "vmxnet3", **disk_type,
        }  # fmt: skip
    if target is Target.XEN:
        return {"hypervisor_type": "xen", "hw_disk_bus": "xen", "hw_vif_model": "netfront"}
    scsi = {"hw_scsi_model": "virtio-scsi"} if target is Target.SCSI else {}
    # A guest that comes from ECS has virtio-net, whatever its disks hung on.
    return {"hw_disk_bus": target.value, "hw_vif_model": "virtio", **scsi}


def _machine(arch: str, firmware: Firmware, target: Target) -> dict[str, str]:
    """Return the machine type, for QEMU and KVM only: the others have no such choice."""
    if target in {Target.VMWARE, Target.XEN}:
        return {}
    if arch == "aarch64":
        if target is Target.IDE or firmware is Firmware.BIOS:
            what = "IDE disks" if target is Target.IDE else "a BIOS"
            raise InvalidInput(f"no ARM machine has {what}", "--firmware uefi, and --target virtio or scsi")
        return {"hw_machine_type": "virt"}
    # q35 has no IDE. With UEFI, some distributions offer it on q35 only; with SATA, it has AHCI of its own.
    q35 = target is not Target.IDE and (firmware is Firmware.UEFI or target is Target.SATA)
    return {"hw_machine_type": "q35" if q35 else "pc"}


def provenance(artifact: Artifact, *, order: int, image_id: str = "") -> dict[str, str]:
    """Return where the bytes come from: `order` counts the guest's disks from 0, `image_id` is ECS's."""
    told = {
        f"{PROVENANCE}image_id": image_id,
        f"{PROVENANCE}device": artifact.device,
        f"{PROVENANCE}role": artifact.role.value,
        f"{PROVENANCE}disk_order": str(order),
        f"{PROVENANCE}virtual_size": str(artifact.virtual_size),
        SHA256: artifact.sha256,
    }
    return {key: value for key, value in told.items() if value}


def plan_images(
    artifacts: list[Artifact], name: str, guest: dict[str, str], *, image_id: str = "", min_ram: int = 0
) -> list[GlanceImage]:
    """Return what Glance shall have of each artifact: the system image called `name`, the others `name-data-xvdb`.

    `guest` is what `guest_properties` says, and goes to the system image; data disks become volumes, and the
    server's image decides on what they hang. Raises `InvalidInput` for a name that Glance does not take.
    """
    check_name(name)
    return [
        GlanceImage(
            name=image_name(name, artifact),
            disk_format=_DISK_FORMATS.get(artifact.format, artifact.format.value),
            min_disk=-(-artifact.virtual_size // GIB),
            min_ram=min_ram if artifact.role is DiskRole.SYSTEM else 0,
            properties={
                **(guest if artifact.role is DiskRole.SYSTEM else {}),
                **provenance(artifact, order=order_of(artifact), image_id=image_id),
            },
        )
        for artifact in artifacts
    ]


def image_name(name: str, artifact: Artifact) -> str:
    """Return the name of an artifact's image, for a migration that is to be called `name`."""
    return name if artifact.role is DiskRole.SYSTEM else f"{name}-data-{artifact.device}"


def order_of(artifact: Artifact) -> int:
    """Return the disk's place in the guest, from 0: by its device name, not by how many there are."""
    device = parse_device_name(artifact.device)
    return device.index if device is not None else 0


def check_name(name: str) -> None:
    """Raise `InvalidInput` for a name that Glance or the `openstack` command would not take for what it is."""
    problem = ""
    if not name or name != name.strip() or len(name) > LONGEST_NAME:
        problem = f"a name has 1 to {LONGEST_NAME} characters, and no space at either end"
    elif not name.isprintable() or any(ord(char) > 0xFFFF for char in name):
        problem = "Glance takes printable characters of up to three bytes only"
    elif name.startswith(("-", "in:")):
        problem = "the openstack command would take that for an option, or Glance for a list"
    if problem:
        raise InvalidInput(f"{name!r} cannot be the name of an image: {problem}", "choose another --name")


def read_vmdk_type(path: Path) -> str:
    """Return the createType in a VMDK's descriptor, "" where it tells none."""
    with path.open("rb") as file:
        head = file.read(64 * 1024)
    _, found, rest = head.partition(b'createType="')
    word = rest.partition(b'"')[0].decode("ascii", "replace") if found else ""
    return word if word.isalnum() and len(word) < 64 else ""
