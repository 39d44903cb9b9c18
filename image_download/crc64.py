"""Knows OSS's checksum, CRC-64/XZ, and how those of neighbouring pieces make the one of the whole.

What OSS sends as `x-oss-hash-crc64ecma` is the reflected CRC-64/XZ (source: the vendor's page on data
verification with CRC-64), not the CRC-64/ECMA-182 of its name. `anycrc` computes it with carry-less
multiplication: 14 GB/s measured, where `crcmod`, which oss2 uses, does 0.15. It holds the
interpreter's lock meanwhile, 20 µs for the 256 KiB that are handed to it at once.
"""

from __future__ import annotations

from functools import lru_cache

import anycrc

_MODEL = anycrc.Model("CRC64-XZ")

EMPTY = 0  # the CRC-64 of no bytes at all


def extend(crc: int, piece: bytes | bytearray | memoryview) -> int:
    """Return the CRC-64 of what `crc` is of, followed by `piece`."""
    return int(_MODEL.calc(piece, crc))


def combine(first: int, second: int, second_length: int) -> int:
    """Return the CRC-64 of two neighbouring pieces, from theirs and the length of the second in bytes."""
    return int(_MODEL.combine(first, second, second_length)) if second_length else first


def extend_by_zeros(crc: int, length: int) -> int:
    """Return the CRC-64 of what `crc` is of, followed by `length` zero bytes, without looking at any."""
    for exponent in range(length.bit_length()):
        if length >> exponent & 1:
            crc = combine(crc, _of_zeros(exponent), 1 << exponent)
    return crc


@lru_cache(maxsize=64)
def _of_zeros(exponent: int) -> int:
    """Return the CRC-64 of 2**exponent zero bytes."""
    if exponent == 0:
        return extend(EMPTY, b"\0")
    half = _of_zeros(exponent - 1)
    return combine(half, half, 1 << (exponent - 1))
