"""streamOptimized VMDK: read back equal by readers that share no code with us, and laid out as the format says."""

from __future__ import annotations

import random
import struct
import threading
from pathlib import Path

import pytest

from converters.extents import Extent, find_extents, open_extents
from converters.grains import BATCH
from converters.qemu_img import ImageFile, check, no_share, prove_equal, read_virtual_size
from converters.stream_optimized import write_stream_optimized
from converters.vmdk_layout import GRAIN, SECTOR, TABLE
from migration.disk import DiskFormat
from migration.errors import Interrupted, InvalidInput, NoSpace, SourceChanged
from migration.run import run

CHUNK = 1 << 20


def noise(length: int, seed: int = 20) -> bytes:
    return random.Random(seed).randbytes(length)


def make_raw(path: Path, size: int, *stretches: tuple[int, bytes]) -> ImageFile:
    """Make a RAW disk of holes with `stretches` in it, by where they start."""
    with path.open("wb") as file:
        file.truncate(size)
        for start, data in stretches:
            file.seek(start)
            file.write(data)
        assert file.seek(0, 2) == size
    return ImageFile(path=path, format=DiskFormat.RAW)


def write(source: ImageFile, target: Path, base: Path | None = None) -> ImageFile:
    extents = find_extents(source, base)
    assert extents is not None
    write_stream_optimized(target, extents, read_virtual_size(source))
    return ImageFile(path=target, format=DiskFormat.VMDK)


def read_by_libvmdk(path: Path) -> bytes:
    """Read it by a library that shares no code with QEMU either, where it is installed (libvmdk-python)."""
    pyvmdk = pytest.importorskip("pyvmdk")
    handle = pyvmdk.handle()
    handle.open(str(path))
    handle.open_extent_data_files()
    content = b"".join(iter(lambda: handle.read_buffer(CHUNK), b""))
    handle.close()
    return content


DISKS = [
    pytest.param(GRAIN, [], id="one grain of zeros"),
    pytest.param(SECTOR, [(0, b"x" * SECTOR)], id="one sector"),
    pytest.param(GRAIN + SECTOR, [(GRAIN, b"x" * SECTOR)], id="a last grain of one sector"),
    pytest.param(TABLE, [(TABLE - SECTOR, b"x" * SECTOR)], id="a full table"),
    pytest.param(3 * TABLE + 5 * SECTOR, [(10, b"boot"), (2 * TABLE - 1, b"ab"), (3 * TABLE, b"end")], id="tables"),
    pytest.param(2 * TABLE, [(5 * GRAIN + 100, noise(300_000))], id="what does not deflate"),
    pytest.param(40 * GRAIN, [(0, bytes(20 * GRAIN)), (20 * GRAIN, b"a" * GRAIN)], id="zeros that are no hole"),
]  # fmt: skip


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
    dice = random.Random(5)
    stretches = [(dice.randrange(0, 6 * TABLE - 90_000), dice.randbytes(dice.randrange(1, 90_000))) for _ in range(60)]
    source = make_raw(tmp_path / "disk.raw", 6 * TABLE, *stretches)
    prove_equal(source, write(source, tmp_path / "disk.vmdk"), on_share=no_share, stop=None)


def test_a_repaired_layer_is_read_through_to_its_base(tmp_path: Path) -> None:
    base = make_raw(tmp_path / "disk.raw", TABLE, (0, noise(3 * GRAIN)))
    layer = ImageFile(path=tmp_path / "disk.repaired.qcow2", format=DiskFormat.QCOW2)
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base.path, "-F", "raw", layer.path])
    run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 64k 100k", "-c", "write -z 1M 64k", layer.path])
    made = write(layer, tmp_path / "disk.vmdk", base.path)
    prove_equal(layer, made, on_share=no_share, stop=None)


def test_compressed_clusters_have_no_place_in_a_file(tmp_path: Path) -> None:
    raw = make_raw(tmp_path / "disk.raw", TABLE, (0, b"a" * GRAIN))
    packed = ImageFile(path=tmp_path / "disk.qcow2", format=DiskFormat.QCOW2)
    run(["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", raw.path, packed.path])
    assert find_extents(packed) is None


def test_file_is_a_stream_with_everything_where_the_format_wants_it(tmp_path: Path) -> None:
    source = make_raw(tmp_path / "disk.raw", 2 * TABLE, (0, b"a" * GRAIN), (TABLE + 3 * GRAIN, b"b"))
    data = write(source, tmp_path / "disk.vmdk").path.read_bytes()
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


def test_disk_that_becomes_shorter_is_noticed(tmp_path: Path) -> None:
    source = make_raw(tmp_path / "disk.raw", TABLE, (0, noise(TABLE)))
    extents = find_extents(source)
    assert extents is not None
    with source.path.open("r+b") as file:
        file.truncate(TABLE // 2)
    with pytest.raises(SourceChanged, match="ends before"):
        write_stream_optimized(tmp_path / "disk.vmdk", extents, TABLE)


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
