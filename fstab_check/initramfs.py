"""Lists what is in an initramfs: cpio archives one after another, plain (microcode) or packed.

Only names are taken. The formats are the kernel's (source: its buffer-format.rst and `usr/Kconfig`): newc archives,
zeros between them, gzip, xz, zstd, bzip2 or lzma over the rest; lz4 and lzo are not read.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import signal
import subprocess
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, cast

from migration.errors import ToolMissing
from migration.run import find_program, leashed

MAX_ENTRIES = 200_000
MAX_UNPACKED = 2 * 1024**3  # bytes; a bomb ends here

_HEADER = 110  # bytes of a newc header
_MAGICS = (b"070701", b"070702")
_NUMBERS = re.compile(rb"[0-9A-Fa-f]{104}")
_READ = 1024 * 1024
_MODULE = re.compile(r"/(?P<name>[^/]+)\.ko(?:\.(?:gz|xz|zst))?$")


class Unlisted(Exception):
    """The archive is damaged or packed in a way that is not read; the argument says how."""


def list_modules(initramfs: Path) -> frozenset[str]:
    """Return the names of the kernel modules in an initramfs, as lsmod spells them. Raises `Unlisted`."""
    names: set[str] = set()
    with initramfs.open("rb") as packed:
        for count, name in enumerate(_names(_Peekable(packed))):
            if count >= MAX_ENTRIES:
                raise Unlisted(f"more than {MAX_ENTRIES} files are in it")
            if match := _MODULE.search(name):
                names.add(match["name"].replace("-", "_"))
    return frozenset(names)


class _Peekable:
    """A stream with a look ahead, that counts what it gives out."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._ahead = b""
        self.position = 0

    def peek(self, count: int) -> bytes:
        while len(self._ahead) < count and (piece := self._stream.read(_READ)):
            self._ahead += piece
        return self._ahead[:count]

    def read(self, count: int = _READ) -> bytes:
        data = self.peek(count)
        self._ahead = self._ahead[len(data) :]
        self.position += len(data)
        if self.position > MAX_UNPACKED:
            raise Unlisted("it unpacks to more than any initramfs is")
        return data

    def skip(self, count: int) -> None:
        while count > 0 and (data := self.read(min(count, _READ))):
            count -= len(data)

    def rest(self) -> Iterator[bytes]:
        while data := self.read(_READ):
            yield data


def _names(stream: _Peekable) -> Iterator[str]:
    """Yield the names in the archives of `stream`, and in what is packed behind them."""
    while head := stream.peek(6):
        if head in _MAGICS:
            yield from _names_of_one(stream)
        elif head[:1] == b"\0":
            stream.skip(4)
        else:
            try:
                with _unpacked(stream, head) as inner:
                    yield from _names(_Peekable(inner))
            except (zlib.error, lzma.LZMAError, EOFError, OSError) as error:
                raise Unlisted(f"what is packed in it is damaged ({error})") from None
            return


def _names_of_one(stream: _Peekable) -> Iterator[str]:
    while True:
        header = stream.read(_HEADER)
        if header[:6] not in _MAGICS or not _NUMBERS.fullmatch(header, 6):
            raise Unlisted("a cpio archive in it is damaged")
        size, length = int(header[54:62], 16), int(header[94:102], 16)
        name = stream.read(length + -(_HEADER + length) % 4)[: length - 1].decode("utf-8", "replace")
        if name == "TRAILER!!!":
            return
        yield f"/{name}"
        stream.skip(size + -size % 4)


def _unpacked(stream: _Peekable, head: bytes) -> AbstractContextManager[IO[bytes]]:
    packed = cast("IO[bytes]", stream)  # these three only ever read
    if head[:2] == b"\x1f\x8b":
        return cast("AbstractContextManager[IO[bytes]]", gzip.GzipFile(fileobj=packed))
    if head == b"\xfd7zXZ\0" or head[:3] == b"\x5d\0\0":
        return lzma.LZMAFile(packed)
    if head[:3] == b"BZh":
        return bz2.BZ2File(packed)
    if head[:4] == b"\x28\xb5\x2f\xfd":
        return _unpacked_by_zstd(stream)
    raise Unlisted(f"it is packed in a way that is not read ({head[:4].hex()})")


@contextmanager
def _unpacked_by_zstd(stream: _Peekable) -> Iterator[IO[bytes]]:
    """Unpack by the program, as it goes: Python has no zstd of its own before 3.14."""
    try:
        program = find_program("zstd")
    except ToolMissing as error:
        raise Unlisted("it is packed by zstd, which is not installed") from error
    with tempfile.TemporaryFile() as packed:
        for piece in stream.rest():
            packed.write(piece)
        packed.seek(0)
        argv = leashed([program, "-dcq"])
        with subprocess.Popen(argv, stdin=packed, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
            assert child.stdout is not None  # noqa: S101  # it was asked for
            try:
                yield child.stdout
            finally:
                child.stdout.close()  # where not all was wanted, it ends by that
        if child.returncode not in {0, -signal.SIGPIPE}:
            raise Unlisted("what is packed in it is damaged (zstd)")
