"""Renders what a person at the other side reads first: the machine, and for each platform the one command."""

from __future__ import annotations

import shlex
from pathlib import Path

from migration.storage import format_size
from private_cloud.definition import Definition, Definitions
from private_cloud.libvirt_xml import default_folder
from private_cloud.machine import Firmware
from private_cloud.platforms import Platform
from private_cloud.virtual_machine import VirtualMachine, stem_of

_TITLES = {
    Platform.LIBVIRT: "libvirt, as root",
    Platform.OPENSTACK: "OpenStack, with OS_CLOUD or the OS_* variables set",
    Platform.PROXMOX: "Proxmox VE, as root on one of its hosts",
    Platform.QEMU: "plain QEMU, for a look",
    Platform.OVA: "VMware",
    Platform.OVF: "VMware, from a folder",
}


_HOW = """\
Run the command of your platform in this folder. The images must lie where they lay beside it; scripts take
another place too: IMAGES=/where/they/are in front. What else a script is told, its first lines say."""


def render_readme(definitions: Definitions) -> str:
    """Return the text, in lines for a terminal."""
    machine = definitions.definitions[0].machine
    notes = dict.fromkeys(
        f"{definition.platform}: {note}" if note not in _common(definitions) else note
        for definition in definitions.definitions
        for note in definition.machine.notes
    )
    parts = [
        f"The machine {machine.name}\n",
        *_facts(machine),
        "",
        _HOW,
    ]
    for definition in definitions.definitions:
        command, more = command_of(definition)
        parts += ["", f"{_TITLES[definition.platform]} (disks on {definition.machine.bus}):", "", f"  {command}"]
        parts += [f"\n  {line}" for line in more]
    if notes:
        parts += ["", "To know:", "", *(f"- {note}" for note in notes)]
    parts += ["", "The images:", ""]
    images = {disk.path: disk for definition in definitions.definitions for disk in definition.machine.disks}
    parts += [f"{disk.sha256}  {disk.path}" for disk in images.values()]
    return "\n".join(parts) + "\n"


def command_of(definition: Definition) -> tuple[str, list[str]]:
    """Return the one command of the platform, to be run in the folder of the definitions, and what else to say."""
    machine, first = definition.machine, shlex.quote(definition.files[0])
    name = shlex.quote(machine.name)
    if definition.platform is Platform.LIBVIRT:
        folder = shlex.quote(str(default_folder(machine)))
        images = " ".join(shlex.quote(str(disk.path)) for disk in machine.disks)
        command = f"mkdir -p {folder} && cp --sparse=always {images} {folder} && virsh define {first}"
        return command, [f"then `virsh start --console {name}`. Where Ferry is installed: `ferry import libvirt .`"]
    if definition.platform is Platform.OPENSTACK:
        network = "" if machine.network else " NETWORK=private"
        heat = f"openstack stack create -t openstack-heat.yaml --parameter flavor=m1.medium{_heat(machine)} {name}"
        return f"FLAVOR=m1.medium{network} sh {first}", [f"or, once the images are in Glance: {heat}"]
    if definition.platform in {Platform.OVA, Platform.OVF}:
        return _vmware(definition)
    return f"sh {first}", []


def _vmware(definition: Definition) -> tuple[str, list[str]]:
    file = Path(definition.files[0])
    if definition.platform is Platform.OVF:
        file /= f"{definition.machine.name}.ovf"
    word = shlex.quote(str(file))
    network = shlex.quote(definition.machine.network or definition.platform.network)
    efi = f" && VBoxManage modifyvm {shlex.quote(definition.machine.name)} --firmware efi"
    virtualbox = f"VBoxManage import {word}{efi if definition.machine.firmware is Firmware.UEFI else ''}"
    command = f"ovftool --network={network} --diskMode=thin {word} vi://ADMINISTRATOR@ESXI-HOST/"
    return command, [f"VirtualBox, which has disks on sata and ide only: {virtualbox}"]


def _heat(machine: VirtualMachine) -> str:
    return "" if machine.network else " --parameter network=private"


def _facts(machine: VirtualMachine) -> list[str]:
    disks = ", ".join(f"{stem_of(disk)} ({format_size(disk.virtual_size)})" for disk in machine.disks)
    facts = {
        "system": machine.operating_system or "unknown",
        "firmware": f"{machine.firmware.upper()}, Secure Boot off" if machine.firmware is Firmware.UEFI else "BIOS",
        "memory": f"{machine.memory} MiB",
        "processors": f"{machine.cpus}, {machine.architecture}",
        "disks": disks,
    }
    return [f"  {name:<11} {value}" for name, value in facts.items()]


def _common(definitions: Definitions) -> set[str]:
    """Return the notes that every platform has."""
    return set.intersection(*(set(definition.machine.notes) for definition in definitions.definitions))
