"""Reads a table as glibc's `getmntent` does, through which systemd's fstab generator sees it.

It differs from libmount: five escapes are undone instead of all octal ones, a carriage return belongs to the
field before it, a line counts up to its 4095th byte, and a NUL byte costs the line behind it. (Read in glibc's
`mntent_r.c`; held to the real function, and to the real generator, by the tests.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LONGEST_LINE = 4095  # bytes that systemd sees of a line, the line end among them

_SKIPPED_AT_ONCE = 1023  # of the rest
_ESCAPES = {rb"\040": b" ", rb"\011": b"\t", rb"\012": b"\n", rb"\134": b"\\", b"\\\\": b"\\"}
_ESCAPE = re.compile(rb"\\(?:040|011|012|134|\\)")
_NUMBER = re.compile(rb"[ \t\n\v\f\r]*([+-]?[0-9]+)")


@dataclass(frozen=True, slots=True)
class Mntent:
    """An entry by the names of `struct mntent`, `line` counted from 1; the fields are the bytes systemd gets."""

    line: int
    fsname: bytes
    dir: bytes
    type: bytes
    opts: bytes
    freq: int
    passno: int


def read_mntents(content: bytes) -> list[Mntent]:
    """Return the entries of a table, also those with one field only; takes any bytes."""
    entries = []
    position, number = 0, 1
    while position < len(content):
        text, end = _gets(content, position, LONGEST_LINE)
        newlines = content.count(b"\n", position, end)
        if b"\n" in text:
            text = text[: text.index(b"\n")].rstrip(b" \t")
        else:
            rest = b""
            while b"\n" not in rest and end < len(content):
                rest, after = _gets(content, end, _SKIPPED_AT_ONCE)
                newlines += content.count(b"\n", end, after)
                end = after
        entry = _parse(number, text)
        if entry is not None:
            entries.append(entry)
        position, number = end, number + newlines
    return entries


def _gets(content: bytes, start: int, size: int) -> tuple[bytes, int]:
    """Return what `fgets` leaves in a C string, and where it stopped reading."""
    newline = content.find(b"\n", start, start + size)
    end = min(newline + 1 if newline >= 0 else start + size, len(content))
    return content[start:end].partition(b"\0")[0], end


def _parse(number: int, text: bytes) -> Mntent | None:
    text = text.lstrip(b" \t")
    if text[:1] in (b"", b"#"):
        return None
    fields = [*re.split(rb"[ \t]+", text, maxsplit=4), b"", b"", b"", b""]
    freq, passno = read_numbers(fields[4])
    fsname, directory, type_, opts = map(_unescape, fields[:4])
    # An automounter's own mounts are passed over, as an option of theirs asks.
    if type_ == b"autofs" and any(word.partition(b"=")[0] == b"ignore" for word in opts.split(b",")):
        return None
    return Mntent(number, fsname, directory, type_, opts, freq, passno)


def read_numbers(text: bytes) -> tuple[int, int]:
    """Return the fifth and sixth field as `scanf` takes them: 0 from the first on that is no number."""
    first = _NUMBER.match(text)
    second = _NUMBER.match(text, first.end()) if first else None
    return (_c_int(first[1]) if first else 0, _c_int(second[1]) if second else 0)


def fits_long(digits: bytes) -> bool:
    """Return whether a number with or without a sign is one of 64 bits."""
    return -(2**63) <= _int(digits) < 2**63


def _c_int(digits: bytes) -> int:
    """Return what is left of a number in C: `strtol` stops at 64 bits, an `int` keeps the lower 32 of them."""
    value = max(-(2**63), min(2**63 - 1, _int(digits)))
    return (value + 2**31) % 2**32 - 2**31


def _int(digits: bytes) -> int:
    # Python itself refuses numbers of some thousand digits; beyond 64 bits their values do not matter.
    magnitude = int(digits.lstrip(b"+-").lstrip(b"0")[:20] or b"0")
    return -magnitude if digits.startswith(b"-") else magnitude


def _unescape(field: bytes) -> bytes:
    return _ESCAPE.sub(lambda match: _ESCAPES[match[0]], field)
