"""Renders a machine as libvirt's domain XML."""

from __future__ import annotations

from pathlib import PurePosixPath
from xml.etree import ElementTree as ET

from migration.artifact import Artifact
from migration.disk import DiskFormat
from migration.errors import InvalidInput
from migration.target import Target
from private_cloud.machine import Firmware
from private_cloud.platforms import Platform
from private_cloud.virtual_machine import VirtualMachine, stem_of

IMAGES = PurePosixPath("/var/lib/libvirt/images")  # where libvirt's own tools put them

_SCSI_MODELS = {Target.SCSI: "virtio-scsi", Target.VMWARE: "vmpvscsi"}
_BUSES = {Target.VIRTIO: "virtio", Target.SCSI: "scsi", Target.VMWARE: "scsi", Target.SATA: "sata", Target.IDE: "ide"}
_LONGEST_SERIAL = 20  # that a virtio disk has


def default_folder(machine: VirtualMachine) -> PurePosixPath:
    """Return where the images are to lie: a folder of the machine's own, as others call theirs system.qcow2 too."""
    return IMAGES / machine.name


def render_domain(
    machine: VirtualMachine, folder: PurePosixPath | None = None, *, kvm: bool = True, uuid: str = ""
) -> str:
    """Return the domain whose images lie in `folder`, an absolute path. Raises `InvalidInput` for NVMe.

    `kvm` is for a host that has it, which one that runs a private cloud does; without, QEMU emulates. Without a `uuid`
    libvirt makes one.
    """
    if machine.bus not in _BUSES:
        raise InvalidInput(
            f"libvirt has no disks on {machine.bus} before version 11.5",
            f"choose another --target: {', '.join(Platform.LIBVIRT.buses)}",
        )
    domain = ET.Element("domain", type="kvm" if kvm else "qemu")
    _text(domain, "name", machine.name)
    if uuid:
        _text(domain, "uuid", uuid)
    if machine.operating_system:
        _text(domain, "description", machine.operating_system)
    _text(domain, "memory", str(machine.memory), unit="MiB")
    _text(domain, "vcpu", str(machine.cpus))
    _add_os(domain, machine)
    features = ET.SubElement(domain, "features")
    ET.SubElement(features, "acpi")
    ET.SubElement(features, "apic")
    # host-model can move to another host; an emulated CPU is best with all that QEMU knows.
    ET.SubElement(domain, "cpu", mode="host-model" if kvm else "maximum")
    ET.SubElement(domain, "clock", offset="utc")
    _add_devices(domain, machine, folder or default_folder(machine))
    ET.indent(domain)
    return ET.tostring(domain, encoding="unicode") + "\n"


def _add_os(domain: ET.Element, machine: VirtualMachine) -> None:
    uefi = machine.firmware is Firmware.UEFI
    os = ET.SubElement(domain, "os", {"firmware": "efi"} if uefi else {})
    _text(os, "type", "hvm", arch=machine.architecture, machine=machine.chipset)
    if uefi:
        firmware = ET.SubElement(os, "firmware")
        for feature in ("secure-boot", "enrolled-keys"):
            ET.SubElement(firmware, "feature", enabled="no", name=feature)
    else:
        # SeaBIOS then speaks on the serial port too, where it is seen why a machine does not start.
        ET.SubElement(os, "bios", useserial="yes")


def _add_devices(domain: ET.Element, machine: VirtualMachine, folder: PurePosixPath) -> None:
    devices = ET.SubElement(domain, "devices")
    if machine.bus in _SCSI_MODELS:
        ET.SubElement(devices, "controller", type="scsi", index="0", model=_SCSI_MODELS[machine.bus])
    for number, disk in enumerate(machine.disks):
        _add_disk(devices, machine.bus, number, disk, folder)
    interface = ET.SubElement(devices, "interface", type="network")
    if machine.mac:
        ET.SubElement(interface, "mac", address=machine.mac)
    ET.SubElement(interface, "source", network=machine.network or Platform.LIBVIRT.network)
    ET.SubElement(interface, "model", type=machine.nic)
    serial = ET.SubElement(devices, "serial", type="pty")
    ET.SubElement(serial, "target", port="0")
    console = ET.SubElement(devices, "console", type="pty")
    ET.SubElement(console, "target", type="serial", port="0")
    ET.SubElement(devices, "graphics", type="vnc", port="-1", autoport="yes", listen="127.0.0.1")
    video = ET.SubElement(devices, "video")
    ET.SubElement(video, "model", type="vga")
    if machine.bus in {Target.VIRTIO, Target.SCSI}:  # the guest has drivers for virtio
        rng = ET.SubElement(devices, "rng", model="virtio")
        _text(rng, "backend", "/dev/urandom", model="random")


def _add_disk(devices: ET.Element, bus: Target, number: int, image: Artifact, folder: PurePosixPath) -> None:
    # Without a named driver type libvirt takes raw; the guest's first bytes never decide.
    if image.format not in {DiskFormat.QCOW2, DiskFormat.RAW}:
        raise InvalidInput(f"{image.path.name}: for libvirt an image is qcow2 or raw", "convert it: --to qcow2")
    disk = ET.SubElement(devices, "disk", type="file", device="disk")
    ET.SubElement(disk, "driver", name="qemu", type=image.format, discard="unmap")
    ET.SubElement(disk, "source", file=str(folder / image.path.name))
    prefix = {Target.VIRTIO: "vd", Target.IDE: "hd"}.get(bus, "sd")
    ET.SubElement(disk, "target", dev=f"{prefix}{chr(ord('a') + number)}", bus=_BUSES[bus])
    if bus in _SCSI_MODELS:  # left to itself, libvirt makes units of one target, which pvscsi has not
        ET.SubElement(disk, "address", type="drive", controller="0", bus="0", target=str(number), unit="0")
    _text(disk, "serial", stem_of(image)[:_LONGEST_SERIAL])
    ET.SubElement(disk, "boot", order=str(number + 1))


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, tag, attributes).text = text
