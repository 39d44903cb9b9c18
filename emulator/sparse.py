"""Knows where a sparse file has data and where it has holes, and copies it hole for hole."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

CHUNK = 1024 * 1024  # bytes read at a time


def find_extents(descriptor: int) -> Iterator[tuple[int, int]]:
    """Yield offset and length, in bytes, of each stretch of data of an open file, in order."""
    end = os.fstat(descriptor).st_size
    offset = 0
    while offset < end:
        try:
            start = os.lseek(descriptor, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                return
            raise
        offset = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, offset - start


def read_extent(descriptor: int, offset: int, length: int) -> Iterator[bytes]:
    """Yield `length` bytes from `offset`, in chunks. Raises `EOFError` if the file is shorter."""
    while length:
        chunk = os.pread(descriptor, min(CHUNK, length), offset)
        if not chunk:
            raise EOFError(f"the file ends at {offset}, {length} bytes early")
        yield chunk
        offset += len(chunk)
        length -= len(chunk)


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a file, leaving holes where the source has them."""
    with source.open("rb") as reader, target.open("wb") as writer:
        for offset, length in find_extents(reader.fileno()):
            writer.seek(offset)
            for chunk in read_extent(reader.fileno(), offset, length):
                writer.write(chunk)
        writer.truncate(os.fstat(reader.fileno()).st_size)
