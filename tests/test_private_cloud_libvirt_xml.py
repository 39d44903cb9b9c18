from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree as ET

import pytest

from migration.disk import DiskFormat
from migration.errors import InvalidInput
from migration.run import run
from migration.target import Target
from private_cloud.libvirt_xml import render_domain
from private_cloud.machine import Firmware
from private_cloud.platforms import Platform
from tests.private_cloud_machines import HOSTILE, make_machine

needs_validator = pytest.mark.skipif(
    shutil.which("virt-xml-validate") is None or shutil.which("xmllint") is None,
    reason="apt-get install libvirt-clients libxml2-utils",
)


def attributes(text: str, path: str) -> list[dict[str, str]]:
    return [element.attrib for element in ET.fromstring(text).findall(path)]  # noqa: S314  # ours


@needs_validator
@pytest.mark.parametrize("firmware", Firmware, ids=str)
@pytest.mark.parametrize("bus", Platform.LIBVIRT.buses, ids=str)
def test_domain_is_valid_whatever_the_guest_is_called(bus: Target, firmware: Firmware, tmp_path: Path) -> None:
    machine = make_machine(tmp_path, bus=bus, firmware=firmware, mac="52:54:00:12:34:56", network="vlan 7")
    file = tmp_path / "domain.xml"
    file.write_text(render_domain(machine, kvm=False))
    run(["virt-xml-validate", file, "domain"])
    assert HOSTILE in file.read_text().replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")


def test_images_have_told_formats_an_absolute_place_and_the_order_of_booting(tmp_path: Path) -> None:
    machine = make_machine(tmp_path, kind=DiskFormat.RAW)
    text = render_domain(machine)
    assert attributes(text, "devices/disk/driver") == [{"name": "qemu", "type": "raw", "discard": "unmap"}] * 2
    assert [disk["file"] for disk in attributes(text, "devices/disk/source")] == [
        "/var/lib/libvirt/images/web-1/system.raw", "/var/lib/libvirt/images/web-1/data_xvdb.raw",
    ]  # fmt: skip
    assert [disk["order"] for disk in attributes(text, "devices/disk/boot")] == ["1", "2"]
    elsewhere = render_domain(machine, PurePosixPath("/srv/a & b"))
    assert attributes(elsewhere, "devices/disk/source")[0]["file"] == "/srv/a & b/system.raw"


@pytest.mark.parametrize(
    ("bus", "target", "controller"),
    [
        (Target.VIRTIO, {"dev": "vdb", "bus": "virtio"}, []),
        (Target.SCSI, {"dev": "sdb", "bus": "scsi"}, ["virtio-scsi"]),
        (Target.VMWARE, {"dev": "sdb", "bus": "scsi"}, ["vmpvscsi"]),
        (Target.SATA, {"dev": "sdb", "bus": "sata"}, []),
        (Target.IDE, {"dev": "hdb", "bus": "ide"}, []),
    ],
    ids=str,
)
def test_disks_hang_on_the_bus(bus: Target, target: dict[str, str], controller: list[str], tmp_path: Path) -> None:
    text = render_domain(make_machine(tmp_path, bus=bus))
    assert attributes(text, "devices/disk/target")[1] == target
    assert [found["model"] for found in attributes(text, "devices/controller")] == controller


def test_uefi_is_chosen_by_libvirt_and_has_no_secure_boot(tmp_path: Path) -> None:
    text = render_domain(make_machine(tmp_path, firmware=Firmware.UEFI))
    assert attributes(text, "os") == [{"firmware": "efi"}]
    assert {"enabled": "no", "name": "secure-boot"} in attributes(text, "os/firmware/feature")
    assert attributes(render_domain(make_machine(tmp_path)), "os") == [{}]


def test_hypervisor_is_kvm_unless_said_otherwise(tmp_path: Path) -> None:
    machine = make_machine(tmp_path)
    assert ET.fromstring(render_domain(machine)).get("type") == "kvm"  # noqa: S314
    assert ET.fromstring(render_domain(machine, kvm=False)).get("type") == "qemu"  # noqa: S314


def test_nvme_is_refused_as_is_an_image_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"11\.5"):
        render_domain(replace(make_machine(tmp_path), bus=Target.NVME))
    with pytest.raises(InvalidInput, match="qcow2 or raw"):
        render_domain(make_machine(tmp_path, kind=DiskFormat.VMDK))
