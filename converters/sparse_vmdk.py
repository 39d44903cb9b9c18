"""Writes monolithicSparse VMDK, which VMware's desktop products and VirtualBox open, on all cores.

Header, descriptor, then two grain directories with their grain tables, one the copy of the other, then the grains in
the order of the disk. `qemu-img` writes both tables anew for every grain.
"""

from __future__ import annotations

import os
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from converters.extents import Extent, open_extents, writing
from converters.grains import read_grains
from converters.qemu_img import OnShare, no_share
from converters.vmdk_layout import (
    DESCRIPTOR,
    DESCRIPTOR_SIZE,
    GRAIN,
    GRAINS_PER_TABLE,
    LARGEST,
    SECTOR,
    TABLE,
    Header,
    describe,
)
from migration.errors import InvalidInput
from migration.progress import Stop

_FLAGS = 1 | 1 << 1  # newline test is valid, there is a redundant grain directory
_TABLE_SECTORS = GRAINS_PER_TABLE * 4 // SECTOR
LARGEST_DISK = LARGEST * 15 // 16  # so that all grains have sector numbers of 32 bits behind all tables


def write_sparse_vmdk(
    target: Path,
    extents: list[Extent],
    size: int,
    *,
    threads: int | None = None,
    on_share: OnShare = no_share,
    stop: Stop | None = None,
) -> None:
    """Write the disk of `size` bytes that `extents` describe to the new file `target`, on `threads` cores or all.

    Raises `InvalidInput` (no whole sectors, or more than the format holds), `NoSpace`, `SourceChanged` (a file
    became shorter), `Interrupted`.
    """
    if size <= 0 or size % SECTOR or size > LARGEST_DISK:
        raise InvalidInput(f"{size} bytes are no whole sectors, or too many for this format", "give a whole disk")
    threads = threads or len(os.sched_getaffinity(0))
    layout = _Layout(size)
    with writing(target):
        descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            with open_extents(extents) as reader, ThreadPoolExecutor(threads, thread_name_prefix="write") as pool:
                writes: deque[Future[None]] = deque()
                places: dict[int, int] = {}  # number of a grain → sector in the file
                end = layout.overhead
                for done, batch in read_grains(reader, size, _as_it_is, threads=threads, stop=stop):
                    places.update((number, end + at * GRAIN // SECTOR) for at, (number, _) in enumerate(batch.grains))
                    grains = [grain for _, grain in batch.grains]
                    writes.append(pool.submit(_write, descriptor, grains, end * SECTOR))
                    end += len(grains) * GRAIN // SECTOR
                    if len(writes) > 2 * threads:
                        writes.popleft().result()
                    on_share(min(1.0, done / size))
                for write in writes:
                    write.result()
            for offset, data in layout.metadata(target.name, places):
                _write(descriptor, [data], offset)
            os.ftruncate(descriptor, end * SECTOR)
        finally:
            os.close(descriptor)


class _Layout:
    """Where everything lies in the file, in sectors: directory and tables twice, then grains from `overhead`."""

    def __init__(self, size: int) -> None:
        self._capacity = size // SECTOR
        self._tables = -(-size // TABLE)
        directory = -(-self._tables * 4 // SECTOR)
        self._directories = [DESCRIPTOR + DESCRIPTOR_SIZE]
        self._directories.append(self._directories[0] + directory + self._tables * _TABLE_SECTORS)
        self._first_tables = [start + directory for start in self._directories]
        end = self._first_tables[1] + self._tables * _TABLE_SECTORS
        self.overhead = -(-end * SECTOR // GRAIN) * (GRAIN // SECTOR)

    def metadata(self, name: str, places: dict[int, int]) -> Iterator[tuple[int, bytes]]:
        """Yield what comes before the grains, by where it starts in bytes; tables of zeros stay holes."""
        header = Header(
            version=1, flags=_FLAGS, capacity=self._capacity, directory=self._directories[1],
            redundant_directory=self._directories[0], overhead=self.overhead,
        )  # fmt: skip
        yield 0, header.pack() + describe("monolithicSparse", "RW", name, self._capacity)
        tables: dict[int, list[int]] = {}
        for number, sector in places.items():
            table = tables.setdefault(number // GRAINS_PER_TABLE, [0] * GRAINS_PER_TABLE)
            table[number % GRAINS_PER_TABLE] = sector
        for start, first in zip(self._directories, self._first_tables, strict=True):
            directory = [first + number * _TABLE_SECTORS for number in range(self._tables)]
            yield start * SECTOR, struct.pack(f"<{self._tables}I", *directory)
            for number, table in tables.items():
                yield (first + number * _TABLE_SECTORS) * SECTOR, struct.pack(f"<{GRAINS_PER_TABLE}I", *table)


def _as_it_is(grain: memoryview) -> memoryview:
    return grain


def _write(descriptor: int, parts: Sequence[bytes | memoryview], offset: int) -> None:
    """Write all of `parts`, one behind the other, from `offset`."""
    left = [memoryview(part) for part in parts]
    while left:
        written = os.pwritev(descriptor, left[:512], offset)  # of at most IOV_MAX buffers, 1024
        offset += written
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if written:
            left[0] = left[0][written:]
