"""monolithicSparse VMDK: read back equal by readers that share no code with us, both of its tables sound."""

from __future__ import annotations

import errno
import os
import struct
import threading
from pathlib import Path

import pytest

from converters.extents import find_extents
from converters.qemu_img import read_virtual_size
from converters.sparse_vmdk import LARGEST_DISK, write_sparse_vmdk
from converters.vmdk_layout import GRAIN, SECTOR, TABLE
from migration.errors import Interrupted, InvalidInput, NoSpace
from tests.test_converters_vmdk import make_raw, noise, write


def test_both_directories_lead_to_the_same_grains_and_zeros_take_no_room(tmp_path: Path) -> None:
    source = make_raw(tmp_path / "disk.raw", 3 * TABLE, (0, b"a" * GRAIN), (TABLE, bytes(9 * GRAIN)), (2 * TABLE, b"b"))
    made = write(write_sparse_vmdk, source, tmp_path / "disk.vmdk").path
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


@pytest.mark.slow
def test_disk_almost_as_large_as_the_format_holds_is_made_of_holes(tmp_path: Path) -> None:
    source = make_raw(tmp_path / "disk.raw", LARGEST_DISK, (LARGEST_DISK - SECTOR, b"x" * SECTOR))
    made = write(write_sparse_vmdk, source, tmp_path / "disk.vmdk")
    assert read_virtual_size(made) == LARGEST_DISK
    assert made.path.stat().st_blocks * 512 < 4 << 20
