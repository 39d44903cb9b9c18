"""Reads the one file out of a tar stream, with its holes: plain, GNU sparse, and all three kinds of PAX sparse.

The standard library's tarfile reads these archives too, but turns holes into zeros that are then copied
and searched (measured on 512 MiB, half of it holes: 0.45 s where inflating takes 0.12; 0.96 s against
0.22 without holes), and takes whatever length a header claims into memory at once: an archive comes
from outside and may be hostile. So: every length is bounded, names are never used as paths, and
what is neither a file nor a folder is refused.

Formats: POSIX.1-2001 pax, and the GNU tar manual's appendix "Storing Sparse Files".
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from image_download.inflate import InflatedStream
from migration.errors import CorruptData

BLOCK = 512  # bytes

LONGEST_NAME = 64 * 1024  # bytes of a long name, or of another header that is not needed
LONGEST_PAX = 16 * 1024 * 1024  # bytes of a pax header, which holds the whole map in the sparse formats 0.0 and 0.1
MOST_EXTENTS = 4 * 1024 * 1024  # extents of a sparse map: 64 MiB of memory
MOST_HEADERS = 10_000  # headers before a file or after it
MOST_PADDING = 64 * 1024 * 1024  # bytes of zeros that end an archive; GNU tar writes at most 10 KiB by itself

_REMEDY = "is this an exported disk? Look into it with tar -tvzf, or export the image again with a new prefix"
_KINDS = {
    b"1": "a hard link", b"2": "a symbolic link", b"3": "a character device", b"4": "a block device",
    b"6": "a pipe", b"D": "a GNU directory dump", b"M": "the rest of a file from another volume",
    b"V": "a volume label",
}  # fmt: skip
_PAX_KEYS = {
    b"size", b"GNU.sparse.major", b"GNU.sparse.minor", b"GNU.sparse.realsize",
    b"GNU.sparse.size", b"GNU.sparse.map", b"GNU.sparse.name",
}  # fmt: skip
_REGULAR, _SPARSE, _FOLDER = {b"0", b"\0", b"7"}, b"S", b"5"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """The file in the archive. Sizes are bytes.

    `size` is the file's own, holes included; `stored` is what the archive holds of it: the extents,
    one after the other. `offsets` and `lengths` say where in the file each of them goes.
    """

    name: str  # fit to be printed; for people only
    size: int
    stored: int
    offsets: array[int]
    lengths: array[int]


@dataclass(slots=True)
class _Header:
    """What the blocks before a member's data have said so far. What is not needed is not kept."""

    kind: bytes = b""
    name: str = ""
    long_name: str = ""  # GNU's or pax's
    stored: int = 0
    block: bytes = b""
    pax: dict[bytes, bytes] = field(default_factory=dict)
    offsets: array[int] = field(default_factory=lambda: array("Q"))
    lengths: array[int] = field(default_factory=lambda: array("Q"))


def is_tar(head: bytes) -> bool:
    """Return whether a stream that begins with `head` is a tar archive, by the header's checksum."""
    return len(head) >= BLOCK and any(head[:BLOCK]) and _has_checksum(head[:BLOCK])


class SparseTar:
    """A tar archive that must hold one file and nothing else, read once from front to back."""

    def __init__(self, stream: InflatedStream) -> None:
        self._stream = stream
        self._padding = 0  # bytes between the end of the member's data and the next header

    def open_member(self) -> Member:
        """Read up to the data of the file. Raises `CorruptData` if there is none, or something else instead."""
        header = self._next_file()
        if header is None:
            raise self._error("there is no file in the archive")
        member = self._member(header)
        self._check(member)
        self._padding = -header.stored % BLOCK
        return member

    def extents(self, member: Member) -> Iterator[tuple[int, int]]:
        """Yield offset in the file and length of each extent; its data is next in the stream, read it all."""
        return zip(member.offsets, member.lengths, strict=True)

    def finish(self) -> None:
        """Read to the end of the archive, after the member's data. Raises `CorruptData` if more is in it."""
        self._stream.read(self._padding)
        other = self._next_file()
        if other is not None:
            raise self._error(f"a second file is in the archive: {other.name}")

    def _next_file(self) -> _Header | None:
        """Return the header of the next file, or None at the end of the archive."""
        header = _Header()
        for _ in range(MOST_HEADERS):
            block = self._stream.peek(BLOCK)
            if not any(block):
                self._read_end()
                return None
            header.block = self._stream.read(BLOCK)
            self._parse(header)
            if header.kind in _REGULAR or header.kind == _SPARSE:
                return header
            header = self._pass_over(header)
        raise self._error(f"the archive has more than {MOST_HEADERS} headers")

    def _parse(self, header: _Header) -> None:
        block = header.block
        if not _has_checksum(block):
            raise self._error("the tar headers are damaged")
        header.kind = block[156:157]
        header.stored = self._number(block[124:136])
        prefix = block[345:500] if block[257:263] == b"ustar\0" else b""
        name = b"/".join(filter(None, (prefix.partition(b"\0")[0], block[:100].partition(b"\0")[0])))
        header.name = header.long_name or printable(name)

    def _pass_over(self, header: _Header) -> _Header:
        """Take what a block that is no file has to say for the one that follows, and return the header for that."""
        kind = header.kind
        if kind == b"x":
            self._parse_pax(header, self._payload(header, LONGEST_PAX))
        elif kind == b"L":
            header.long_name = printable(self._payload(header, LONGEST_NAME).rstrip(b"\0"))
        elif kind in {b"g", b"K"}:
            self._payload(header, LONGEST_NAME)
        elif kind == _FOLDER:
            self._payload(header, LONGEST_NAME)
            return _Header()
        else:
            what = _KINDS.get(kind, f"a member of unknown kind {printable(kind)}")
            raise self._error(f"{header.name} in the archive is {what}")
        return header

    def _payload(self, header: _Header, longest: int) -> bytes:
        if header.stored > longest:
            raise self._error(f"a header in the archive claims {header.stored} bytes")
        payload = self._stream.read(header.stored)
        self._stream.read(-header.stored % BLOCK)
        return payload

    def _read_end(self) -> None:
        """Read the zeros that end an archive; only zeros may follow, to the end of the stream."""
        buffer = bytearray(BLOCK * 128)
        total = 0
        with memoryview(buffer) as view:
            while count := self._stream.readinto(view):
                total += count
                if buffer.count(0, 0, count) != count or total > MOST_PADDING:
                    raise self._error("there is something behind the end of the archive")

    def _member(self, header: _Header) -> Member:
        """Return the file that `header` announces, reading the sparse map that follows in some formats."""
        pax = header.pax
        if b"size" in pax:
            header.stored = self._decimal(pax[b"size"])
        size = header.stored
        if header.kind == _SPARSE:
            size = self._number(header.block[483:495])
            self._read_gnu_map(header)
        elif pax.get(b"GNU.sparse.major") == b"1" and pax.get(b"GNU.sparse.minor") == b"0":
            size = self._decimal(pax.get(b"GNU.sparse.realsize", b""))
            self._read_pax_map(header)
        elif b"GNU.sparse.size" in pax:
            size = self._decimal(pax[b"GNU.sparse.size"])
            self._parse_pax_map(header)
        else:
            self._add_extent(header, 0, header.stored)
        name = printable(pax[b"GNU.sparse.name"]) if b"GNU.sparse.name" in pax else header.name
        return Member(name=name, size=size, stored=header.stored, offsets=header.offsets, lengths=header.lengths)

    def _read_gnu_map(self, header: _Header) -> None:
        """Old GNU format: four extents in the header, then blocks of 21 while a flag says so."""
        block, start, count, flag = header.block, 386, 4, 482
        while True:
            for position in range(start, start + 24 * count, 24):
                if block[position + 12] == 0:  # an unused slot
                    break
                offset = self._number(block[position : position + 12])
                self._add_extent(header, offset, self._number(block[position + 12 : position + 24]))
            if not block[flag]:
                return
            block, start, count, flag = self._stream.read(BLOCK), 0, 21, 504

    def _read_pax_map(self, header: _Header) -> None:
        """PAX sparse 1.0: the map stands before the data in blocks of its own, a decimal number a line."""
        numbers = self._pax_map_numbers(header)
        for _ in range(next(numbers)):
            self._add_extent(header, next(numbers), next(numbers))

    def _pax_map_numbers(self, header: _Header) -> Iterator[int]:
        """Yield the numbers of the map, reading its blocks as they are needed and taking them off what is stored."""
        text = b""
        while True:
            line, line_feed, rest = text.partition(b"\n")
            if line_feed:
                yield self._decimal(line)
                text = rest
                continue
            if header.stored < BLOCK or len(text) > BLOCK:
                raise self._error("the sparse map is damaged")
            text += self._stream.read(BLOCK)
            header.stored -= BLOCK

    def _parse_pax_map(self, header: _Header) -> None:
        """PAX sparse 0.1: the map is one value. That of 0.0 was collected when its records were parsed."""
        numbers = (self._decimal(word[0]) for word in re.finditer(rb"[^,]+", header.pax.get(b"GNU.sparse.map", b"")))
        for offset in numbers:
            length = next(numbers, None)
            if length is None:
                raise self._error("the sparse map is damaged")
            self._add_extent(header, offset, length)

    def _add_extent(self, header: _Header, offset: int, length: int) -> None:
        if len(header.offsets) >= MOST_EXTENTS:
            raise self._error(f"the sparse map has more than {MOST_EXTENTS} entries")
        header.offsets.append(offset)
        header.lengths.append(length)

    def _check(self, member: Member) -> None:
        """Raise unless the extents lie in the file, in order, and are as long together as what is stored."""
        end = total = 0
        for offset, length in zip(member.offsets, member.lengths, strict=True):
            if offset < end:
                raise self._error("the sparse map is out of order")
            end, total = offset + length, total + length
        if end > member.size or total != member.stored:
            raise self._error("the sparse map does not fit the file")

    def _parse_pax(self, header: _Header, payload: bytes) -> None:
        """Take the records of a pax header that matter, `<length> <key>=<value>` and a line feed each."""
        position = 0
        while position < len(payload):
            space = payload.find(b" ", position, position + 20)
            length = self._decimal(payload[position:space]) if space > 0 else 0
            end = position + length
            key, equals, value = payload[space + 1 : end - 1].partition(b"=")
            if not equals or end > len(payload) or payload[end - 1 : end] != b"\n":
                raise self._error("a pax header is damaged")
            self._take_record(header, key, value)
            position = end
        if len(header.offsets) != len(header.lengths):
            raise self._error("the sparse map is damaged")

    def _take_record(self, header: _Header, key: bytes, value: bytes) -> None:
        if key == b"path":
            header.long_name = printable(value)
        elif key == b"GNU.sparse.offset":  # format 0.0: the keys of the map repeat, in pairs
            header.offsets.append(self._decimal(value))
        elif key == b"GNU.sparse.numbytes":
            header.lengths.append(self._decimal(value))
        elif key in _PAX_KEYS:
            header.pax[key] = value

    def _number(self, text: bytes) -> int:
        """Return a header's number: octal, or base-256 where it is too large for that."""
        try:
            is_binary = text[0] == 0x80
            number = int.from_bytes(text[1:], "big") if is_binary else int(text.partition(b"\0")[0].strip() or b"0", 8)
        except ValueError:
            number = -1
        if not 0 <= number < 1 << 63:
            raise self._error("a number in the tar headers is damaged")
        return number

    def _decimal(self, text: bytes) -> int:
        if not text.isdigit() or len(text) > 20 or int(text) >= 1 << 63:
            raise self._error("a number in the tar headers is damaged")
        return int(text)

    def _error(self, what: str) -> CorruptData:
        return CorruptData(f"{self._stream.subject}: {what}", _REMEDY)


def printable(name: bytes) -> str:
    """Return a name from an archive so that a terminal shows it and does not obey it."""
    text = name[:200].decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _has_checksum(block: bytes) -> bool:
    try:
        stated = int(block[148:156].partition(b"\0")[0].strip() or b"0", 8)
    except ValueError:
        return False
    rest = block[:148] + block[156:]
    unsigned = sum(rest) + 8 * ord(" ")
    signed = unsigned - 256 * sum(byte > 127 for byte in rest)  # as some old tars counted
    return stated in {unsigned, signed}
