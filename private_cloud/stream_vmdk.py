"""Reads what a streamOptimized VMDK says of itself: the size of its disk, and how much of that it holds.

The layout is that of VMware's technical note "Virtual Disk Format 5.0".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from migration.errors import CorruptData, InvalidInput

SECTOR = 512
_HEADER = struct.Struct("<4sIIQQQQIQQQB4sH433x")
_COMPRESSED_STREAM = 1 << 16 | 1 << 17  # grains are compressed, markers are used
_AT_END = (1 << 64) - 1  # the footer, the last sector but one, says where the grain directory is
_LARGEST_GRAIN, _LARGEST_TABLE = 2048, 4096  # sectors, grains: more is nonsense, and would be read into memory


@dataclass(frozen=True, slots=True)
class StreamVmdk:
    """`capacity` is what the guest sees, `populated` what of it is in the file before compression; in bytes."""

    capacity: int
    populated: int


def read_stream_vmdk(path: Path) -> StreamVmdk:
    """Raises `InvalidInput` for a file of another kind, `CorruptData` for one that is cut off."""
    with path.open("rb") as file:
        try:
            return _read(file, path)
        except (struct.error, EOFError) as error:
            raise CorruptData(f"{path}: the VMDK ends before its tables do", "convert the disk again") from error


def _read(file: BinaryIO, path: Path) -> StreamVmdk:
    header = _HEADER.unpack(file.read(SECTOR).ljust(SECTOR, b"\0"))
    magic, _, flags, capacity, grain = header[:5]
    if magic != b"KDMV" or flags & _COMPRESSED_STREAM != _COMPRESSED_STREAM:
        raise InvalidInput(
            f"{path}: this is no streamOptimized VMDK, which is the only kind that goes into an OVA",
            "make one: ferry convert --to vmdk --compress",
        )
    entries, directory = header[7], header[9]
    if directory == _AT_END:
        file.seek(-2 * SECTOR, 2)
        footer = _HEADER.unpack(_exactly(file, SECTOR))
        if footer[0] != b"KDMV":
            raise EOFError
        directory = footer[9]
    if not (0 < grain <= _LARGEST_GRAIN and 0 < entries <= _LARGEST_TABLE and capacity < 1 << 40):
        raise CorruptData(f"{path}: the VMDK's header makes no sense", "convert the disk again")
    tables = -(-capacity // (grain * entries))
    file.seek(directory * SECTOR)
    grains = 0
    for at in struct.unpack(f"<{tables}I", _exactly(file, 4 * tables)):
        if at:
            file.seek(at * SECTOR)
            # 0 is a grain that is not there, 1 one of zeros that takes no room.
            grains += sum(1 for where in struct.unpack(f"<{entries}I", _exactly(file, 4 * entries)) if where > 1)
    return StreamVmdk(capacity * SECTOR, min(grains * grain, capacity) * SECTOR)


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError
    return data
