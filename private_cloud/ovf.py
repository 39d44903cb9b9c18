"""Renders a machine as OVF 1.1, in the words that VMware's products and VirtualBox understand, and its manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET

from migration.errors import InvalidInput
from migration.target import Target
from private_cloud.machine import Firmware
from private_cloud.platforms import Platform
from private_cloud.stream_vmdk import StreamVmdk
from private_cloud.virtual_machine import Nic, VirtualMachine, stem_of

_OVF = "http://schemas.dmtf.org/ovf/envelope/1"
_CIM = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2"
_RASD, _VSSD = f"{_CIM}/CIM_ResourceAllocationSettingData", f"{_CIM}/CIM_VirtualSystemSettingData"
_VMW = "http://www.vmware.com/schema/ovf"
_STREAM = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"

# The first hardware with NVMe and without anything that ESXi 6.5 has not.
_HARDWARE = "vmx-13"
_LINUX_64 = "101"  # CIM's number for "Linux 64-Bit"

# Types of resources, as CIM numbers them.
_CPU, _MEMORY, _IDE, _SCSI, _ETHERNET, _DISK, _STORAGE = "3", "4", "5", "6", "10", "17", "20"
_CONTROLLERS = {
    Target.VMWARE: (_SCSI, "VirtualSCSI"),
    Target.SATA: (_STORAGE, "vmware.sata.ahci"),
    Target.NVME: (_STORAGE, "vmware.nvme.controller"),
    Target.IDE: (_IDE, ""),
}
_NICS = {Nic.VMXNET3: "VmxNet3", Nic.E1000E: "E1000e"}
_INITIATOR = 7  # the SCSI controller's own place on its bus
_IDE_PLACES = 2  # on each of two controllers

# OVF wants the elements of an item in the order of the alphabet.
_Fields = Mapping[str, str]


def disk_file_name(machine: VirtualMachine, number: int) -> str:
    """Return what the disk's file is called beside the OVF: words of ours only."""
    return f"{stem_of(machine.disks[number])}.vmdk"


def render_ovf(machine: VirtualMachine, vmdks: Sequence[StreamVmdk]) -> str:
    """Return the descriptor; `vmdks` are what the images of the machine's disks say of themselves."""
    if machine.bus not in _CONTROLLERS:
        raise InvalidInput(
            f"VMware has no disks on {machine.bus}", f"choose another --target: {', '.join(Platform.OVA.buses)}"
        )
    for prefix, uri in (("ovf", _OVF), ("rasd", _RASD), ("vssd", _VSSD), ("vmw", _VMW)):
        ET.register_namespace(prefix, uri)
    envelope = ET.Element(_ovf("Envelope"), {_ovf("version"): "1.0"})
    _add_disks(envelope, machine, vmdks)
    network = machine.network or Platform.OVA.network
    section = _section(envelope, "NetworkSection", "The networks that the machine is on")
    _text(ET.SubElement(section, _ovf("Network"), {_ovf("name"): network}), _ovf("Description"), network)
    _add_system(envelope, machine, network)
    ET.indent(envelope)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(envelope, encoding="unicode") + "\n"


def render_manifest(digests: Mapping[str, str]) -> str:
    """Return the manifest: file name → SHA-256, in the order of the files."""
    return "".join(f"SHA256({name})= {digest}\n" for name, digest in digests.items())


def _add_disks(envelope: ET.Element, machine: VirtualMachine, vmdks: Sequence[StreamVmdk]) -> None:
    references = ET.SubElement(envelope, _ovf("References"))
    section = _section(envelope, "DiskSection", "The machine's disks, in the order of booting")
    for number, (disk, vmdk) in enumerate(zip(machine.disks, vmdks, strict=True)):
        file = {"href": disk_file_name(machine, number), "id": f"file{number}", "size": str(disk.file_size)}
        ET.SubElement(references, _ovf("File"), _attributes(file))
        told = {
            "capacity": str(vmdk.capacity), "capacityAllocationUnits": "byte", "diskId": f"disk{number}",
            "fileRef": f"file{number}", "format": _STREAM, "populatedSize": str(vmdk.populated),
        }  # fmt: skip
        ET.SubElement(section, _ovf("Disk"), _attributes(told))


def _add_system(envelope: ET.Element, machine: VirtualMachine, network: str) -> None:
    system = _section(envelope, "VirtualSystem", "A server that Ferry took out of the cloud", {"id": machine.name})
    _text(system, _ovf("Name"), machine.name)
    guest = _section(system, "OperatingSystemSection", "The guest's operating system", {"id": _LINUX_64})
    guest.set(f"{{{_VMW}}}osType", "otherLinux64Guest")
    _text(guest, _ovf("Description"), machine.operating_system or "Linux")
    hardware = _section(system, "VirtualHardwareSection", "The machine that the guest needs")
    family = ET.SubElement(hardware, _ovf("System"))
    for word, value in (
        ("ElementName", "Virtual Hardware Family"), ("InstanceID", "0"),
        ("VirtualSystemIdentifier", machine.name), ("VirtualSystemType", _HARDWARE),
    ):  # fmt: skip
        _text(family, f"{{{_VSSD}}}{word}", value)
    for number, fields in enumerate(_items(machine, network), start=1):
        item = ET.SubElement(hardware, _ovf("Item"))
        for word, value in sorted({**fields, "InstanceID": str(number)}.items()):
            _text(item, f"{{{_RASD}}}{word}", value)
    _configure(hardware, "firmware", "efi" if machine.firmware is Firmware.UEFI else "bios")
    if machine.firmware is Firmware.UEFI:
        _configure(hardware, "bootOptions.efiSecureBootEnabled", "false")


def _items(machine: VirtualMachine, network: str) -> list[_Fields]:
    """Return the hardware, without InstanceIDs: an item's place in the list, from 1, is its."""
    items: list[_Fields] = [
        {
            "AllocationUnits": "hertz * 10^6", "Description": "Number of virtual CPUs",
            "ElementName": f"{machine.cpus} virtual CPU(s)", "ResourceType": _CPU, "VirtualQuantity": str(machine.cpus),
        },
        {
            "AllocationUnits": "byte * 2^20", "Description": "Memory size",
            "ElementName": f"{machine.memory} MB of memory", "ResourceType": _MEMORY,
            "VirtualQuantity": str(machine.memory),
        },
    ]  # fmt: skip
    kind, subtype = _CONTROLLERS[machine.bus]
    for number in range(2 if machine.bus is Target.IDE else 1):
        controller = {"Address": str(number), "ElementName": f"Controller {number}", "ResourceType": kind}
        items.append({**controller, "ResourceSubType": subtype} if subtype else controller)
    first_controller = 3  # behind processors and memory
    for number in range(len(machine.disks)):
        controller_number, place = _place(machine.bus, number)
        items.append(
            {
                "AddressOnParent": str(place), "ElementName": f"Hard disk {number + 1}",
                "HostResource": f"ovf:/disk/disk{number}", "Parent": str(first_controller + controller_number),
                "ResourceType": _DISK,
            }
        )  # fmt: skip
    card = {
        "AddressOnParent": "0", "AutomaticAllocation": "true", "Connection": network,
        "ElementName": "Network adapter 1", "ResourceSubType": _NICS[_nic(machine)], "ResourceType": _ETHERNET,
    }  # fmt: skip
    items.append({**card, "Address": machine.mac} if machine.mac else card)
    return items


def _nic(machine: VirtualMachine) -> Nic:
    # A guest from the cloud has a driver for virtio, which VMware has not; its next best is the card all kernels know.
    return Nic.E1000E if machine.nic is Nic.VIRTIO else machine.nic


def _place(bus: Target, number: int) -> tuple[int, int]:
    """Return on which controller, and on which place of it, the disk hangs."""
    if bus is Target.IDE:
        return number // _IDE_PLACES, number % _IDE_PLACES
    if bus is Target.VMWARE and number >= _INITIATOR:
        return 0, number + 1
    return 0, number


def _configure(hardware: ET.Element, key: str, value: str) -> None:
    words = {_ovf("required"): "false", f"{{{_VMW}}}key": key, f"{{{_VMW}}}value": value}
    ET.SubElement(hardware, f"{{{_VMW}}}Config", words)


def _section(parent: ET.Element, tag: str, info: str, attributes: Mapping[str, str] | None = None) -> ET.Element:
    section = ET.SubElement(parent, _ovf(tag), _attributes(attributes or {}))
    _text(section, _ovf("Info"), info)
    return section


def _attributes(words: Mapping[str, str]) -> dict[str, str]:
    return {_ovf(word): value for word, value in words.items()}


def _text(parent: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(parent, tag).text = text


def _ovf(word: str) -> str:
    return f"{{{_OVF}}}{word}"
