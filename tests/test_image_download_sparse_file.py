"""Zeros cost no space, and nothing but zeros is left out."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_download import crc64
from image_download.sparse_file import (
    BLOCK,
    PageBuffer,
    clear_range,
    crc64_of_file,
    crc64_of_range,
    find_extents,
    write_sparsely,
)
from migration.errors import MigrationError, NoSpace
from migration.storage import storage_errors
from tests.image_download_fixtures import KIB, MIB


@contextmanager
def opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def in_memory(content: bytes | bytearray) -> PageBuffer:
    """Return a buffer that holds `content`."""
    buffer = PageBuffer(len(content))
    buffer.view[:] = content
    return buffer


def allocated(path: Path) -> int:
    """Return how many bytes of its file system a file takes."""
    return path.stat().st_blocks * 512


def test_zero_blocks_take_no_space(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    content = bytearray(4 * MIB)
    content[1 * MIB : 1 * MIB + BLOCK] = b"x" * BLOCK
    content[2 * MIB + 5] = 1
    with opened(path) as descriptor:
        write_sparsely(descriptor, in_memory(content), len(content), 0)
        os.ftruncate(descriptor, len(content))
    assert path.read_bytes() == content
    assert allocated(path) <= 4 * BLOCK  # two of data, and what ext4 may need for its extents


@pytest.mark.parametrize(
    ("period", "data"),
    [
        pytest.param(2 * BLOCK, BLOCK, id="every other block"),
        pytest.param(BLOCK, 1, id="a byte in every block"),
        pytest.param(BLOCK + 512, 512, id="runs of zeros that seldom are a block"),
        pytest.param(3 * BLOCK, BLOCK + 1, id="a byte more than a block"),
        pytest.param(MIB, MIB - BLOCK, id="one block of zeros at the end"),
    ],
)
def test_only_whole_blocks_of_zeros_are_left_out(tmp_path: Path, period: int, data: int) -> None:
    path = tmp_path / "disk.raw"
    content = bytearray((b"x" * data + bytes(period - data)) * (MIB // period + 1))[:MIB]
    blocks = sum(any(content[start : start + BLOCK]) for start in range(0, MIB, BLOCK))
    with opened(path) as descriptor:
        write_sparsely(descriptor, in_memory(content), len(content), 0)
        os.ftruncate(descriptor, len(content))
        written = sum(end - start for start, end in find_extents(descriptor, 0, MIB))
    assert path.read_bytes() == content
    assert written == blocks * BLOCK


def test_page_buffer_begins_at_a_page_whatever_its_size() -> None:
    for size in (1, 4095, 4096, 64 * KIB + 1, MIB):
        buffer = PageBuffer(size)
        assert len(buffer.view) == size
        assert ctypes.addressof(ctypes.c_char.from_buffer(buffer.view)) % 4096 == 0


runs = st.lists(st.tuples(st.booleans(), st.integers(1, 3 * BLOCK)), max_size=60)


@settings(max_examples=60, deadline=None)
@given(runs=runs, offset=st.sampled_from([0, 512, BLOCK, 70 * KIB + 512]))
def test_sparse_writing_keeps_every_byte(
    tmp_path_factory: pytest.TempPathFactory, runs: list[tuple[bool, int]], offset: int
) -> None:
    content = bytearray(b"".join((b"d" if is_data else b"\0") * length for is_data, length in runs))
    path = tmp_path_factory.mktemp("runs") / "disk.raw"
    with opened(path) as descriptor:
        write_sparsely(descriptor, in_memory(content), len(content), offset)
        os.ftruncate(descriptor, offset + len(content))
        assert crc64_of_range(descriptor, offset, offset + len(content)) == crc64.extend(crc64.EMPTY, content)
    assert path.read_bytes() == bytes(offset) + content


def test_cleared_range_reads_as_zeros_and_takes_no_space(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    path.write_bytes(b"x" * MIB)
    with opened(path) as descriptor:
        clear_range(descriptor, 0, MIB // 2)
        assert [start for start, _ in find_extents(descriptor, 0, MIB)] == [MIB // 2]
    assert path.read_bytes() == bytes(MIB // 2) + b"x" * (MIB // 2)


def test_crc64_of_a_file_is_that_of_its_bytes_with_holes_long_and_short(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    with opened(path) as descriptor:
        for offset in (0, 8 * KIB, 600 * KIB, 5 * MIB):
            os.pwrite(descriptor, b"data" * KIB, offset)
        os.ftruncate(descriptor, 9 * MIB + 17)
    assert crc64_of_file(path) == crc64.extend(crc64.EMPTY, path.read_bytes())


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        pytest.param(28, NoSpace, id="full"),
        pytest.param(122, NoSpace, id="quota"),
        pytest.param(5, MigrationError, id="broken"),
    ],
)
def test_storage_errors_say_what_to_do(tmp_path: Path, number: int, kind: type[MigrationError]) -> None:
    with pytest.raises(kind) as caught, storage_errors(tmp_path):
        raise OSError(number, os.strerror(number))
    assert type(caught.value) is kind
    assert caught.value.remedy
