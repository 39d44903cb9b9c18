"""Renders a machine as a shell script of `qm` commands, which one runs on a Proxmox VE host."""

from __future__ import annotations

import re
import shlex

from migration.target import Target
from private_cloud.machine import Firmware
from private_cloud.platforms import Platform
from private_cloud.shell import Assignments, header
from private_cloud.virtual_machine import Nic, VirtualMachine

_SLOTS = {Target.VIRTIO: "virtio", Target.SCSI: "scsi", Target.VMWARE: "scsi", Target.SATA: "sata", Target.IDE: "ide"}
_CONTROLLERS = {Target.SCSI: "virtio-scsi-pci", Target.VMWARE: "pvscsi"}

_SCRIPT = """\
{header}
vmid=${{VMID:-$(pvesh get /cluster/nextid)}}
storage=${{STORAGE:-local-lvm}}
bridge=${{BRIDGE:-{bridge}}}

qm create "$vmid" --name {name} --memory {memory} --cores {cpus} --ostype l26 \\
  --machine {chipset} --bios {bios}{scsi} --agent 0 \\
  --net0 {nic},bridge="$bridge" --serial0 socket --vga std

# From here on a failure leaves nothing behind.
undo() {{
  echo "removing the machine $vmid, which is not complete" >&2
  qm destroy "$vmid" --purge
}}
trap undo EXIT
trap 'exit 130' INT TERM HUP

attach() {{ # SLOT IMAGE
  qm importdisk "$vmid" "$images/$2" "$storage"
  volume=$(qm config "$vmid" | sed -n 's/^unused0: //p')
  if [ -z "$volume" ]; then
    echo "$2 was imported, but qm config shows no unused0" >&2
    exit 1
  fi
  qm set "$vmid" "--$1" "$volume"
}}

{efi}{disks}
qm set "$vmid" --boot order={first}

trap - EXIT
echo "defined; start it with: qm start $vmid && qm terminal $vmid"
"""


def proxmox_name(name: str) -> str:
    """Return `name` as a DNS label, which is what Proxmox takes."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name)


def render_qm_script(machine: VirtualMachine, images: str) -> str:
    """Return the script; `images` is the folder of the images, relative to that of the script."""
    slot = _SLOTS[machine.bus]
    uefi = machine.firmware is Firmware.UEFI
    controller = _CONTROLLERS.get(machine.bus)
    mac = f"={machine.mac.upper()}" if machine.mac else ""
    nic = {Nic.VIRTIO: "virtio", Nic.E1000E: "e1000", Nic.VMXNET3: "vmxnet3"}[machine.nic] + mac
    # A UEFI keeps its variables on a disk of its own; without keys in it there is no Secure Boot.
    efi = 'qm set "$vmid" --efidisk0 "$storage:1,efitype=4m,pre-enrolled-keys=0"\n' if uefi else ""
    return _SCRIPT.format(
        header=header(
            f"Defines the machine {machine.name} on this Proxmox VE host.",
            Assignments(VMID="the next free number", STORAGE="local-lvm", BRIDGE="vmbr0"),
            images,
        ),
        bridge=shlex.quote(machine.network or Platform.PROXMOX.network),
        name=shlex.quote(proxmox_name(machine.name)),
        memory=machine.memory,
        cpus=machine.cpus,
        chipset=machine.chipset,
        bios="ovmf" if uefi else "seabios",
        scsi=f" --scsihw {controller}" if controller else "",
        nic=nic,
        efi=efi,
        disks="\n".join(
            f"attach {slot}{number} {shlex.quote(disk.path.name)}" for number, disk in enumerate(machine.disks)
        ),
        first=f"{slot}0",
    )
