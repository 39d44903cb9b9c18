"""What an object holds is judged by its bytes where a guest cannot have written them to deceive us."""

from __future__ import annotations

from pathlib import Path

import pytest

from image_download.content import find_format, find_packing
from migration.disk import DiskFormat, DiskRole
from migration.exported_object import ExportedObject, Packing
from tests.image_download_fixtures import MIB

GZIP = b"\x1f\x8b\x08\0"
QCOW2 = b"QFI\xfb\0\0\0\3"


def exported(size: int, packing: Packing, disk_size: int | None, disk_format: DiskFormat) -> ExportedObject:
    return ExportedObject(
        bucket="b", key="k", size=size, etag="", crc64=None, last_modified=0, storage_class="Standard",
        role=DiskRole.SYSTEM, device="xvda", format=disk_format, packing=packing, disk_size=disk_size,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("declared", "size", "disk_size", "head", "found"),
    [
        pytest.param(Packing.NONE, MIB, MIB, b"\0" * 512, Packing.NONE, id="bare disk"),
        pytest.param(Packing.NONE, 777, MIB, GZIP, Packing.TAR_GZIP, id="archive that lost its suffix"),
        pytest.param(Packing.NONE, 777, None, GZIP, Packing.TAR_GZIP, id="archive, size of the disk unknown"),
        pytest.param(Packing.NONE, MIB, MIB, GZIP, Packing.NONE, id="gzip on a bare disk"),
        pytest.param(Packing.NONE, MIB, None, GZIP, Packing.NONE, id="gzip on a bare disk of unknown size"),
        pytest.param(Packing.TAR_GZIP, 777, MIB, GZIP, Packing.TAR_GZIP, id="archive"),
        pytest.param(Packing.GZIP, 777, MIB, GZIP, Packing.GZIP, id="gzip"),
        pytest.param(Packing.TAR_GZIP, MIB, MIB, b"\0" * 512, Packing.NONE, id="bare disk named an archive"),
    ],
)
def test_packing_is_judged(declared: Packing, size: int, disk_size: int | None, head: bytes, found: Packing) -> None:
    assert find_packing(exported(size, declared, disk_size, DiskFormat.RAW), head) is found


@pytest.mark.parametrize(
    ("declared", "size", "disk_size", "head", "found"),
    [
        pytest.param(DiskFormat.RAW, MIB, MIB, b"", DiskFormat.RAW, id="raw"),
        pytest.param(DiskFormat.QCOW2, 777, MIB, QCOW2, DiskFormat.QCOW2, id="qcow2"),
        pytest.param(DiskFormat.RAW, 777, MIB, QCOW2, DiskFormat.QCOW2, id="qcow2 named raw"),
        pytest.param(DiskFormat.RAW, MIB, MIB, QCOW2, DiskFormat.RAW, id="qcow2 header on a bare disk"),
        pytest.param(DiskFormat.RAW, MIB, None, QCOW2, DiskFormat.RAW, id="qcow2 header, size of the disk unknown"),
        pytest.param(DiskFormat.QCOW2, MIB, MIB, b"", DiskFormat.RAW, id="raw named qcow2"),
        pytest.param(DiskFormat.VPC, 777, MIB, b"", DiskFormat.VPC, id="vhd, known by its end only"),
    ],
)
def test_format_is_judged(
    tmp_path: Path, declared: DiskFormat, size: int, disk_size: int | None, head: bytes, found: DiskFormat
) -> None:
    path = tmp_path / "disk"
    path.write_bytes(head.ljust(size, b"\0"))
    assert find_format(exported(size, Packing.NONE, disk_size, declared), path) is found
