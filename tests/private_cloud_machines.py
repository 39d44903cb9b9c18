"""Machines for the tests of definitions: their images are small files that need not boot."""

from __future__ import annotations

import hashlib
from pathlib import Path

from converters.convert import convert_file
from migration.artifact import Artifact
from migration.disk import Disk, DiskFormat, DiskRole
from migration.target import Target
from private_cloud.machine import Firmware
from private_cloud.virtual_machine import VirtualMachine

MIB = 1024**2

# What a guest, or whoever made its image, may have called it: markup, shell, YAML.
HOSTILE = "Evil & <Linux> \"1\" 'x' $(touch pwned) `id` ]]> : - {a: b} \\n%s"


def make_images(
    folder: Path, *, devices: tuple[str, ...] = ("xvda", "xvdb"), kind: DiskFormat = DiskFormat.QCOW2
) -> tuple[Artifact, ...]:
    """Write files that look like images by their names only."""
    folder.mkdir(parents=True, exist_ok=True)
    images = []
    for device in devices:
        role = DiskRole.SYSTEM if device == "xvda" else DiskRole.DATA
        stem = "system" if role is DiskRole.SYSTEM else f"data_{device}"
        path = folder / f"{stem}{kind.suffix}"
        content = f"the image of {device}".encode() * 1000
        path.write_bytes(content)
        images.append(
            Artifact(
                device=device, role=role, path=path, format=kind, virtual_size=20 * 1024 * MIB + 512,
                file_size=len(content), sha256=hashlib.sha256(content).hexdigest(), proof="none",
            )
        )  # fmt: skip
    return tuple(images)


def make_machine(
    folder: Path,
    *,
    bus: Target = Target.VIRTIO,
    firmware: Firmware = Firmware.BIOS,
    kind: DiskFormat = DiskFormat.QCOW2,
    operating_system: str = HOSTILE,
    **more: str,
) -> VirtualMachine:
    """Return a machine whose images lie in `folder`."""
    return VirtualMachine(
        name=more.pop("name", "web-1"), disks=make_images(folder, kind=kind), bus=bus, firmware=firmware,
        operating_system=operating_system, **more,  # type: ignore[arg-type]
    )  # fmt: skip


def convert_all(disks: tuple[Disk, ...], folder: Path, kind: DiskFormat, *, compress: bool = False) -> VirtualMachine:
    """Return a machine of real images, made of `disks` in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    images = tuple(convert_file(disk, folder, kind, compress=compress) for disk in disks)
    bus = Target.VMWARE if kind is DiskFormat.VMDK else Target.VIRTIO
    return VirtualMachine(name="web-1", disks=images, bus=bus, firmware=Firmware.BIOS, operating_system=HOSTILE)
