"""Knows how to write a disk's bytes so that its zeros cost nothing, and how to read them back from storage.

Zeros are found in whole blocks of 4 KiB, the block of ext4 and xfs. `bytearray.find` and `startswith` look at
10 to 30 GB/s, so that looking costs less than the write it saves.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from image_download import crc64
from migration.progress import Stop, check_stop

BLOCK = 4096  # bytes
_STRIDE = 64 * 1024  # looked at first, because most zeros come in long runs
_ZEROS = bytes(_STRIDE)
_RUN = bytes(256)  # the shortest needle for which `find` skips ahead instead of looking at every byte
_READ = 1024 * 1024  # bytes read at a time

_FALLOC_KEEP_SIZE, _FALLOC_PUNCH_HOLE = 1, 2  # linux/falloc.h
_libc = ctypes.CDLL(None, use_errno=True)


class PageBuffer:
    """`size` bytes of memory from the beginning of a page on; `view` is all of them.

    A kernel that copies into memory at an odd address takes twice as long over it (measured: 1.1 s of CPU for a GiB
    from a socket to 16 bytes behind a page, where Python has a bytearray begin, 0.55 s to the page).
    """

    def __init__(self, size: int) -> None:
        self._memory = bytearray(size + mmap.PAGESIZE)
        self._start = -ctypes.addressof(ctypes.c_char.from_buffer(self._memory)) % mmap.PAGESIZE
        self.view = memoryview(self._memory)[self._start : self._start + size]

    def holds(self, pattern: bytes, start: int) -> bool:
        """Return whether `pattern` is at `start`."""
        start += self._start
        return self._memory.startswith(pattern, start, start + len(pattern))

    def find(self, pattern: bytes, start: int, end: int) -> int:
        """Return where `pattern` first is between `start` and `end`, below 0 if nowhere."""
        return self._memory.find(pattern, self._start + start, self._start + end) - self._start


def write_sparsely(descriptor: int, buffer: PageBuffer, length: int, offset: int) -> None:
    """Write the first `length` bytes of `buffer` at `offset`, leaving out blocks that are all zeros.

    The file must read as zeros there already: a hole, or beyond its end.
    """
    for start, end in _find_data(buffer, length, offset):
        write_all(descriptor, buffer.view[start:end], offset + start)


def write_all(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of `data` at `offset`: a nearly full disk takes a part and says ENOSPC only then."""
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


def _find_data(buffer: PageBuffer, length: int, offset: int) -> Iterator[tuple[int, int]]:
    """Yield start and end in `buffer` of each stretch of blocks that are not all zeros.

    Blocks are those of the file, into which the buffer goes at `offset`.
    """
    start = _skip_zero_blocks(buffer, 0, length, offset)
    while start < length:
        end = _find_zero_block(buffer, start, length, offset)
        yield start, end
        start = _skip_zero_blocks(buffer, end, length, offset)


def _find_zero_block(buffer: PageBuffer, position: int, length: int, offset: int) -> int:
    """Return where the first whole block of zeros behind `position` begins, `length` if there is none.

    Every such block begins with a short run of zeros, and most data has none: looking for the run costs a tenth of
    looking at every block.
    """
    while (run := buffer.find(_RUN, position, length)) >= 0:
        block = run + -(offset + run) % BLOCK
        end = min(block + BLOCK, length)
        if block >= end or buffer.holds(_ZEROS[: end - block], block):
            return min(block, length)
        position = block + BLOCK
    return length


def _skip_zero_blocks(buffer: PageBuffer, position: int, length: int, offset: int) -> int:
    """Return where the first block that is not all zeros begins, at `position` or behind it; `length` if none does."""
    while position < length:
        end = min(position + _STRIDE, length)
        end -= (offset + end) % BLOCK if end < length else 0
        if not buffer.holds(_ZEROS[: end - position], position):
            break
        position = end
    while position < length:
        end = min(position + BLOCK - (offset + position) % BLOCK, length)
        if not buffer.holds(_ZEROS[: end - position], position):
            break
        position = end
    return position


def find_extents(descriptor: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of each stretch of a file's range that is no hole. Beyond its end there is nothing."""
    while start < end:
        try:
            start = os.lseek(descriptor, start, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                return
            raise
        if start >= end:
            return
        hole = min(os.lseek(descriptor, start, os.SEEK_HOLE), end)
        yield start, hole
        start = hole


def clear_range(descriptor: int, start: int, end: int) -> None:
    """Make a range of a file read as zeros, as a hole where the file system can do that."""
    for first, last in list(find_extents(descriptor, start, end)):
        mode = _FALLOC_KEEP_SIZE | _FALLOC_PUNCH_HOLE
        done = _libc.fallocate(descriptor, mode, ctypes.c_int64(first), ctypes.c_int64(last - first))
        if done == 0:
            continue
        if ctypes.get_errno() not in {errno.EOPNOTSUPP, errno.ENOSYS}:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        for position in range(first, last, _STRIDE):
            write_all(descriptor, _ZEROS[: min(_STRIDE, last - position)], position)


@contextmanager
def open_storage(path: Path) -> Iterator[int]:
    """Open a file so that reading it asks the device and not the page cache, where the file system can do that."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT)
    except OSError as error:
        if error.errno != errno.EINVAL:  # what tmpfs, for example, says to O_DIRECT
            raise
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def crc64_of_range(descriptor: int, start: int, end: int, stop: Stop | None = None) -> int:
    """Return the CRC-64 of a range of a file, opened by `open_storage`; long holes are counted, not read.

    What should be there beyond the end of the file counts as zeros: a file's length is checked elsewhere.
    """
    if not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
        # Whatever is clean leaves the page cache, so that the device is asked all the same.
        os.posix_fadvise(descriptor, start, end - start, os.POSIX_FADV_DONTNEED)
    crc, position = crc64.EMPTY, start
    with mmap.mmap(-1, _READ) as buffer, memoryview(buffer) as view:  # page-aligned, as O_DIRECT wants it
        for first, last in _join_near(find_extents(descriptor, start, end)):
            crc, position = crc64.extend_by_zeros(crc, first - position), first
            while position < last:
                check_stop(stop)
                skip = position % BLOCK  # O_DIRECT reads whole blocks
                length = min(_READ, last - position + skip)
                got = min(_read_blocks(descriptor, view[: length + -length % BLOCK], position - skip), length) - skip
                if got <= 0:
                    break
                crc, position = crc64.extend(crc, view[skip : skip + got]), position + got
    return crc64.extend_by_zeros(crc, end - position)


def _join_near(extents: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield extents, as one where what lies between them costs less to read than to skip."""
    start = end = -_STRIDE
    for next_start, next_end in extents:
        if next_start - end >= _STRIDE:
            if end > start:
                yield start, end
            start = next_start
        end = next_end
    if end > start:
        yield start, end


def _read_blocks(descriptor: int, view: memoryview, offset: int) -> int:
    try:
        return os.preadv(descriptor, [view], offset)
    except OSError as error:
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        if error.errno != errno.EINVAL or not flags & os.O_DIRECT:
            raise
        # Opened with O_DIRECT, but this device has blocks larger than ours.
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~os.O_DIRECT)
        return os.preadv(descriptor, [view], offset)


def crc64_of_file(path: Path, stop: Stop | None = None) -> int:
    """Return the CRC-64 of a file as it lies in storage."""
    with path.open("rb") as file:
        os.fdatasync(file.fileno())
    with open_storage(path) as descriptor:
        return crc64_of_range(descriptor, 0, os.fstat(descriptor).st_size, stop)
