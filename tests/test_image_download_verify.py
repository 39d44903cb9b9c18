"""A finished disk that is damaged later is noticed, and only what is damaged is fetched again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from image_download import part_map
from image_download.verify import verify_disks
from migration.disk import Disk
from migration.exported_object import ExportedObject, Packing
from tests.conftest import RawMaker
from tests.image_download_fixtures import KIB, SIZE, Home, home, pack_tar, put_disk

__all__ = ["home"]

PART = 64 * KIB


@pytest.fixture
def raw(make_raw: RawMaker) -> Path:
    return make_raw("source.raw", SIZE, seed=11)


@pytest.fixture
def bare(home: Home, raw: Path) -> ExportedObject:
    return put_disk(home.cloud, raw)


def rot(disk: Disk, *offsets: int) -> None:
    """Change bytes as a bad disk does: the time of modification says nothing."""
    before = disk.path.stat()
    with disk.path.open("r+b") as file:
        for offset in offsets:
            file.seek(offset)
            byte = file.read(1)
            file.seek(offset)
            file.write(bytes([byte[0] ^ 1]))
    os.utime(disk.path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_whole_disk_is_called_whole(home: Home, bare: ExportedObject) -> None:
    disk = home.download(bare)
    shown: list[tuple[int, int]] = []
    [found] = verify_disks(home.workspace, progress=lambda done, total: shown.append((done, total)))
    assert found.is_whole
    assert (found.device, found.path, found.crc64) == ("xvda", disk.path, bare.crc64)
    assert shown[-1] == (SIZE, SIZE)


def test_damage_is_found_where_it_is_and_only_that_is_fetched_again(
    home: Home, bare: ExportedObject, raw: Path
) -> None:
    disk = home.download(bare)
    rot(disk, 5, SIZE - 1)
    [found] = verify_disks(home.workspace)

    assert not found.is_whole
    assert found.damaged == ((0, PART), (SIZE - PART, SIZE))
    before = len(home.ranges)
    assert home.download(bare).path.read_bytes() == raw.read_bytes()
    assert sorted(home.ranges[before:]) == sorted([f"bytes=0-{PART - 1}", f"bytes={SIZE - PART}-{SIZE - 1}"])
    assert home.left_behind == []
    [found] = verify_disks(home.workspace)
    assert found.is_whole


def test_damage_is_mended_after_a_reboot_too(
    home: Home, bare: ExportedObject, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = home.download(bare)
    # Patched because a test cannot reboot: the kernel gives itself a new id when it starts.
    (tmp_path / "boot_id").write_text("another boot\n")
    monkeypatch.setattr(part_map, "_BOOT_ID", tmp_path / "boot_id")
    rot(disk, 3 * PART)
    verify_disks(home.workspace)
    before = len(home.ranges)
    assert home.download(bare).path.read_bytes() == raw.read_bytes()
    assert home.ranges[before:] == [f"bytes={3 * PART}-{4 * PART - 1}"]


def test_disk_that_someone_wrote_to_gets_back_what_was_changed(home: Home, bare: ExportedObject, raw: Path) -> None:
    disk = home.download(bare)
    with disk.path.open("r+b") as file:
        file.seek(SIZE // 2)
        file.write(b"somebody mounted it")
    before = len(home.ranges)
    assert home.download(bare).path.read_bytes() == raw.read_bytes()
    assert len(home.ranges) - before == 1


@pytest.mark.parametrize("cut", [True, False], ids=["cut off", "gone"])
def test_disk_that_is_not_there_as_a_whole_is_fetched_as_a_whole(
    home: Home, bare: ExportedObject, raw: Path, *, cut: bool
) -> None:
    disk = home.download(bare)
    if cut:
        os.truncate(disk.path, SIZE // 2)
    else:
        disk.path.unlink()
    [found] = verify_disks(home.workspace)
    assert ("bytes, recorded were" if cut else "the file is gone") in found.problem
    assert home.download(bare).path.read_bytes() == raw.read_bytes()


def test_damaged_disk_out_of_an_archive_is_fetched_anew(home: Home, raw: Path) -> None:
    packed = put_disk(home.cloud, pack_tar(raw), key="m-bp1test_system.raw.tar.gz", packing=Packing.TAR_GZIP)
    disk = home.download(packed)
    rot(disk, 5)
    [found] = verify_disks(home.workspace)
    assert not found.is_whole
    assert found.damaged == ()
    assert home.download(packed).path.read_bytes() == raw.read_bytes()
