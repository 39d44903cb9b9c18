"""streamOptimized VMDK: read back equal by readers that share no code with us, and laid out as the format says."""

from __future__ import annotations

import struct
import threading
from pathlib import Path

import pytest

from converters.extents import Extent, find_extents, open_extents
from converters.grains import BATCH
from converters.qemu_img import ImageFile, no_share, prove_equal
from converters.stream_optimized import write_stream_optimized
from converters.vmdk_layout import GRAIN, SECTOR, TABLE
from migration.disk import DiskFormat
from migration.errors import Interrupted, InvalidInput, NoSpace
from migration.run import run
from tests.test_converters_vmdk import make_raw, noise, write


def test_a_repaired_layer_is_read_through_to_its_base(tmp_path: Path) -> None:
    base = make_raw(tmp_path / "disk.raw", TABLE, (0, noise(3 * GRAIN)))
    layer = ImageFile(path=tmp_path / "disk.repaired.qcow2", format=DiskFormat.QCOW2)
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base.path, "-F", "raw", layer.path])
    run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 64k 100k", "-c", "write -z 1M 64k", layer.path])
    made = write(write_stream_optimized, layer, tmp_path / "disk.vmdk", base.path)
    prove_equal(layer, made, on_share=no_share, stop=None)


def test_compressed_clusters_have_no_place_in_a_file(tmp_path: Path) -> None:
    raw = make_raw(tmp_path / "disk.raw", TABLE, (0, b"a" * GRAIN))
    packed = ImageFile(path=tmp_path / "disk.qcow2", format=DiskFormat.QCOW2)
    run(["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", raw.path, packed.path])
    assert find_extents(packed) is None


def test_file_is_a_stream_with_everything_where_the_format_wants_it(tmp_path: Path) -> None:
    source = make_raw(tmp_path / "disk.raw", 2 * TABLE, (0, b"a" * GRAIN), (TABLE + 3 * GRAIN, b"b"))
    data = write(write_stream_optimized, source, tmp_path / "disk.vmdk").path.read_bytes()
    header, footer = data[:SECTOR], data[-2 * SECTOR : -SECTOR]
    assert header[:12] == b"KDMV" + struct.pack("<II", 3, 0x30001)
    assert struct.unpack_from("<Q", header, 56) == (2**64 - 1,), "the directory is at the end"
    assert footer[:56] == header[:56]
    assert footer[64:] == header[64:]
    assert data[-SECTOR:] == bytes(SECTOR), "the end of the stream"
    assert b'createType="streamOptimized"' in data[SECTOR : 21 * SECTOR]
    assert b'RDONLY 131072 SPARSE "disk.vmdk"' in data[SECTOR : 21 * SECTOR]

    seen, sector = [], 128
    while sector * SECTOR < len(data):  # as one reads it who cannot seek
        value, size, kind = struct.unpack_from("<QII", data, sector * SECTOR)
        seen.append(("grain", value) if size else ("marker", kind))
        sector += -(-(12 + size) // SECTOR) if size else 1 + value
    assert seen == [
        ("grain", 0), ("marker", 1), ("grain", (TABLE + 3 * GRAIN) // SECTOR), ("marker", 1),
        ("marker", 2), ("marker", 3), ("marker", 0),
    ]  # fmt: skip


def test_stop_ends_it_between_two_batches(tmp_path: Path) -> None:
    source = make_raw(tmp_path / "disk.raw", 4 * TABLE, (0, noise(TABLE)))
    extents = find_extents(source)
    assert extents is not None
    stop = threading.Event()
    seen: list[float] = []

    def on_share(share: float) -> None:
        seen.append(share)
        stop.set()

    with pytest.raises(Interrupted):
        write_stream_optimized(tmp_path / "disk.vmdk", extents, 4 * TABLE, on_share=on_share, stop=stop)
    assert seen == [BATCH * GRAIN / (4 * TABLE)]


def test_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_raw(tmp_path / "disk.raw", GRAIN, (0, b"x"))
    extents = find_extents(source)
    assert extents is not None
    monkeypatch.setattr(Path, "open", lambda *_, **__: open("/dev/full", "wb"))  # noqa: PTH123, SIM115
    with pytest.raises(NoSpace):
        write_stream_optimized(tmp_path / "disk.vmdk", extents, GRAIN)


def test_disk_of_half_a_sector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no whole sectors"):
        write_stream_optimized(tmp_path / "disk.vmdk", [], 100)


def test_extents_are_read_across_their_borders(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"0123456789")
    two.write_bytes(b"abcdefghij")
    extents = [
        Extent(start=0, length=4, path=one, offset=6), Extent(start=4, length=2, path=two, offset=0),
        Extent(start=100, length=10, path=one, offset=0),
    ]  # fmt: skip
    with open_extents(extents) as reader:
        assert bytes(reader.read(2, 6) or b"") == b"89ab\0\0"
        assert reader.read(50, 50) is None
        assert bytes(reader.read(95, 10) or b"") == b"\0\0\0\0\x0001234"
        assert reader.read(200, 10) is None
