"""The checksum is OSS's, and pieces make the whole."""

from __future__ import annotations

import random

import pytest

from image_download import crc64


def test_crc64_is_that_of_oss() -> None:
    # Check value of CRC-64/XZ in the catalogue of parametrised CRC algorithms; oss2's Crc64 agrees.
    assert crc64.extend(crc64.EMPTY, b"123456789") == 0x995DC9BBDF1939FA


@pytest.mark.parametrize("cut", [0, 1, 4096, 9999, 10000])
def test_crc64_of_pieces_makes_that_of_the_whole(cut: int) -> None:
    data = random.Random(1).randbytes(10000)
    first, second = crc64.extend(crc64.EMPTY, data[:cut]), crc64.extend(crc64.EMPTY, data[cut:])
    assert crc64.combine(first, second, len(data) - cut) == crc64.extend(crc64.EMPTY, data)
    assert crc64.extend(first, data[cut:]) == crc64.extend(crc64.EMPTY, data)


@pytest.mark.parametrize("length", [0, 1, 511, 4096, 65537, 3 * 1024 * 1024 + 5])
def test_crc64_counts_zeros_without_seeing_them(length: int) -> None:
    before = crc64.extend(crc64.EMPTY, b"disk")
    assert crc64.extend_by_zeros(before, length) == crc64.extend(before, bytes(length))
