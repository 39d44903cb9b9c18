from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migration.errors import InvalidInput
from migration.target import Target
from private_cloud.machine import Firmware
from private_cloud.virtual_machine import Nic, suggest_name
from tests.private_cloud_machines import HOSTILE, make_images, make_machine


@pytest.mark.parametrize("name", ["web-1", "a", "Web_1.example", "0" * 63], ids=lambda name: name[:12])
def test_names_that_every_platform_takes_are_taken(name: str, tmp_path: Path) -> None:
    assert make_machine(tmp_path, name=name).name == name


@pytest.mark.parametrize(
    "name", ["", "-rf", ".hidden", "a b", "a/b", "../x", "x'y", "$(id)", "a\nb", "ümlaut", "a-", "0" * 64], ids=repr
)
def test_other_names_are_refused_with_one_that_is_taken(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="--name") as caught:
        make_machine(tmp_path, name=name)
    suggested = caught.value.remedy.rpartition(" ")[2]
    assert make_machine(tmp_path, name=suggested).name == suggested


def test_any_words_make_a_name(tmp_path: Path) -> None:
    assert make_machine(tmp_path, name=suggest_name(HOSTILE)).name.startswith("Evil-Linux-1")
    assert suggest_name("映像") == "guest"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("network", "a<b"), ("network", "x\n"), ("network", "$(id)"), ("mac", "52:54:00:12:34"),
        ("mac", "01:00:5e:00:00:01"), ("mac", "52:54:00:12:34:5G"), ("memory", 64), ("memory", 1025), ("cpus", 0),
        ("architecture", "arm64"),
    ],
)  # fmt: skip
def test_what_no_platform_takes_is_refused(field: str, value: Any, tmp_path: Path) -> None:
    machine = make_machine(tmp_path)
    with pytest.raises(InvalidInput):
        replace(machine, **{field: value})


def test_machine_has_its_system_disk_and_each_disk_once(tmp_path: Path) -> None:
    machine = make_machine(tmp_path)
    system, data = machine.disks
    for disks in ((), (data,), (data, system), (system, system)):
        with pytest.raises(InvalidInput):
            replace(machine, disks=disks)


def test_images_lie_in_one_folder_under_names_that_can_be_printed(tmp_path: Path) -> None:
    machine = make_machine(tmp_path / "a")
    elsewhere = make_images(tmp_path / "b")[1]
    with pytest.raises(InvalidInput, match="two folders"):
        replace(machine, disks=(machine.disks[0], elsewhere))
    odd = replace(machine.disks[0], path=tmp_path / "a" / "system\n.qcow2")
    with pytest.raises(InvalidInput, match="no name for an image"):
        replace(machine, disks=(odd,))


def test_no_more_disks_than_the_bus_takes(tmp_path: Path) -> None:
    machine = make_machine(tmp_path)
    five = make_images(tmp_path, devices=("xvda", "xvdb", "xvdc", "xvdd", "xvde"))
    assert len(replace(machine, disks=five, bus=Target.SATA).disks) == 5
    with pytest.raises(InvalidInput, match="takes 4 disks on ide, and there are 5"):
        replace(machine, disks=five, bus=Target.IDE)


@pytest.mark.parametrize(
    ("bus", "firmware", "nic", "chipset"),
    [
        (Target.VIRTIO, Firmware.BIOS, Nic.VIRTIO, "pc"),
        (Target.VIRTIO, Firmware.UEFI, Nic.VIRTIO, "q35"),
        (Target.SATA, Firmware.BIOS, Nic.E1000E, "q35"),
        (Target.IDE, Firmware.UEFI, Nic.E1000E, "pc"),
        (Target.VMWARE, Firmware.BIOS, Nic.VMXNET3, "pc"),
    ],
)
def test_card_and_chipset_follow_from_bus_and_firmware(
    bus: Target, firmware: Firmware, nic: Nic, chipset: str, tmp_path: Path
) -> None:
    machine = make_machine(tmp_path, bus=bus, firmware=firmware)
    assert (machine.nic, machine.chipset) == (nic, chipset)
