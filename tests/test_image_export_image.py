"""Images as DescribeImages tells them: devices, types and sizes in every known shape."""

from __future__ import annotations

from typing import Any

import pytest

from image_export.image import parse_image
from migration.disk import DiskRole
from migration.image import GIB


def mapping(device: str | None = None, kind: str | None = None, size: object = "40", **more: Any) -> dict[str, Any]:
    fields = {"Device": device, "Type": kind, "Size": size, **more}
    return {name: value for name, value in fields.items() if value is not None}


def parse(*mappings: dict[str, Any], **fields: Any) -> Any:
    return parse_image(
        {"ImageId": "m-1", "Size": 20, "DiskDeviceMappings": {"DiskDeviceMapping": list(mappings)}, **fields},
        "cn-hangzhou",
    )


SYSTEM, DATA = "system", "data"


@pytest.mark.parametrize(
    ("mappings", "devices"),
    [
        pytest.param([("/dev/xvdb", DATA), ("/dev/xvda", SYSTEM)], "xvda xvdb", id="any-order"),
        pytest.param([("/dev/xvda", ""), ("/dev/xvdb", "")], "xvda xvdb", id="type-empty-on-old-images"),
        pytest.param([("/dev/xvda", None), ("/dev/xvdb", None)], "xvda xvdb", id="type-absent"),
        pytest.param([(None, SYSTEM), (None, DATA), (None, DATA)], "xvda xvdb xvdc", id="no-device"),
        pytest.param([(None, DATA), (None, SYSTEM), (None, DATA)], "xvda xvdb xvdc", id="no-device-odd-order"),
        pytest.param([(None, SYSTEM), ("/dev/xvdb", DATA), (None, DATA)], "xvda xvdb xvdc", id="one-device"),
        pytest.param([("/dev/xvda", SYSTEM), ("/dev/xvdd", DATA)], "xvda xvdd", id="hole"),
        pytest.param([("/dev/nvme0n1", SYSTEM), ("/dev/nvme1n1", DATA)], "xvda xvdb", id="nvme"),
        pytest.param([("/dev/xvda", SYSTEM), ("/dev/mystery", DATA)], "xvda xvdb", id="no-such-device"),
        pytest.param([("/dev/xvda", SYSTEM), ("/dev/xvdb", DATA), ("/dev/xvdb", DATA)], "xvda xvdb xvdc", id="twice"),
        pytest.param([("/dev/vda", SYSTEM), ("/dev/vdaa", DATA), ("/dev/vdz", DATA)], "xvda xvdz xvdaa", id="many"),
        pytest.param([], "xvda", id="no-mapping-at-all"),
    ],
)
def test_image_disks_are_named(mappings: list[tuple[str | None, str | None]], devices: str) -> None:
    image = parse(*(mapping(device, kind) for device, kind in mappings))
    assert " ".join(disk.device for disk in image.disks) == devices
    assert [disk.role for disk in image.disks] == [DiskRole.SYSTEM] + [DiskRole.DATA] * (len(image.disks) - 1)


def test_image_says_which_devices_are_guesses() -> None:
    image = parse(mapping("/dev/xvda", "system"), mapping("/dev/xvdc", "data"), mapping(None, "data"))
    assert {disk.device: disk.device_is_told for disk in image.data_disks} == {"xvdc": True, "xvdb": False}


@pytest.mark.parametrize("size", [100, "100"], ids=["number", "digits"])
def test_image_disk_size_is_in_bytes(size: object) -> None:
    assert parse(mapping("/dev/xvda", "system", size)).system_disk.size == 100 * GIB


def test_image_system_disk_falls_back_to_the_images_own_size() -> None:
    assert parse(mapping("/dev/xvda", "system", "")).system_disk.size == 20 * GIB
    assert parse().system_disk.size == 20 * GIB


@pytest.mark.parametrize(("word", "expected"), [(True, True), ("true", True), ("false", False), (None, False)])
def test_image_disk_encryption_is_read_as_boolean_and_as_word(word: object, expected: bool) -> None:
    assert parse(mapping("/dev/xvda", "system", Encrypted=word)).system_disk.encrypted is expected


def test_image_keeps_the_clouds_words() -> None:
    image = parse(
        Status="Creating", ImageOwnerAlias="self", OSType="Linux", OSName="CentOS  7.9 64位", ProductCode="cmjj1"
    )
    assert (image.status, image.owner_alias, image.os_type, image.product_code) == (
        "Creating",
        "self",
        "linux",
        "cmjj1",
    )
    assert image.os_name == "CentOS  7.9 64位"
