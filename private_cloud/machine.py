"""Knows the machines that a private cloud gives a guest, by the bus its disks hang on, as QEMU command lines."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from migration.errors import InvalidInput
from migration.str_enum import StrEnum
from migration.target import Target

_MOST_DISKS = {Target.IDE: 4, Target.SATA: 6}  # that one machine of ours takes
_MOST_DISKS_OTHERWISE = 20


class Firmware(StrEnum):
    """What starts the boot loader."""

    BIOS = "bios"
    UEFI = "uefi"


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectKernel:
    """A kernel that QEMU starts itself, in the place of firmware and boot loader."""

    image: Path
    initramfs: Path | None = None
    command_line: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareFiles:
    """OVMF: the program, and this machine's own copy of the variables it keeps."""

    code: Path
    variables: Path


MEMORY = 2048  # MiB; what the installers of today's distributions ask for
CPUS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine to boot a guest on. `memory` is in MiB."""

    target: Target = Target.VIRTIO
    uefi: FirmwareFiles | None = None  # BIOS without
    kvm: bool
    memory: int = MEMORY
    cpus: int = CPUS
    kernel: DirectKernel | None = None


def check_can_emulate(target: Target, disks: int) -> None:
    """Raise `InvalidInput` if there is no such machine here."""
    if target is Target.XEN:
        raise InvalidInput(
            "a Xen machine cannot be emulated here: QEMU has no Xen disks without a Xen hypervisor under it",
            "boot it on Xen itself; --target virtio at least shows that boot loader, kernel and root are sound",
        )
    most = _MOST_DISKS.get(target, _MOST_DISKS_OTHERWISE)
    if disks > most:
        raise InvalidInput(
            f"a machine of ours takes {most} disks on {target}, and there are {disks}",
            "leave data disks out, or choose another --target",
        )


def machine_argv(machine: Machine, layers: Sequence[Path]) -> list[str]:
    """Return the command that runs `machine` with `layers`, qcow2 files that may be written to, as its disks.

    The serial console is stdin and stdout. The BIOS speaks there too, and so does a boot loader without a
    serial console of its own. There is no network.
    """
    accelerator = "kvm" if machine.kvm else "tcg,thread=multi"
    chipset = "q35" if machine.target is Target.SATA else "pc"
    # graphics=off has SeaBIOS send to the serial port what programs print through it on the screen.
    return [
        "qemu-system-x86_64", "-no-user-config", "-nodefaults",
        "-machine", f"{chipset},graphics=off", "-accel", accelerator, "-cpu", "host" if machine.kvm else "max,la57=off",
        "-smp", str(machine.cpus), "-m", str(machine.memory),
        "-vga", "std", "-display", "none", "-monitor", "none", "-serial", "stdio",
        *_firmware(machine.uefi),
        *_kernel(machine.kernel),
        *controller_words(machine.target),
        *(word for number, layer in enumerate(layers) for word in _disk(machine.target, number, layer)),
    ]  # fmt: skip


def _firmware(files: FirmwareFiles | None) -> Iterator[str]:
    if files is not None:
        yield from ("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={_value(files.code)}")
        yield from ("-drive", f"if=pflash,unit=1,format=raw,file={_value(files.variables)}")


def _kernel(kernel: DirectKernel | None) -> Iterator[str]:
    if kernel is not None:
        yield from ("-kernel", os.fspath(kernel.image), "-append", kernel.command_line)
        if kernel.initramfs is not None:
            yield from ("-initrd", os.fspath(kernel.initramfs))


def controller_words(target: Target) -> tuple[str, ...]:
    """Return the words for what the disks share; chipsets bring their own IDE and AHCI."""
    model = {Target.SCSI: "virtio-scsi-pci", Target.VMWARE: "pvscsi"}.get(target)
    return ("-device", f"{model},id=scsi") if model else ()


def disk_device(target: Target, number: int) -> str:
    """Return the device that puts the drive `disk-NUMBER` on the bus, as one word."""
    return {
        Target.VIRTIO: "virtio-blk-pci",
        Target.SCSI: f"scsi-hd,bus=scsi.0,scsi-id={number}",
        Target.VMWARE: f"scsi-hd,bus=scsi.0,scsi-id={number}",
        Target.SATA: f"ide-hd,bus=ide.{number}",
        Target.IDE: f"ide-hd,bus=ide.{number // 2},unit={number % 2}",
        Target.NVME: f"nvme,serial=disk-{number}",
    }[target] + f",drive=disk-{number}"


def _disk(target: Target, number: int, layer: Path) -> tuple[str, ...]:
    # Nothing that the guest writes is kept, so nothing has to reach storage.
    drive = f"if=none,id=disk-{number},format=qcow2,cache=unsafe,file={_value(layer)}"
    # A kernel that QEMU starts itself has taken 0.
    return ("-drive", drive, "-device", f"{disk_device(target, number)},bootindex={number + 1}")


def _value(path: Path) -> str:
    return os.fspath(path).replace(",", ",,")  # a comma ends a value in QEMU's option language
