"""Knows which bytes of an object a `Range` header means to OSS (vendor's range download page)."""

from __future__ import annotations

import re

from emulator.oss_errors import OssError

_RANGE = re.compile(r"bytes=(?P<first>\d*)-(?P<last>\d*)")


def find_range(header: str | None, size: int, *, standard: bool) -> tuple[int, int] | None:
    """Return the first and last byte that `header` asks of an object of `size` bytes; None is all of it.

    `standard` is `x-oss-range-behavior: standard`. Without it, a range that does not lie within the
    object is ignored and the whole object is served; with it, the end is clipped, and a start beyond
    the object raises `OssError` (416). A malformed range, a list of several among them, is ignored in
    both cases: the vendor's pages disagree on lists, the rest is likely.
    """
    match = _RANGE.fullmatch(header) if header else None
    if match is None or not match["first"] + match["last"]:
        return None
    if not match["first"]:
        return _suffix(int(match["last"]), size, standard=standard)
    first, last = int(match["first"]), int(match["last"]) if match["last"] else size - 1
    if match["last"] and last < first:
        return None
    if first >= size:
        _whole_object(standard=standard)
        return None
    if last >= size:
        return (first, size - 1) if standard else None
    return first, last


def _suffix(length: int, size: int, *, standard: bool) -> tuple[int, int] | None:
    """Return the last `length` bytes; more than there are is all of it, none is out of bounds (a guess)."""
    if length == 0 or size == 0:
        _whole_object(standard=standard)
        return None
    if length > size:
        return (0, size - 1) if standard else None
    return size - length, size - 1


def _whole_object(*, standard: bool) -> None:
    """Serve everything instead of a range outside the object, or raise where the client asked for the standard."""
    if standard:
        raise OssError("InvalidRange")
