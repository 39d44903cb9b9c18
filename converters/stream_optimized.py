"""Writes streamOptimized VMDK, which ESXi and OVA take: deflated grains in order, on all cores.

The layout is that of VMware's technical note "Virtual Disk Format 5.0", chapter "Stream-Optimized Compressed Sparse
Extents": header, descriptor, then grains, each behind a marker; after the grains of a grain table that table; at the
end the grain directory, a footer that says where it is, and an end-of-stream marker. Nothing is written twice, so
that the file can be read as a stream. `qemu-img` writes the same in one thread, at zlib's speed.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import IO

from isal import isal_zlib

from converters.extents import Extent, open_extents, writing
from converters.grains import Batch, read_grains
from converters.qemu_img import OnShare, no_share
from converters.vmdk_layout import GRAIN, GRAINS_PER_TABLE, SECTOR, TABLE, Header, describe
from migration.errors import InvalidInput
from migration.progress import Stop

_FLAGS = 1 | 1 << 16 | 1 << 17  # newline test is valid, grains are compressed, markers are used
_AT_END = (1 << 64) - 1  # the footer says where the grain directory is
_OVERHEAD = 128  # sectors before the first grain
_GRAIN_MARKER = struct.Struct("<QI")
_MARKER = struct.Struct("<QII496x")
_TABLE_MARKER, _DIRECTORY_MARKER, _FOOTER_MARKER, _END_MARKER = 1, 2, 3, 0

# Igzip's highest level of those that keep its speed: about the size of zlib's level 1, ten times as fast as its 6.
_LEVEL = 2


def write_stream_optimized(
    target: Path,
    extents: list[Extent],
    size: int,
    *,
    threads: int | None = None,
    on_share: OnShare = no_share,
    stop: Stop | None = None,
) -> None:
    """Write the disk of `size` bytes that `extents` describe to the new file `target`, on `threads` cores or all.

    Raises `InvalidInput` (no whole sectors), `NoSpace`, `SourceChanged` (a file became shorter), `Interrupted`.
    """
    if size <= 0 or size % SECTOR:
        raise InvalidInput(f"{size} bytes are no whole sectors", "give a whole disk")
    threads = threads or len(os.sched_getaffinity(0))
    with writing(target), target.open("xb", buffering=1 << 20) as file, open_extents(extents) as reader:
        stream = _Stream(file, target.name, size)
        for done, batch in read_grains(reader, size, _deflate, threads=threads, stop=stop):
            stream.add(batch)
            on_share(min(1.0, done / size))
        stream.finish()


def _deflate(grain: memoryview) -> bytes:
    return isal_zlib.compress(grain, _LEVEL)


class _Stream:
    """The file as it grows, and the tables of what is in it."""

    def __init__(self, file: IO[bytes], name: str, size: int) -> None:
        self._file = file
        self._capacity = size // SECTOR
        self._sector = 0
        self._table = [0] * GRAINS_PER_TABLE
        self._tables: list[int] = []  # where each grain table is, in sectors; 0: all its grains are zeros
        self._write(self._header(_AT_END))
        self._write(describe("streamOptimized", "RDONLY", name, self._capacity))
        self._write(bytes((_OVERHEAD - self._sector) * SECTOR))

    def add(self, batch: Batch[bytes]) -> None:
        """Append the grains of `batch`, and each grain table that is complete with them."""
        for number, deflated in batch.grains:
            self._close_tables(number // GRAINS_PER_TABLE)
            self._table[number % GRAINS_PER_TABLE] = self._sector
            record = _GRAIN_MARKER.pack(number * (GRAIN // SECTOR), len(deflated)) + deflated
            self._write(record + bytes(-len(record) % SECTOR))
        self._close_tables(batch.end // GRAINS_PER_TABLE)

    def finish(self) -> None:
        """Append what comes behind the last grain."""
        self._close_tables(-(-self._capacity * SECTOR // TABLE))
        directory = struct.pack(f"<{len(self._tables)}I", *self._tables)
        directory += bytes(-len(directory) % SECTOR)
        self._write(_MARKER.pack(len(directory) // SECTOR, 0, _DIRECTORY_MARKER))
        where = self._sector
        self._write(directory)
        self._write(_MARKER.pack(1, 0, _FOOTER_MARKER))
        self._write(self._header(where))
        self._write(_MARKER.pack(0, 0, _END_MARKER))

    def _close_tables(self, until: int) -> None:
        """Write what tables there are before number `until`."""
        while len(self._tables) < until:
            if not any(self._table):
                self._tables.append(0)
                continue
            table = struct.pack(f"<{GRAINS_PER_TABLE}I", *self._table)
            self._write(_MARKER.pack(len(table) // SECTOR, 0, _TABLE_MARKER))
            self._tables.append(self._sector)
            self._write(table)
            self._table = [0] * GRAINS_PER_TABLE

    def _write(self, data: bytes) -> None:
        assert len(data) % SECTOR == 0  # noqa: S101  # all parts of the format are whole sectors
        self._file.write(data)
        self._sector += len(data) // SECTOR

    def _header(self, directory: int) -> bytes:
        return Header(
            version=3, flags=_FLAGS, capacity=self._capacity, directory=directory, overhead=_OVERHEAD, compression=1
        ).pack()
