"""Both kinds of VMDK that we write: read back equal by readers that share no code with us."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from converters.extents import find_extents
from converters.qemu_img import ImageFile, check, no_share, prove_equal, read_virtual_size
from converters.sparse_vmdk import write_sparse_vmdk
from converters.stream_optimized import write_stream_optimized
from converters.vmdk_layout import GRAIN, SECTOR, TABLE
from migration.disk import DiskFormat
from migration.errors import SourceChanged

CHUNK = 1 << 20
Write = Callable[..., None]
WRITERS = pytest.mark.parametrize(
    "writer", [write_stream_optimized, write_sparse_vmdk], ids=["streamOptimized", "monolithicSparse"]
)


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


def write(writer: Write, source: ImageFile, target: Path, base: Path | None = None) -> ImageFile:
    extents = find_extents(source, base)
    assert extents is not None
    writer(target, extents, read_virtual_size(source))
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


@WRITERS
@pytest.mark.parametrize(("size", "stretches"), DISKS)
def test_qemu_finds_the_same_bytes(
    writer: Write, size: int, stretches: list[tuple[int, bytes]], tmp_path: Path
) -> None:
    source = make_raw(tmp_path / "disk.raw", size, *stretches)
    made = write(writer, source, tmp_path / "disk.vmdk")
    prove_equal(source, made, on_share=no_share, stop=None)
    check(made, stop=None)


@WRITERS
@pytest.mark.parametrize(("size", "stretches"), DISKS)
def test_libvmdk_finds_the_same_bytes(
    writer: Write, size: int, stretches: list[tuple[int, bytes]], tmp_path: Path
) -> None:
    source = make_raw(tmp_path / "disk.raw", size, *stretches)
    assert read_by_libvmdk(write(writer, source, tmp_path / "disk.vmdk").path) == source.path.read_bytes()


@WRITERS
def test_disk_with_random_holes(writer: Write, tmp_path: Path) -> None:
    dice = random.Random(5)
    stretches = [(dice.randrange(0, 6 * TABLE - 90_000), dice.randbytes(dice.randrange(1, 90_000))) for _ in range(60)]
    source = make_raw(tmp_path / "disk.raw", 6 * TABLE, *stretches)
    prove_equal(source, write(writer, source, tmp_path / "disk.vmdk"), on_share=no_share, stop=None)


@WRITERS
def test_disk_that_becomes_shorter_is_noticed(writer: Write, tmp_path: Path) -> None:
    source = make_raw(tmp_path / "disk.raw", TABLE, (0, noise(TABLE)))
    extents = find_extents(source)
    assert extents is not None
    with source.path.open("r+b") as file:
        file.truncate(TABLE // 2)
    with pytest.raises(SourceChanged, match="ends before"):
        writer(tmp_path / "disk.vmdk", extents, TABLE)
