from __future__ import annotations

from pathlib import Path

import pytest

from migration.errors import InvalidInput
from migration.target import Target
from private_cloud.machine import DirectKernel, FirmwareFiles, Machine, check_can_emulate, machine_argv

LAYERS = [Path("/scratch/disk-0.qcow2"), Path("/scratch/disk-1.qcow2"), Path("/scratch/disk-2.qcow2")]


def devices(machine: Machine) -> list[str]:
    argv = machine_argv(machine, LAYERS)
    return [argv[index + 1] for index, word in enumerate(argv) if word == "-device"]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (Target.VIRTIO, ["virtio-blk-pci"]),
        (Target.SCSI, ["virtio-scsi-pci,id=scsi", "scsi-hd,bus=scsi.0,scsi-id=0"]),
        (Target.VMWARE, ["pvscsi,id=scsi", "scsi-hd,bus=scsi.0,scsi-id=0"]),
        (Target.SATA, ["ide-hd,bus=ide.0"]),
        (Target.IDE, ["ide-hd,bus=ide.0,unit=0"]),
        (Target.NVME, ["nvme,serial=disk-0"]),
    ],
    ids=str,
)
def test_disks_hang_on_the_bus_that_was_asked_for(target: Target, words: list[str]) -> None:
    found = devices(Machine(target=target, kvm=False))
    assert found[: len(words)] == [*words[:-1], f"{words[-1]},drive=disk-0,bootindex=1"]
    assert [device.partition("drive=")[2] for device in found if "drive=" in device] == [
        "disk-0,bootindex=1", "disk-1,bootindex=2", "disk-2,bootindex=3",
    ]  # fmt: skip


def test_ide_has_two_disks_on_a_cable() -> None:
    found = devices(Machine(target=Target.IDE, kvm=False))
    assert [device.partition(",drive")[0] for device in found] == [
        "ide-hd,bus=ide.0,unit=0", "ide-hd,bus=ide.0,unit=1", "ide-hd,bus=ide.1,unit=0",
    ]  # fmt: skip


def test_machine_has_no_network_and_no_monitor() -> None:
    argv = machine_argv(Machine(kvm=False), LAYERS)
    assert "-nodefaults" in argv
    assert not any("net" in word for word in argv)
    assert argv[argv.index("-monitor") + 1] == "none"


def test_layers_are_opened_in_the_format_we_gave_them() -> None:
    argv = machine_argv(Machine(kvm=False), [Path("/a,b/disk.qcow2")])
    assert "if=none,id=disk-0,format=qcow2,cache=unsafe,file=/a,,b/disk.qcow2" in argv


def test_kvm_comes_with_the_processor_of_the_host() -> None:
    argv = machine_argv(Machine(kvm=True), LAYERS)
    assert (argv[argv.index("-accel") + 1], argv[argv.index("-cpu") + 1]) == ("kvm", "host")


def test_uefi_may_write_to_its_variables_only() -> None:
    argv = machine_argv(Machine(kvm=False, uefi=FirmwareFiles(code=Path("/code"), variables=Path("/mine"))), LAYERS)
    assert "if=pflash,unit=0,format=raw,readonly=on,file=/code" in argv
    assert "if=pflash,unit=1,format=raw,file=/mine" in argv


def test_kernel_is_started_directly_when_there_is_one() -> None:
    kernel = DirectKernel(image=Path("/vmlinuz"), initramfs=Path("/initrd"), command_line="root=/dev/vda1 ro")
    argv = machine_argv(Machine(kvm=False, kernel=kernel), LAYERS)
    assert argv[argv.index("-append") + 1] == "root=/dev/vda1 ro"
    assert argv[argv.index("-initrd") + 1] == "/initrd"


def test_xen_is_refused_with_what_to_do_instead() -> None:
    with pytest.raises(InvalidInput, match=r"(?s)Xen machine cannot be emulated.*--target virtio"):
        check_can_emulate(Target.XEN, 1)


def test_more_disks_than_a_bus_takes_are_refused() -> None:
    check_can_emulate(Target.IDE, 4)
    with pytest.raises(InvalidInput, match="takes 4 disks on ide, and there are 5"):
        check_can_emulate(Target.IDE, 5)
