from __future__ import annotations

import hashlib
import json
import re
import shutil
import tarfile
import threading
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from demo.guest_image import make_demo_guest
from migration.disk import Disk, DiskFormat
from migration.errors import CorruptData, Interrupted, InvalidInput, NoSpace
from migration.run import run
from migration.target import Target
from private_cloud import ova
from private_cloud.boot_test import boot_test
from private_cloud.machine import Firmware
from private_cloud.ova import tar_header, write_ova, write_ovf_folder
from private_cloud.ovf import render_ovf
from private_cloud.platforms import Platform
from private_cloud.stream_vmdk import StreamVmdk, read_stream_vmdk
from private_cloud.virtual_machine import VirtualMachine
from tests.private_cloud_machines import HOSTILE, convert_all, make_images, make_machine

OVF = "{http://schemas.dmtf.org/ovf/envelope/1}"
RASD = "{http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData}"
VMW = "{http://www.vmware.com/schema/ovf}"

needs_virt_v2v = pytest.mark.skipif(shutil.which("virt-v2v") is None, reason="apt-get install virt-v2v")


@pytest.fixture(scope="module")
def machine(raw_disks: tuple[Disk, ...], tmp_path_factory: pytest.TempPathFactory) -> VirtualMachine:
    """A machine of three streamOptimized VMDKs that hold random data; tests only read them."""
    return convert_all(raw_disks, tmp_path_factory.mktemp("images"), DiskFormat.VMDK, compress=True)


def items(text: str, resource_type: str) -> list[dict[str, str]]:
    found = []
    for item in ET.fromstring(text).iter(f"{OVF}Item"):  # noqa: S314  # ours
        words = {child.tag.removeprefix(RASD): child.text or "" for child in item}
        if words["ResourceType"] == resource_type:
            found.append(words)
    return found


def test_ova_is_descriptor_manifest_and_disks_in_that_order(machine: VirtualMachine, tmp_path: Path) -> None:
    write_ova(machine, tmp_path / "web-1.ova")
    expected = ["web-1.ovf", "web-1.mf", "system.vmdk", "data_xvdb.vmdk", "data_xvdc.vmdk"]
    assert run(["tar", "-tf", tmp_path / "web-1.ova"]).splitlines() == expected
    with tarfile.open(tmp_path / "web-1.ova") as archive:
        assert [member.name for member in archive] == expected
        for member, disk in zip(archive.getmembers()[2:], machine.disks, strict=True):
            stream = archive.extractfile(member)
            assert stream is not None
            assert stream.read() == disk.path.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["web-1.ova"]


def test_manifest_names_every_other_file_with_its_digest(machine: VirtualMachine, tmp_path: Path) -> None:
    write_ovf_folder(machine, tmp_path / "web-1")
    files = {path.name: path for path in (tmp_path / "web-1").iterdir()}
    lines = files.pop("web-1.mf").read_text().splitlines()
    told = [
        (match[1], match[2]) for line in lines if (match := re.fullmatch(r"SHA256\(([^)]+)\)= ([0-9a-f]{64})", line))
    ]
    assert len(told) == len(lines)
    assert dict(told) == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


@pytest.mark.slow
@needs_virt_v2v
@pytest.mark.parametrize("firmware", Firmware, ids=str)
@pytest.mark.parametrize("bus", [Target.VMWARE, Target.SATA, Target.IDE], ids=str)
def test_another_reader_sees_the_same_machine(
    machine: VirtualMachine, firmware: Firmware, bus: Target, tmp_path: Path
) -> None:
    write_ova(replace(machine, firmware=firmware, bus=bus, memory=1024, cpus=3), tmp_path / "web-1.ova")
    # It also holds the disks against the manifest.
    told = run(["virt-v2v", "-i", "ova", tmp_path / "web-1.ova", "--print-source"])
    facts = dict(line.split(":", 1) for line in told.replace("\t", "").splitlines() if re.match(r" *[\w. ]+:", line))
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    assert facts["source name"] == "web-1"
    assert facts["memory"].startswith(str(1024 * 1024**2))
    assert facts["nr vCPUs"] == "3"
    assert facts["firmware"] == firmware
    name = {Target.VMWARE: "scsi"}.get(bus, str(bus))
    assert re.findall(r"^\t[0-9]+ \[(\w+)\]", told, re.MULTILINE) == [name] * 3
    assert f'"VM Network" [{"vmxnet3" if bus is Target.VMWARE else "e1000e"}]' in told


@needs_virt_v2v
def test_another_reader_finds_a_disk_that_the_manifest_is_not_of(machine: VirtualMachine, tmp_path: Path) -> None:
    write_ovf_folder(machine, tmp_path / "web-1")
    with (tmp_path / "web-1" / "data_xvdb.vmdk").open("r+b") as file:
        file.seek(70_000)
        file.write(b"damage")
    with pytest.raises(Exception, match="checksum"):
        run(["virt-v2v", "-i", "ova", tmp_path / "web-1", "--print-source"])


def test_sizes_are_those_that_another_reader_of_vmdk_finds(
    machine: VirtualMachine, raw_disks: tuple[Disk, ...]
) -> None:
    for disk, raw in zip(machine.disks, raw_disks, strict=True):
        found = read_stream_vmdk(disk.path)
        assert found.capacity == raw.virtual_size
        told = json.loads(run(["qemu-img", "map", "-f", "vmdk", "--output=json", disk.path]))
        data = sum(extent["length"] for extent in told if extent["data"])
        assert 0 <= found.populated - data < 65536  # a disk may end within its last grain


@pytest.mark.parametrize(
    ("bus", "controllers", "places"),
    [
        (Target.VMWARE, [("6", "VirtualSCSI")], [("3", "0"), ("3", "1")]),
        (Target.SATA, [("20", "vmware.sata.ahci")], [("3", "0"), ("3", "1")]),
        (Target.NVME, [("20", "vmware.nvme.controller")], [("3", "0"), ("3", "1")]),
        (Target.IDE, [("5", ""), ("5", "")], [("3", "0"), ("3", "1")]),
    ],
    ids=str,
)
def test_disks_hang_on_the_controller(
    bus: Target, controllers: list[tuple[str, str]], places: list[tuple[str, str]], tmp_path: Path
) -> None:
    text = render_ovf(make_machine(tmp_path, bus=bus), [StreamVmdk(1, 1)] * 2)
    found = [item for kind in ("5", "6", "20") for item in items(text, kind)]
    assert [(item["ResourceType"], item.get("ResourceSubType", "")) for item in found] == controllers
    assert [(item["Parent"], item["AddressOnParent"]) for item in items(text, "17")] == places
    assert {item["Parent"] for item in items(text, "17")} <= {item["InstanceID"] for item in found}


def test_place_of_the_scsi_controller_itself_stays_free_and_ide_goes_on_with_the_second(tmp_path: Path) -> None:
    many = make_images(tmp_path, devices=tuple(f"xvd{letter}" for letter in "abcdefghij"))
    machine = replace(make_machine(tmp_path, bus=Target.VMWARE), disks=many)
    text = render_ovf(machine, [StreamVmdk(1, 1)] * 10)
    assert [item["AddressOnParent"] for item in items(text, "17")] == [
        "0",
        "1",
        "2",
        "3",
        "4",
        "5",
        "6",
        "8",
        "9",
        "10",
    ]
    text = render_ovf(replace(machine, disks=many[:4], bus=Target.IDE), [StreamVmdk(1, 1)] * 4)
    assert [(item["Parent"], item["AddressOnParent"]) for item in items(text, "17")] == [
        ("3", "0"), ("3", "1"), ("4", "0"), ("4", "1"),
    ]  # fmt: skip


def test_elements_of_an_item_are_in_the_order_that_ovf_wants(tmp_path: Path) -> None:
    text = render_ovf(make_machine(tmp_path, bus=Target.VMWARE, mac="52:54:00:12:34:56"), [StreamVmdk(1, 1)] * 2)
    for item in ET.fromstring(text).iter(f"{OVF}Item"):  # noqa: S314
        tags = [child.tag for child in item]
        assert tags == sorted(tags)
    assert items(text, "10")[0]["Address"] == "52:54:00:12:34:56"


def test_descriptor_holds_a_hostile_name_as_text(tmp_path: Path) -> None:
    text = render_ovf(make_machine(tmp_path, bus=Target.SATA), [StreamVmdk(1, 1)] * 2)
    descriptions = [found.text for found in ET.fromstring(text).iter(f"{OVF}Description")]  # noqa: S314
    assert HOSTILE in descriptions


def test_firmware_is_told_and_secure_boot_is_off(tmp_path: Path) -> None:
    text = render_ovf(make_machine(tmp_path, bus=Target.SATA, firmware=Firmware.UEFI), [StreamVmdk(1, 1)] * 2)
    told = {e.get(f"{VMW}key"): e.get(f"{VMW}value") for e in ET.fromstring(text).iter(f"{VMW}Config")}  # noqa: S314
    assert told == {"firmware": "efi", "bootOptions.efiSecureBootEnabled": "false"}


def test_buses_that_vmware_has_not_are_refused(tmp_path: Path) -> None:
    assert Target.VIRTIO not in Platform.OVA.buses
    with pytest.raises(InvalidInput, match="VMware has no disks on virtio"):
        render_ovf(make_machine(tmp_path), [StreamVmdk(1, 1)] * 2)


def test_other_vmdks_are_refused(raw_disks: tuple[Disk, ...], tmp_path: Path) -> None:
    sparse = convert_all(raw_disks, tmp_path / "images", DiskFormat.VMDK)
    with pytest.raises(InvalidInput, match=r"(?s)no streamOptimized VMDK.*--compress"):
        write_ova(sparse, tmp_path / "web-1.ova")


def test_vmdk_that_was_cut_off_is_corrupt(machine: VirtualMachine, tmp_path: Path) -> None:
    whole = machine.disks[0].path.read_bytes()
    (tmp_path / "system.vmdk").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptData):
        read_stream_vmdk(tmp_path / "system.vmdk")


@pytest.mark.parametrize("as_folder", [False, True], ids=["ova", "folder"])
def test_image_that_is_not_the_proven_one_makes_none(machine: VirtualMachine, as_folder: bool, tmp_path: Path) -> None:
    system, *others = machine.disks
    changed = replace(machine, disks=(replace(system, sha256="0" * 64), *others))
    with pytest.raises(CorruptData, match="SHA-256"):
        (write_ovf_folder if as_folder else write_ova)(changed, tmp_path / "web-1")
    assert list(tmp_path.iterdir()) == []


def test_stopped_or_without_room_it_leaves_nothing(
    machine: VirtualMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        write_ova(machine, tmp_path / "web-1.ova", stop=stop)
    monkeypatch.setattr(ova, "_OVERHEAD", 1 << 60)
    with pytest.raises(NoSpace):
        write_ova(machine, tmp_path / "web-1.ova")
    assert list(tmp_path.iterdir()) == []


def test_progress_ends_with_all_bytes(machine: VirtualMachine, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    write_ova(machine, tmp_path / "web-1.ova", progress=lambda done, total: told.append((done, total)))
    total = sum(disk.file_size for disk in machine.disks)
    assert told[-1] == (total, total)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_demo_server_boots_from_what_another_program_unpacks(tmp_path: Path) -> None:
    guest = make_demo_guest(tmp_path / "disks")
    write_ova(convert_all(guest, tmp_path / "images", DiskFormat.VMDK, compress=True), tmp_path / "web-1.ova")
    run(["tar", "-xf", tmp_path / "web-1.ova", "-C", tmp_path])
    # It has drivers for virtio only, and no systemd to look for.
    images = [replace(disk, path=tmp_path / f"{disk.stem}.vmdk", format=DiskFormat.VMDK) for disk in guest]
    said = boot_test(images, plant_witness=False).log
    assert "ferry-demo: boot complete, 3 of 3 file systems mounted" in said


@pytest.mark.parametrize("size", [0, 1, 8**11 - 1, 8**11, 5 << 40], ids=["0", "1", "8 GiB - 1", "8 GiB", "5 TiB"])
def test_other_programs_read_the_size_of_any_file(size: int, tmp_path: Path) -> None:
    header = tar_header("system.vmdk", size)
    assert tarfile.TarInfo.frombuf(header, "utf-8", "strict").size == size
    assert header[257:263] == b"ustar\0"
    (tmp_path / "a.tar").write_bytes(header + bytes(1024))
    listed = run(["tar", "-tvf", tmp_path / "a.tar"], ok=(0, 2))
    assert str(size) in listed.split()
