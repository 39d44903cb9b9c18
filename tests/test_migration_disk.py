from __future__ import annotations

from pathlib import Path

import pytest

from migration.disk import DiskFormat, DiskRole, parse_disk_argument
from migration.errors import InvalidInput


@pytest.mark.parametrize(
    ("argument", "role", "device", "path"),
    [
        pytest.param("system.raw", DiskRole.SYSTEM, "xvda", "system.raw", id="workspace-system"),
        pytest.param("disks/data_xvdb.raw", DiskRole.DATA, "xvdb", "disks/data_xvdb.raw", id="workspace-data"),
        pytest.param("app_m-2ze_system.raw", DiskRole.SYSTEM, "xvda", "app_m-2ze_system.raw", id="object-system"),
        pytest.param("m-2ze_data_xvdc.raw", DiskRole.DATA, "xvdc", "m-2ze_data_xvdc.raw", id="object-data"),
        pytest.param("vdc=backup.img", DiskRole.DATA, "xvdc", "backup.img", id="said-outright"),
        pytest.param("/dev/vda=root.raw", DiskRole.SYSTEM, "xvda", "root.raw", id="said-as-path"),
        pytest.param("nvme1n1=b.raw", DiskRole.DATA, "xvdb", "b.raw", id="said-as-nvme"),
        pytest.param("dir=1/system.raw", DiskRole.SYSTEM, "xvda", "dir=1/system.raw", id="equals-sign-in-path"),
    ],
)
def test_disk_argument_says_which_disk(argument: str, role: DiskRole, device: str, path: str) -> None:
    assert parse_disk_argument(argument) == (role, device, Path(path))


@pytest.mark.parametrize("argument", ["root.raw", "filesystem.raw", "data.raw", "data_foo.raw", "data_xvdb1.raw", ""])
def test_disk_argument_is_refused_with_a_way_out_when_it_does_not_say(argument: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        parse_disk_argument(argument)
    assert "xvdb=" in raised.value.remedy


@pytest.mark.parametrize(
    ("suffix", "expected"),
    [
        (".raw", DiskFormat.RAW), ("IMG", DiskFormat.RAW), (".vhd", DiskFormat.VPC), (".qcow2", DiskFormat.QCOW2),
        (".gz", None), ("", None),
    ],
)  # fmt: skip
def test_format_is_known_by_suffix(suffix: str, expected: DiskFormat | None) -> None:
    assert DiskFormat.from_suffix(suffix) is expected


def test_formats_print_as_qemu_img_spells_them() -> None:
    assert [f"{word}" for word in DiskFormat] == ["raw", "qcow2", "vmdk", "vpc", "vhdx", "vdi"]
    assert str(DiskFormat.VPC) == "vpc"
