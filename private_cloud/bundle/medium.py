"""Knows how large media are, as their makers count."""

from __future__ import annotations

import re

from migration.errors import InvalidInput

_PREFIXES = {"M": 2, "G": 3, "T": 4}


def parse_medium(text: str) -> int:
    """Return bytes for "4G", "25GB" or "4GiB": G is 10⁹, as makers of media count, Gi 2³⁰. Raises `InvalidInput`."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([MGT])(I?)B?", text.strip().upper(), re.ASCII)
    if match is None:
        raise InvalidInput(
            f"{text!r} is no size of a medium", "give M, G or T, as in 4G for FAT32, 25G for a Blu-ray disc"
        )
    return int(float(match[1]) * (1024 if match[3] else 1000) ** _PREFIXES[match[2]])
