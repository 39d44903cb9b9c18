from __future__ import annotations

import os
from pathlib import Path

import pytest

from converters.disk_use import DiskUse, expect_disk_use, measure_disk_use

GIB = 1 << 30


@pytest.mark.parametrize(
    ("disks", "formats", "keep_raw", "expected"),
    [
        pytest.param([(10, 10)], 1, True, DiskUse(peak=20, final=20), id="kept"),
        pytest.param([(10, 10)], 1, False, DiskUse(peak=20, final=10), id="one disk saves nothing at the peak"),
        pytest.param([(1, 1), (10, 10)], 1, False, DiskUse(peak=21, final=11), id="the largest comes last"),
        pytest.param([(10, 4), (10, 4)], 2, False, DiskUse(peak=28, final=16), id="free space left out, two formats"),
        pytest.param([], 1, False, DiskUse(peak=0, final=0), id="nothing"),
    ],
)
def test_peak_is_the_worst_moment(
    disks: list[tuple[int, int]], formats: int, keep_raw: bool, expected: DiskUse
) -> None:
    assert expect_disk_use(disks, formats, keep_raw=keep_raw) == expected


def test_blocks_are_measured_not_lengths_and_links_once(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    with (tmp_path / "sub" / "sparse").open("wb") as file:
        file.truncate(GIB)
        file.write(bytes(range(256)) * 4096)
        os.fsync(file.fileno())
    os.link(tmp_path / "sub" / "sparse", tmp_path / "again")
    assert 1 << 20 <= measure_disk_use([tmp_path]) < 2 << 20
    assert measure_disk_use([tmp_path / "none"]) == 0
