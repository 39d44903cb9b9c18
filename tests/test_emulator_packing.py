"""A packed disk, read back by Python's tarfile and by the system's tar, is the disk."""

from __future__ import annotations

import gzip
import io
import itertools
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from emulator.packing import pack_raw, pack_tar, pack_tar_gzip
from emulator.sparse import copy_sparse, find_extents
from emulator.variants import TarMember
from migration.run import run
from tests.conftest import MIB, RawMaker

GIB = 1024**3
EVERY_FORM = pytest.mark.parametrize("form", list(TarMember), ids=str)


def ignore(packed: int) -> None:
    """Listen to no progress."""


def many_extents(path: Path) -> Path:
    """Make a file with more stretches of data than fit a tar header (4) and an extension block (21)."""
    with path.open("wb") as stream:
        stream.truncate(8 * MIB)
        for number in range(60):
            stream.seek(number * 128 * 1024)
            stream.write(os.urandom(4096))
    return path


def all_hole(path: Path) -> Path:
    path.touch()
    os.truncate(path, 3 * MIB)
    return path


def no_hole(path: Path) -> Path:
    path.write_bytes(os.urandom(70_001))
    return path


def empty(path: Path) -> Path:
    path.touch()
    return path


@EVERY_FORM
@pytest.mark.parametrize("build", [many_extents, all_hole, no_hole, empty])
def test_archive_holds_the_disk_when_python_reads_it(
    tmp_path: Path, form: TarMember, build: Callable[[Path], Path]
) -> None:
    disk = build(tmp_path / "disk.raw")
    packed = b"".join(pack_tar_gzip(disk, "m-1_system.raw", form, ignore))
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
        (member,) = archive.getmembers()
        stream = archive.extractfile(member)
        assert stream is not None
        assert (member.name, stream.read()) == ("m-1_system.raw", disk.read_bytes())


@EVERY_FORM
@pytest.mark.parametrize("build", [many_extents, all_hole, no_hole, empty])
def test_archive_holds_the_disk_when_gnu_tar_reads_it(
    tmp_path: Path, form: TarMember, build: Callable[[Path], Path]
) -> None:
    disk = build(tmp_path / "disk.raw")
    archive = tmp_path / "disk.raw.tar.gz"
    archive.write_bytes(b"".join(pack_tar_gzip(disk, "m-1_system.raw", form, ignore)))
    run(["tar", "-C", tmp_path, "-xzf", archive])
    assert (tmp_path / "m-1_system.raw").read_bytes() == disk.read_bytes()


@pytest.mark.parametrize("form", [TarMember.GNU_SPARSE, TarMember.PAX_SPARSE], ids=str)
def test_sparse_archive_holds_data_without_holes(tmp_path: Path, form: TarMember) -> None:
    disk = many_extents(tmp_path / "disk.raw")
    size = len(b"".join(pack_tar(disk, "disk.raw", form, ignore)))
    assert 60 * 4096 <= size < MIB


@EVERY_FORM
def test_archive_says_the_size_of_a_disk_beyond_8_gib(tmp_path: Path, form: TarMember) -> None:
    disk = tmp_path / "disk.raw"
    with disk.open("wb") as stream:
        stream.seek(9 * GIB)
        stream.write(b"the end")
    chunks = pack_tar(disk, "disk.raw", form, ignore)
    # The headers and a little more: the rest is 9 GiB of zeros in the plain form.
    start = b"".join(itertools.islice(chunks, 3))
    info = tarfile.TarFile.open(fileobj=io.BytesIO(start), mode="r|").next()
    assert info is not None
    assert info.size == 9 * GIB + 7


def test_raw_object_is_the_disk_byte_for_byte(make_raw: RawMaker) -> None:
    disk = make_raw("disk.raw", 3 * MIB + 512)
    assert b"".join(pack_raw(disk, ignore)) == disk.read_bytes()


@EVERY_FORM
def test_packing_counts_every_byte_of_the_disk_once(make_raw: RawMaker, form: TarMember) -> None:
    disk = make_raw("disk.raw", 5 * MIB + 512)
    counted: list[int] = []
    archive = gzip.decompress(b"".join(pack_tar_gzip(disk, "disk.raw", form, counted.append)))
    assert sum(counted) == 5 * MIB + 512
    assert len(archive) % 512 == 0


def test_copy_keeps_bytes_and_holes(tmp_path: Path) -> None:
    source, target = many_extents(tmp_path / "source.raw"), tmp_path / "target.raw"
    copy_sparse(source, target)
    assert target.read_bytes() == source.read_bytes()
    with target.open("rb") as stream:
        assert len(list(find_extents(stream.fileno()))) > 50
