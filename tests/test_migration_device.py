from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migration.device import DeviceName, parse_device_name


@pytest.mark.parametrize(
    "text",
    ["xvdb", "/dev/xvdb", "vdb", "/dev/vdb", "sdb", "hdb", "/dev/nvme1n1", "nvme1n1"],
)
def test_spellings_of_the_second_disk_are_one_device(text: str) -> None:
    assert parse_device_name(text) == DeviceName(1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("/dev/vda1", DeviceName(0, 1), id="first-partition"),
        pytest.param("/dev/nvme0n1p3", DeviceName(0, 3), id="nvme-partition"),
        pytest.param("xvdaa12", DeviceName(26, 12), id="twenty-seventh-disk"),
    ],
)
def test_partition_is_told_from_disk(text: str, expected: DeviceName) -> None:
    assert parse_device_name(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/dev/",
        "vd",
        "vdb0",
        "/dev/mapper/vg-lv",
        "/dev/disk/by-uuid/1",
        "nvme1",
        "nvme1n2",
        "loop0",
        "VDB",
        "vdb1 ",
        "xvdb\n",
    ],
)
def test_other_names_are_no_disk(text: str) -> None:
    assert parse_device_name(text) is None


@given(st.integers(0, 999), st.none() | st.integers(1, 128), st.sampled_from(["xvd", "vd", "sd", "hd", "nvme"]))
def test_every_spelling_reads_back(index: int, partition: int | None, bus: str) -> None:
    name = DeviceName(index, partition)
    assert parse_device_name(name.spelled(bus)) == name


def test_names_sort_by_position_not_by_letter() -> None:
    names = [DeviceName(26), DeviceName(1), DeviceName(0, 2), DeviceName(0, 1)]
    with pytest.raises(TypeError):
        sorted([*names, DeviceName(0)])  # a disk and its partition have no order
    assert [str(name) for name in sorted(names)] == ["xvda1", "xvda2", "xvdb", "xvdaa"]
