"""Disks as they are partitioned for BIOS and for UEFI; the EFI system partitions are real FAT file systems."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from migration.disk import DiskFormat
from migration.errors import ToolMissing
from migration.overlay import make_overlay
from migration.run import run
from private_cloud.firmware import find_firmware, find_ovmf, reader_of_layer
from private_cloud.machine import Firmware
from tests.fstab_check_disks import MIB, disk_of

needs_mtools = pytest.mark.skipif(shutil.which("mformat") is None, reason="apt-get install mtools")

BIOS_BOOT = "size=2048, type=21686148-6449-6E6F-744E-656564454649\n"
DISK_SIZE = 80 * MIB


def make_disk(folder: Path, table: str) -> Path:
    disk = folder / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(DISK_SIZE)
    if table:
        run(["sfdisk", "-q", disk], stdin=table)
    return disk


def put_esp(disk: Path, start: int, size: int, *, bits: int = 32, loader: str = "::/EFI/BOOT/BOOTX64.EFI") -> Path:
    """Put a FAT file system at `start`, with `loader` in it where there is to be one."""
    esp = disk.with_name("esp")
    with esp.open("wb") as file:
        file.truncate(size)
    run(["mformat", "-i", esp, *(["-F", "-c", "1"] if bits == 32 else ["-c", "8"]), "::"])
    run(["mmd", "-i", esp, "::/EFI", "::/EFI/debian", "::/EFI/BOOT"])
    # So many files before it that the folder takes more than one cluster.
    for number in range(40):
        run(["mcopy", "-i", esp, "-", f"::/EFI/BOOT/a-long-name-{number:02}.txt"], stdin="x")
    if loader:
        run(["mcopy", "-i", esp, "-", loader], stdin="MZ")
    with disk.open("r+b") as file:
        file.seek(start)
        file.write(esp.read_bytes())
    return disk


def firmware_of(disk: Path, format_: DiskFormat = DiskFormat.RAW) -> Firmware:
    layer = make_overlay(disk_of(disk, "xvda", format_), disk.with_name("layer.qcow2"))
    return find_firmware(reader_of_layer(layer))


@pytest.mark.parametrize(
    "table",
    [
        pytest.param("", id="no partition table"),
        pytest.param("label: dos\ntype=83, bootable\n", id="mbr"),
        pytest.param(f"label: gpt\n{BIOS_BOOT}type=L\n", id="gpt with a BIOS boot partition"),
        pytest.param("label: gpt\ntype=L\n", id="gpt with one partition"),
        pytest.param(
            f"label: gpt\n{BIOS_BOOT}size=60M, type=U\ntype=L\n", id="blank system partition beside BIOS boot"
        ),
    ],
)
def test_disk_without_anything_for_uefi_starts_by_bios(table: str, tmp_path: Path) -> None:
    assert firmware_of(make_disk(tmp_path, table)) is Firmware.BIOS


def test_gpt_that_only_a_uefi_can_start_from_starts_by_uefi(tmp_path: Path) -> None:
    assert firmware_of(make_disk(tmp_path, "label: gpt\nsize=60M, type=U\ntype=L\n")) is Firmware.UEFI


@needs_mtools
@pytest.mark.parametrize("bits", [32, 16, 12])
def test_loader_where_every_firmware_looks_means_uefi(bits: int, tmp_path: Path) -> None:
    size = {32: 60, 16: 40, 12: 8}[bits]
    disk = make_disk(tmp_path, f"label: gpt\n{BIOS_BOOT}size={size}M, type=U\n")
    put_esp(disk, 2 * MIB, size * MIB, bits=bits)
    assert firmware_of(disk) is Firmware.UEFI


@needs_mtools
def test_loader_on_a_disk_with_an_mbr_means_uefi(tmp_path: Path) -> None:
    disk = put_esp(make_disk(tmp_path, "label: dos\nsize=60M, type=ef\n"), MIB, 60 * MIB)
    assert firmware_of(disk) is Firmware.UEFI


@needs_mtools
def test_loader_under_a_name_that_only_its_own_machine_knows_is_none(tmp_path: Path) -> None:
    disk = make_disk(tmp_path, f"label: gpt\n{BIOS_BOOT}size=60M, type=U\n")
    assert firmware_of(put_esp(disk, 2 * MIB, 60 * MIB, loader="::/EFI/debian/GRUBX64.EFI")) is Firmware.BIOS


@needs_mtools
@pytest.mark.parametrize("format_", [DiskFormat.QCOW2, DiskFormat.VMDK, DiskFormat.VPC], ids=str)
def test_images_of_every_format_are_read(format_: DiskFormat, tmp_path: Path) -> None:
    raw = put_esp(make_disk(tmp_path, f"label: gpt\n{BIOS_BOOT}size=60M, type=U\n"), 2 * MIB, 60 * MIB)
    image = tmp_path / f"image{format_.suffix}"
    run(["qemu-img", "convert", "-f", "raw", "-O", format_, raw, image])
    assert firmware_of(image, format_) is Firmware.UEFI


def test_nonsense_in_a_system_partition_is_no_loader(tmp_path: Path) -> None:
    disk = make_disk(tmp_path, f"label: gpt\n{BIOS_BOOT}size=60M, type=U\n")
    with disk.open("r+b") as file:
        file.seek(2 * MIB)
        file.write(bytes(range(1, 256)) * 2 + b"\x55\xaa")
        file.seek(2 * MIB + 510)
        file.write(b"\x55\xaa")
    assert firmware_of(disk) is Firmware.BIOS


def test_missing_ovmf_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("private_cloud.firmware.OVMF", ())
    with pytest.raises(ToolMissing, match=r"(?s)OVMF.*apt-get install ovmf"):
        find_ovmf(tmp_path)
