"""Knows how a RAW disk becomes an exported object: bare, or as the one member of a gzipped tar archive.

The member's name is the object's without `.tar.gz` (seen for system disks: public guides unpack
`test_m-…_system.raw.tar.gz` and go on with `test_m-…_system.raw`).
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from isal import isal_zlib

from emulator.sparse import CHUNK, find_extents, read_extent
from emulator.variants import TarMember

BLOCK = 512  # bytes; tar counts in them
_ZEROS = bytes(CHUNK)
_GZIP = 31  # zlib's window bits for a gzip header and trailer
_LEVEL = 1  # holes shrink to a thousandth all the same, and packing is not what anybody waits for
_IN_HEADER, _IN_EXTENSION = 4, 21  # sparse map entries that fit a header block and an extension block

# Called with the number of the disk's bytes that were packed since the last call.
Packed = Callable[[int], None]


def pack_raw(disk: Path, packed: Packed) -> Iterator[bytes]:
    """Yield the bytes of `disk` from end to end, holes as zeros."""
    with disk.open("rb") as stream:
        yield from _read_all(stream.fileno(), packed)


def pack_tar_gzip(disk: Path, member: str, form: TarMember, packed: Packed) -> Iterator[bytes]:
    """Yield a gzipped tar archive whose one member, called `member`, is `disk`."""
    gzip = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _GZIP)
    for chunk in pack_tar(disk, member, form, packed):
        if shrunk := gzip.compress(chunk):
            yield shrunk
    yield gzip.flush()


def pack_tar(disk: Path, member: str, form: TarMember, packed: Packed) -> Iterator[bytes]:
    """Yield a tar archive whose one member, called `member`, is `disk`; sizes beyond 8 GiB are base-256."""
    info = tarfile.TarInfo(member)
    with disk.open("rb") as stream:
        status = os.fstat(stream.fileno())
        size = info.size = status.st_size
        info.mtime, info.mode = int(status.st_mtime), 0o644
        if form is TarMember.PLAIN:
            yield info.tobuf(tarfile.GNU_FORMAT)
            yield from _padded(_read_all(stream.fileno(), packed))
        else:
            extents = list(find_extents(stream.fileno()))
            if not extents or sum(extents[-1]) < size:
                extents.append((size, 0))  # GNU tar marks a hole at the end so
            header = _gnu_sparse_header if form is TarMember.GNU_SPARSE else _pax_sparse_header
            yield from header(info, extents)
            yield from _padded(_read_extents(stream.fileno(), size, extents, packed))
    yield bytes(2 * BLOCK)


def _read_all(descriptor: int, packed: Packed) -> Iterator[bytes]:
    size, position = os.fstat(descriptor).st_size, 0
    for offset, length in [*find_extents(descriptor), (size, 0)]:
        while position < offset:
            hole = min(CHUNK, offset - position)
            yield _ZEROS[:hole]
            packed(hole)
            position += hole
        for chunk in read_extent(descriptor, offset, length):
            yield chunk
            packed(len(chunk))
        position += length


def _read_extents(descriptor: int, size: int, extents: Sequence[tuple[int, int]], packed: Packed) -> Iterator[bytes]:
    position = 0
    for offset, length in extents:
        packed(offset - position)
        for chunk in read_extent(descriptor, offset, length):
            yield chunk
            packed(len(chunk))
        position = offset + length
    packed(size - position)


def _padded(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield `chunks`, then zeros up to a whole number of blocks."""
    size = 0
    for chunk in chunks:
        yield chunk
        size += len(chunk)
    yield bytes(-size % BLOCK)


def _gnu_sparse_header(info: tarfile.TarInfo, extents: Sequence[tuple[int, int]]) -> Iterator[bytes]:
    """Yield the header and extension blocks of GNU tar's old sparse format (its manual, "Old GNU Format")."""
    real_size, info.size, info.type = info.size, sum(length for _, length in extents), tarfile.GNUTYPE_SPARSE
    *before, plain = _blocks(info.tobuf(tarfile.GNU_FORMAT))  # a long name has blocks of its own before the header
    header = bytearray(plain)
    header[386:482] = _sparse_map(extents[:_IN_HEADER], _IN_HEADER)
    header[482] = len(extents) > _IN_HEADER
    header[483:495] = _number(real_size)
    header[148:156] = b" " * 8  # the checksum is counted with blanks in its own place
    header[148:156] = b"%06o\0 " % sum(header)
    yield b"".join([*before, bytes(header)])
    for start in range(_IN_HEADER, len(extents), _IN_EXTENSION):
        more = len(extents) > start + _IN_EXTENSION
        entries = _sparse_map(extents[start : start + _IN_EXTENSION], _IN_EXTENSION)
        yield (entries + bytes([more])).ljust(BLOCK, b"\0")


def _blocks(data: bytes) -> list[bytes]:
    return [data[start : start + BLOCK] for start in range(0, len(data), BLOCK)]


def _sparse_map(extents: Sequence[tuple[int, int]], places: int) -> bytes:
    return b"".join(_number(offset) + _number(length) for offset, length in extents).ljust(places * 24, b"\0")


def _number(value: int) -> bytes:
    """Return a header field of 12 bytes: octal, or base-256 where that is too small."""
    return b"%011o\0" % value if value < 8**11 else b"\x80" + value.to_bytes(11, "big")


def _pax_sparse_header(info: tarfile.TarInfo, extents: Sequence[tuple[int, int]]) -> Iterator[bytes]:
    """Yield headers and map of GNU sparse format 1.0 (GNU tar's manual, "PAX Format, Version 1.0")."""
    numbers = [len(extents), *(number for extent in extents for number in extent)]
    table = b"".join(b"%d\n" % number for number in numbers)
    table += bytes(-len(table) % BLOCK)
    info.pax_headers = {
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0",
        "GNU.sparse.name": info.name, "GNU.sparse.realsize": str(info.size),
    }  # fmt: skip
    info.name = f"GNUSparseFile.0/{info.name}"
    info.size = len(table) + sum(length for _, length in extents)
    yield info.tobuf(tarfile.PAX_FORMAT)
    yield table
