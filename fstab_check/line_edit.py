"""Changes single fields of a line, and leaves every other byte of it where it is."""

from __future__ import annotations

import re
from collections.abc import Mapping

_FIELD = re.compile(rb"[^ \t]+")


def split_line_end(line: bytes) -> tuple[bytes, bytes]:
    r"""Return a line that was cut at `\n`, and the carriage return that it may end with."""
    return (line[:-1], b"\r") if line.endswith(b"\r") else (line, b"")


def fields_of(line: bytes) -> list[bytes]:
    """Return the fields as they are written, escapes and all."""
    return _FIELD.findall(split_line_end(line)[0])


def replace_fields(line: bytes, fields: Mapping[int, bytes]) -> bytes:
    """Return `line` with the fields at these positions, from 0, written anew.

    A position one past the last field appends one. Raises `IndexError` for one that is further away.
    """
    text, end = split_line_end(line)
    spans = [match.span() for match in _FIELD.finditer(text)]
    for position in sorted(fields, reverse=True):
        if position < len(spans):
            begin, stop = spans[position]
            text = text[:begin] + fields[position] + text[stop:]
        elif position == len(spans):
            stop = spans[-1][1] if spans else 0
            text = text[:stop] + b" " + fields[position] + text[stop:]
        else:
            raise IndexError(f"the line has {len(spans)} fields, and none can become number {position}")
    return text + end


def comment_out(line: bytes, reason: str) -> bytes:
    """Return `line` as a comment, with `reason` in a comment of its own above it."""
    end = split_line_end(line)[1]
    return b"# " + reason.encode("utf-8", "replace") + end + b"\n#" + line
