from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from converters.convert import convert_file
from migration.disk import DiskFormat
from migration.errors import FindingsRemain, InvalidInput
from migration.target import Target
from migration.verdict import Outcome
from private_cloud.machine import Firmware
from private_cloud.machine_plan import Guest, Wishes, group_images, plan_machines, possible_platforms
from private_cloud.platforms import Platform
from tests.fstab_check_disks import disk_of
from tests.private_cloud_machines import make_images
from tests.test_private_cloud_firmware import make_disk
from tests.test_private_cloud_machine_choices import image_with, verdict_of

BOOTS = verdict_of(virtio=Outcome.BOOTS, vmware=Outcome.BOOTS)
TABLES = {Firmware.BIOS: "label: dos\ntype=83, bootable\n", Firmware.UEFI: "label: gpt\nsize=60M, type=U\ntype=L\n"}


@pytest.mark.parametrize("firmware", Firmware, ids=str)
@pytest.mark.parametrize("kind", [DiskFormat.QCOW2, DiskFormat.RAW, DiskFormat.VMDK], ids=str)
def test_firmware_is_read_off_the_image_whatever_its_format(
    firmware: Firmware, kind: DiskFormat, tmp_path: Path
) -> None:
    disk = disk_of(make_disk(tmp_path, TABLES[firmware]), "xvda", DiskFormat.RAW)
    (tmp_path / "images").mkdir()
    image = convert_file(disk, tmp_path / "images", kind, compress=kind is DiskFormat.VMDK)
    platform = Platform.OVA if kind is DiskFormat.VMDK else Platform.LIBVIRT
    machines = plan_machines(group_images([image]), [platform], Guest(verdict=BOOTS), Wishes(name="web-1"))
    assert machines[platform].firmware is firmware
    assert machines[platform].disks == (image,)


@pytest.mark.parametrize("wanted", [None, Target.VMWARE], ids=["chosen", "said"])
def test_every_platform_has_a_bus_of_its_own_unless_one_is_said(wanted: Target | None, tmp_path: Path) -> None:
    sets = group_images([*make_images(tmp_path), *make_images(tmp_path, kind=DiskFormat.VMDK)])
    machines = plan_machines(sets, [Platform.LIBVIRT, Platform.OVA], Guest(verdict=BOOTS), Wishes(target=wanted))
    assert machines[Platform.LIBVIRT].bus is (wanted or Target.VIRTIO)
    assert machines[Platform.OVA].bus is Target.VMWARE
    assert machines[Platform.OVA].disks[1].path.name == "data_xvdb.vmdk"


def test_contradiction_and_wishes_reach_the_machine(tmp_path: Path) -> None:
    wishes = Wishes(memory=4096, cpus=8, network="lan", mac="52:54:00:AB:CD:EF")
    guest = Guest(image=replace(image_with("UEFI"), name="Web server <1>"), verdict=BOOTS)
    [machine] = plan_machines(group_images(make_images(tmp_path)), [Platform.LIBVIRT], guest, wishes).values()
    assert (machine.name, machine.memory, machine.cpus) == ("Web-server-1", 4096, 8)
    assert (machine.network, machine.mac) == ("lan", "52:54:00:ab:cd:ef")
    assert machine.firmware is Firmware.BIOS
    assert "calls this a UEFI image" in machine.notes[0]


def test_guest_that_is_not_foretold_to_boot_is_refused(tmp_path: Path) -> None:
    sets = group_images(make_images(tmp_path))
    unknown = Guest(unknown="this is Windows")
    with pytest.raises(FindingsRemain, match="this is Windows"):
        plan_machines(sets, [Platform.LIBVIRT], unknown, Wishes())
    [machine] = plan_machines(sets, [Platform.LIBVIRT], unknown, Wishes(force=True)).values()
    assert "this is Windows" in machine.notes[0]


def test_missing_images_are_named(tmp_path: Path) -> None:
    sets = group_images([*make_images(tmp_path), *make_images(tmp_path, devices=("xvda",), kind=DiskFormat.VMDK)])
    with pytest.raises(InvalidInput, match=r"(?s)of vmdk images xvdb is missing.*ferry convert --to vmdk --compress"):
        plan_machines(sets, [Platform.OVA], Guest(verdict=BOOTS), Wishes())
    with pytest.raises(InvalidInput, match="of qcow2 images xvdc is missing"):
        plan_machines(sets, [Platform.LIBVIRT], Guest(verdict=BOOTS, devices=("xvda", "xvdb", "xvdc")), Wishes())


def test_machine_of_another_architecture_is_refused(tmp_path: Path) -> None:
    guest = Guest(image=replace(image_with("UEFI"), architecture="arm64"), verdict=BOOTS)
    with pytest.raises(InvalidInput, match="arm64"):
        plan_machines(group_images(make_images(tmp_path)), [Platform.LIBVIRT], guest, Wishes())


def test_what_is_defined_unasked_is_what_there_are_images_for(tmp_path: Path) -> None:
    everything = (Platform.LIBVIRT, Platform.OPENSTACK, Platform.PROXMOX, Platform.QEMU)
    assert possible_platforms(group_images(make_images(tmp_path))) == everything
    raw = group_images(make_images(tmp_path, kind=DiskFormat.RAW))
    assert Platform.PROXMOX not in possible_platforms(raw)
    assert possible_platforms(raw, ["xvda", "xvdc"]) == ()
    with pytest.raises(InvalidInput, match="no images"):
        plan_machines(raw, [], Guest(), Wishes())
