"""Unpacks an object, `.gz` or `.tar.gz`, into a sparse disk file in one pass, whatever the packing claims to be."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from image_download import crc64
from image_download.flusher import Flusher
from image_download.inflate import ByteStream, InflatedStream
from image_download.read_back import READ_AT_ONCE, ReadBack, Stretch
from image_download.sparse_file import PageBuffer, write_sparsely
from image_download.sparse_tar import BLOCK, SparseTar, is_tar
from migration.errors import CorruptData
from migration.exported_object import Packing
from migration.progress import Stop, check_stop
from migration.storage import check_free_space, format_size

log = logging.getLogger(__name__)

BUFFER = 1024 * 1024  # bytes
SYNC_EVERY = 64 * 1024 * 1024  # bytes of the disk
STRETCH = 16 * 1024 * 1024  # bytes of data, at least, that are read back at a time

# No cloud disk is larger (source: vendor's block storage page, ESSD): a stream that goes on
# beyond it is a bomb, though its zeros would cost no space.
LARGEST_DISK = 64 * 1024**4  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """The file that came out: its length in bytes and CRC-64, proven from storage."""

    size: int
    crc64: int


def unpack_disk(
    packed: ByteStream, packing: Packing, target: Path, *, subject: str, size: int | None, stop: Stop | None = None
) -> Unpacked:
    """Unpack the stream `packed` into a new file at `target`, which is read back from storage and compared.

    `size` is what the disk must have, in bytes, None where nobody knows. `packed` is read once, from
    front to back. Raises `CorruptData`, `NoSpace` or `Interrupted`, leaving no target behind.
    """
    stream = InflatedStream(packed, subject)
    try:
        with target.open("wb") as file:
            unpacker = _Unpacker(stream, file.fileno(), target, size, stop)
            try:
                if _holds_tar(stream, packing, size):
                    unpacker.unpack_tar()
                else:
                    unpacker.unpack_all()
            finally:
                unpacker.close()
            file.truncate(unpacker.length)
            os.fsync(file.fileno())
            unpacker.prove()
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return Unpacked(size=unpacker.length, crc64=unpacker.crc)


def _holds_tar(stream: InflatedStream, packing: Packing, size: int | None) -> bool:
    """Return whether an archive is in the stream, or the disk itself. The bytes decide, not the name."""
    head = stream.peek(BLOCK)
    found = is_tar(head)
    if packing is Packing.GZIP and found:
        log.warning("%s: its name says .gz, but a tar archive is in it: unpacking that", stream.subject)
    if packing is Packing.TAR_GZIP and not found and any(head) and size is not None:
        # Safe only where the length of the disk tells a disk from an archive with a damaged header.
        log.warning("%s: its name says .tar.gz, but no tar archive is in it: taking it as the disk", stream.subject)
        return False
    return found or packing is Packing.TAR_GZIP


class _Unpacker:
    """Puts what comes out of the stream where it belongs, and keeps the CRC-64 of the file so far."""

    def __init__(
        self, stream: InflatedStream, descriptor: int, target: Path, size: int | None, stop: Stop | None
    ) -> None:
        self._stream = stream
        self._descriptor = descriptor
        self._target = target
        self._size = size
        self._stop = stop
        self._buffer = PageBuffer(BUFFER)
        self._read_back = ReadBack(target)
        self._flusher = Flusher(self._read_back.settle, every=SYNC_EVERY, then=self._read_behind)
        self._stretch_start = 0
        self._stretch_crc = crc64.EMPTY
        self._stretch_data = 0  # bytes in it that are no hole left by the archive
        self.length = 0
        self.crc = crc64.EMPTY  # up to where the current stretch starts

    def unpack_tar(self) -> None:
        """Unpack the one file of an archive, and read the archive to its end."""
        archive = SparseTar(self._stream)
        member = archive.open_member()
        self._check_length(member.size, f"{member.name} in the archive has")
        if member.stored < member.size:  # otherwise nobody knows how much of it is zeros
            check_free_space(self._target.parent, member.stored, f"unpacking {self._stream.subject}")
        for offset, length in archive.extents(member):
            self._leave_hole(offset)
            if self._take(length) < length:
                raise CorruptData(
                    f"{self._stream.subject}: the archive ends within {member.name}",
                    "export the image again with a new prefix",
                )
        self._leave_hole(member.size)
        archive.finish()

    def unpack_all(self) -> None:
        """Take the whole stream as the disk."""
        most = LARGEST_DISK if self._size is None else self._size
        self._take(most + 1)
        self._check_length(self.length, "the disk in it has at least" if self.length > most else "the disk in it has")

    def close(self) -> None:
        """End the flushing in the background."""
        self._flusher.close()

    def prove(self) -> None:
        """Read back from storage what has not been yet. Raises `CorruptData` where it is not what was written."""
        self._end_stretch()
        self._read_back.settle()
        self._read_back.read(stop=self._stop)
        if self._read_back.take_wrong():
            raise CorruptData(
                f"{self._target.name}: what was written does not read back the same",
                "check the storage under the workspace",
            )

    def _read_behind(self) -> None:
        self._read_back.read(READ_AT_ONCE)

    def _end_stretch(self) -> None:
        self._read_back.add(Stretch(self._stretch_start, self.length, self._stretch_crc))
        self.crc = crc64.combine(self.crc, self._stretch_crc, self.length - self._stretch_start)
        self._stretch_start, self._stretch_crc, self._stretch_data = self.length, crc64.EMPTY, 0

    def _take(self, length: int) -> int:
        """Write the next `length` bytes of the stream at the end of the file; return how many there were."""
        start = self.length
        end = start + length
        with self._buffer.view[:] as view:
            while self.length < end:
                check_stop(self._stop)
                # Whole blocks of the file, wherever an extent begins.
                room = BUFFER - self.length % BUFFER if self.length % BUFFER else BUFFER
                count = self._stream.readinto(view[: min(room, end - self.length)])
                if count == 0:
                    break
                self._stretch_crc = crc64.extend(self._stretch_crc, view[:count])
                write_sparsely(self._descriptor, self._buffer, count, self.length)
                self.length += count
                self._stretch_data += count
                if self._stretch_data >= STRETCH:
                    self._end_stretch()
                self._flusher.wrote(count)
        return self.length - start

    def _leave_hole(self, up_to: int) -> None:
        self._stretch_crc = crc64.extend_by_zeros(self._stretch_crc, up_to - self.length)
        self.length = up_to

    def _check_length(self, length: int, says: str) -> None:
        if self._size is not None and length != self._size:
            raise CorruptData(
                f"{self._stream.subject}: {says} {length} bytes, the image's disk {self._size} "
                f"({format_size(length)}, {format_size(self._size)})",
                "is this the right object? If you are sure: --accept-other-size (flow: transfer.accept_other_size)",
            )
        if not 0 < length <= LARGEST_DISK:
            raise CorruptData(
                f"{self._stream.subject}: {says} {length} bytes", "no disk has this size: export the image again"
            )
