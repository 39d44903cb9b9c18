"""monolithicSparse VMDK: read back equal by readers that share no code with us, both of its tables sound."""

from __future__ import annotations

import errno
import os
import random
import struct
import threading
from pathlib import Path

import pytest

from converters.extents import find_extents
from converters.qemu_img import ImageFile, check, no_share, prove_equal, read_virtual_size
from converters.sparse_vmdk import LARGEST_DISK, write_sparse_vmdk
from converters.vmdk_layout import GRAIN, SECTOR, TABLE
from migration.disk import DiskFormat
from migration.errors import Interrupted, InvalidInput, NoSpace, SourceChanged
from tests.test_converters_stream_optimized import DISKS, make_raw, noise, read_by_libvmdk


def write(source: ImageFile, target: Path) -> ImageFile:
    extents = find_extents(source)
    assert extents is not None
    write_sparse_vmdk(target, extents, read_virtual_size(source))
    return ImageFile(path=target, format=DiskFormat.VMDK)


@pytest.mark.parametrize(("size", "stretches"), DISKS)
def test_qemu_finds_the_same_bytes(size: int, stretches: list[tuple[int, bytes]], tmp_path: Path) -> None:
    source = make_raw(tmp_path / "disk.raw", size, *stretches)
    made = write(source, tmp_path / "disk.vmdk")
    prove_equal(source, made, on_share=no_share, stop=None)
    check(made, stop=None)


@pytest.mark.parametrize(("size", "stretches"), DISKS)
def test_libvmdk_finds_the_same_bytes(size: int, stretches: list[tuple[int, bytes]], tmp_path: Path) -> None:
    source = make_raw(tmp_path / "disk.raw", size, *stretches)
    assert read_by_libvmdk(write(source, tmp_path / "disk.vmdk").path) == source.path.read_bytes()


def test_disk_with_random_holes(tmp_path: Path) -> None:
    dice = random.Random(6)
    stretches = [(dice.randrange(0, 6 * TABLE - 90_000), dice.randbytes(dice.randrange(1, 90_000))) for _ in range(60)]
    source = make_raw(tmp_path / "disk.raw", 6 * TABLE, *stretches)
    prove_equal(source, write(source, tmp_path / "disk.vmdk"), on_share=no_share, stop=None)


def test_both_directories_lead_to_the_same_grains_and_zeros_take_no_room(tmp_path: Path) -> None:
    source = make_raw(tmp_path / "disk.raw", 3 * TABLE, (0, b"a" * GRAIN), (TABLE, bytes(9 * GRAIN)), (2 * TABLE, b"b"))
    made = write(source, tmp_path / "disk.vmdk").path
    data = made.read_bytes()
    assert data[:12] == b"KDMV" + struct.pack("<II", 1, 3)
    assert b'createType="monolithicSparse"' in data[SECTOR : 21 * SECTOR]
    (redundant, directory, overhead) = struct.unpack_from("<QQQ", data, 48)
    assert len(data) == overhead * SECTOR + 2 * GRAIN
    found = []
    for start in (redundant, directory):
        tables = struct.unpack_from("<3I", data, start * SECTOR)
        found.append([struct.unpack_from("<512I", data, table * SECTOR) for table in tables])
    assert found[0] == found[1]
    assert [[place for place in table if place] for table in found[0]] == [[overhead], [], [overhead + GRAIN // SECTOR]]


def test_disk_that_becomes_shorter_is_noticed(tmp_path: Path) -> None:
    source = make_raw(tmp_path / "disk.raw", TABLE, (0, noise(TABLE)))
    extents = find_extents(source)
    assert extents is not None
    os.truncate(source.path, TABLE // 2)
    with pytest.raises(SourceChanged, match="ends before"):
        write_sparse_vmdk(tmp_path / "disk.vmdk", extents, TABLE)


def test_stop_ends_it(tmp_path: Path) -> None:
    source = make_raw(tmp_path / "disk.raw", 4 * TABLE, (0, noise(TABLE)))
    extents = find_extents(source)
    assert extents is not None
    stop = threading.Event()
    with pytest.raises(Interrupted):
        write_sparse_vmdk(tmp_path / "disk.vmdk", extents, 4 * TABLE, on_share=lambda _: stop.set(), stop=stop)


def test_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_raw(tmp_path / "disk.raw", GRAIN, (0, b"x"))
    extents = find_extents(source)
    assert extents is not None

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.pwritev", full)
    with pytest.raises(NoSpace):
        write_sparse_vmdk(tmp_path / "disk.vmdk", extents, GRAIN)


@pytest.mark.parametrize("size", [0, 100, LARGEST_DISK + SECTOR])
def test_what_the_format_cannot_hold_is_refused(size: int, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        write_sparse_vmdk(tmp_path / "disk.vmdk", [], size)
    assert not (tmp_path / "disk.vmdk").exists()


def test_disk_almost_as_large_as_the_format_holds_is_made_of_holes(tmp_path: Path) -> None:
    source = make_raw(tmp_path / "disk.raw", LARGEST_DISK, (LARGEST_DISK - SECTOR, b"x" * SECTOR))
    made = write(source, tmp_path / "disk.vmdk")
    assert read_virtual_size(made) == LARGEST_DISK
    assert made.path.stat().st_blocks * 512 < 4 << 20
