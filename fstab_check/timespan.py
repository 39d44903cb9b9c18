"""Reads a time span as systemd writes it: `90`, `1min 30s`, `500ms`, `infinity` (source: man 7 systemd.time)."""

from __future__ import annotations

import math
import re

_UNITS = {
    "": 1.0, "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0,
    "us": 1e-6, "usec": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "msec": 1e-3,
    "m": 60.0, "min": 60.0, "minute": 60.0, "minutes": 60.0,
    "h": 3600.0, "hr": 3600.0, "hour": 3600.0, "hours": 3600.0,
    "d": 86400.0, "day": 86400.0, "days": 86400.0, "w": 604800.0, "week": 604800.0, "weeks": 604800.0,
    "M": 2629800.0, "month": 2629800.0, "months": 2629800.0, "y": 31557600.0, "year": 31557600.0, "years": 31557600.0,
}  # fmt: skip
# Not one pattern for all of a span: a guest could write digits that take such a pattern for ever.
_PART = re.compile(r"\s*(?P<number>[0-9]+(?:\.[0-9]*)?)\s*(?P<unit>[A-Za-zµμ]*)")


def parse_timespan(text: str) -> float | None:
    """Return the seconds that `text` stands for, `math.inf` for "infinity", or None where systemd reads nothing."""
    text = text.strip()
    if text == "infinity":
        return math.inf
    seconds, position = 0.0, 0
    while position < len(text):
        match = _PART.match(text, position)
        if match is None or match["unit"] not in _UNITS:
            return None
        seconds += float(match["number"]) * _UNITS[match["unit"]]
        position = match.end()
    return seconds if text else None
