"""Names of exported objects, and the pairing of objects and disks: complete, unambiguous, or a clear refusal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from image_export.objects import FoundObject, ObjectsMismatch, match_objects, parse_object_name
from migration.disk import DiskFormat, DiskRole
from migration.exported_object import ExportedObject, Packing
from migration.image import GIB, Image
from tests.image_export_fixtures import make_image

IMAGE_ID = "m-bp1image"
RAW, VPC, QCOW2, VMDK, VDI = DiskFormat.RAW, DiskFormat.VPC, DiskFormat.QCOW2, DiskFormat.VMDK, DiskFormat.VDI
NONE, GZIP, TAR = Packing.NONE, Packing.GZIP, Packing.TAR_GZIP


@pytest.mark.parametrize(
    ("key", "prefix", "disk", "form", "packing"),
    [
        # Really seen, in public examples.
        pytest.param("test_m-uf66lzx8rzvh3ht5tbz1_system.raw.tar.gz", "test", "system", RAW, TAR, id="seen-prefix"),
        pytest.param("m-2ze2gu2si5vs2n8en5mk_system.raw.tar.gz", "", "system", RAW, TAR, id="seen-no-prefix"),
        pytest.param("m-2ze6tciolfdoydrr6ze3_data_xvdb.raw.tar.gz", "", "xvdb", RAW, TAR, id="seen-data"),
        pytest.param("MYOSSPRE_m-23f8tcp8y_t-23ym6mvro.vhd", "MYOSSPRE", None, VPC, NONE, id="sample-of-the-page"),
        # Documented, or not to be ruled out.
        pytest.param("web-m-bp1image_system.raw.tar.gz", "web", "system", RAW, TAR, id="hyphen-after-prefix"),
        pytest.param("web-m-bp1image-data-xvdc.raw", "web", "xvdc", RAW, NONE, id="hyphens-everywhere"),
        pytest.param("m-bp1image_system.raw", "", "system", RAW, NONE, id="bare-raw"),
        pytest.param("m-bp1image_system.vhd.tar.gz", "", "system", VPC, TAR, id="vhd-packed"),
        pytest.param("m-bp1image_system.qcow2", "", "system", QCOW2, NONE, id="qcow2"),
        pytest.param("m-bp1image_system.vmdk.gz", "", "system", VMDK, GZIP, id="vmdk-gzip"),
        pytest.param("m-bp1image_system.vdi", "", "system", VDI, NONE, id="vdi"),
        pytest.param("m-bp1image_system.tar.gz", "", "system", RAW, TAR, id="format-not-named"),
        pytest.param("m-bp1image_data_vdb.raw", "", "xvdb", RAW, NONE, id="virtio-spelling"),
        pytest.param("m-bp1image_data_nvme2n1.raw", "", "xvdc", RAW, NONE, id="nvme-spelling"),
        pytest.param("m-bp1image_data_1.raw", "", "1", RAW, NONE, id="device-that-is-none"),
    ],
)
def test_object_name_is_understood(key: str, prefix: str, disk: str | None, form: DiskFormat, packing: Packing) -> None:
    name = parse_object_name(key)
    assert name is not None
    assert (name.prefix, name.format, name.packing) == (prefix, form, packing)
    assert (name.role, name.device) == {
        "system": (DiskRole.SYSTEM, ""),
        None: (None, ""),
    }.get(disk, (DiskRole.DATA, disk))


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("m-bp1image_system", id="no-suffix"),
        pytest.param("m-bp1image_system.raw.tar.gz.sha256", id="check-sum-beside-it"),
        pytest.param("backup/m-bp1image_system.raw", id="in-a-folder"),
        pytest.param("m-bp1image.raw", id="no-disk"),
        pytest.param("s-bp1image_system.raw", id="no-image"),
        pytest.param("m-bp1image_system.raw\n", id="line-end"),
        pytest.param("", id="empty"),
    ],
)
def test_object_name_is_not_taken_for_an_export(key: str) -> None:
    assert parse_object_name(key) is None


def found(key: str, **changes: Any) -> FoundObject:
    fields: dict[str, Any] = {"size": 10, "etag": "E", "last_modified": 1000, "storage_class": "Standard", **changes}
    return FoundObject(key=key, **fields)


SYSTEM = found("m-bp1image_system.raw.tar.gz")
XVDB = found("m-bp1image_data_xvdb.raw.tar.gz")
XVDC = found("m-bp1image_data_xvdc.raw.tar.gz")


def match(image: Image | None, *listing: FoundObject, **changes: Any) -> tuple[ExportedObject, ...]:
    return match_objects("exports", listing, image_id=IMAGE_ID, image=image, **changes)


def devices(exported: tuple[ExportedObject, ...]) -> list[tuple[str, str]]:
    return [(one.device, one.key) for one in exported]


def untold(image: Image) -> Image:
    return replace(image, disks=(image.disks[0], *(replace(disk, device_is_told=False) for disk in image.data_disks)))


def test_objects_are_matched_system_disk_first_with_sizes_of_the_image() -> None:
    exported = match(make_image("xvdb", "xvdc"), XVDC, XVDB, SYSTEM)
    assert devices(exported) == [("xvda", SYSTEM.key), ("xvdb", XVDB.key), ("xvdc", XVDC.key)]
    assert [one.disk_size for one in exported] == [40 * GIB, 100 * GIB, 100 * GIB]
    assert [one.role for one in exported] == [DiskRole.SYSTEM, DiskRole.DATA, DiskRole.DATA]


def test_objects_of_other_images_and_other_things_are_left_alone() -> None:
    others = [found("m-bp1other_system.raw.tar.gz"), found("readme.txt"), found("m-bp1image_system.raw.tar.gz.md5")]
    assert devices(match(make_image(), SYSTEM, *others)) == [("xvda", SYSTEM.key)]


@pytest.mark.parametrize(
    ("image", "listing", "words"),
    [
        pytest.param(make_image("xvdb"), [SYSTEM], ["missing: no object for the data disk xvdb"], id="data-missing"),
        pytest.param(make_image("xvdb"), [XVDB], ["missing: no object for the system disk"], id="system-missing"),
        pytest.param(make_image("xvdb"), [], ["no object of this image at all", "xvdb", "system disk"], id="nothing"),
        pytest.param(make_image("xvdb"), [SYSTEM, XVDB, XVDC], ["extra:", XVDC.key], id="extra"),
        pytest.param(
            make_image("xvdb"), [SYSTEM, XVDC], ["missing: no object for the data disk xvdb", "extra:", XVDC.key],
            id="another-disk",
        ),
        pytest.param(
            make_image(), [SYSTEM, found("m-bp1image_system.raw")],
            ["ambiguous: 2 objects for the system disk", "m-bp1image_system.raw (", SYSTEM.key], id="two-packings",
        ),
        pytest.param(
            make_image(), [SYSTEM, found("web_m-bp1image_system.raw.tar.gz")], ["ambiguous", "web_m-bp1image"],
            id="two-exports",
        ),
        pytest.param(
            make_image("xvdb"), [SYSTEM, XVDB, found("m-bp1image_data_vdb.raw")], ["ambiguous", "xvdb"], id="spellings"
        ),
        pytest.param(make_image(), [found(SYSTEM.key, size=0)], ["is empty"], id="empty"),
        pytest.param(make_image("xvdb"), [found("P_m-bp1image_t-1.vhd")], ["does not say which"], id="old-layout"),
        pytest.param(None, [SYSTEM, found("m-bp1image_data_1.raw")], ["does not name a disk"], id="no-image-no-device"),
        pytest.param(None, [XVDB], ["no object for the system disk"], id="no-image-no-system"),
    ],
)  # fmt: skip
def test_mismatch_names_what_is_wrong(image: Image | None, listing: list[FoundObject], words: list[str]) -> None:
    with pytest.raises(ObjectsMismatch) as caught:
        match(image, *listing)
    for word in words:
        assert word in caught.value.message
    assert caught.value.remedy


def test_objects_older_than_the_export_are_not_taken_and_said_to_be_there() -> None:
    with pytest.raises(ObjectsMismatch, match=r"m-bp1image_system.*is older than this export"):
        match(make_image(), found(SYSTEM.key, last_modified=999), not_before=1000)


def test_object_as_old_as_the_export_is_taken() -> None:
    assert match(make_image(), SYSTEM, not_before=1000)


def test_prefix_chooses_among_exports_of_one_image() -> None:
    other = found("web_m-bp1image_system.raw.tar.gz")
    assert devices(match(make_image(), SYSTEM, other, prefix="web")) == [("xvda", other.key)]
    assert devices(match(make_image(), SYSTEM, other, prefix="")) == [("xvda", SYSTEM.key)]


def test_object_named_by_the_task_wins_over_others_for_its_disk() -> None:
    other = found("web_m-bp1image_system.raw.tar.gz")
    assert devices(match(make_image(), SYSTEM, other, named=[other.key])) == [("xvda", other.key)]


def test_old_layout_fits_an_image_of_one_disk() -> None:
    assert devices(match(make_image(), found("P_m-bp1image_t-1.vhd"))) == [("xvda", "P_m-bp1image_t-1.vhd")]


def test_old_layout_does_not_count_beside_objects_that_name_their_disk() -> None:
    assert devices(match(make_image(), SYSTEM, found("P_m-bp1image_t-1.vhd"))) == [("xvda", SYSTEM.key)]


def test_nvme_names_are_matched_by_position_when_the_image_has_holes() -> None:
    first, second = found("m-bp1image_data_nvme1n1.raw"), found("m-bp1image_data_nvme2n1.raw")
    exported = match(make_image("xvdb", "xvdd"), SYSTEM, second, first)
    assert devices(exported)[1:] == [("xvdb", first.key), ("xvdd", second.key)]


def test_odd_word_for_a_device_is_matched_when_one_disk_is_left() -> None:
    odd = found("m-bp1image_data_1.raw")
    assert devices(match(make_image("xvdb"), SYSTEM, odd))[1:] == [("xvdb", odd.key)]


def test_objects_name_the_disks_when_the_image_told_no_devices() -> None:
    xvdd = found("m-bp1image_data_xvdd.raw.tar.gz")
    exported = match(untold(make_image("xvdb", "xvdc")), SYSTEM, XVDB, xvdd)
    assert devices(exported)[1:] == [("xvdb", XVDB.key), ("xvdd", xvdd.key)]


def test_incomplete_objects_are_refused_also_when_the_image_told_no_devices() -> None:
    with pytest.raises(ObjectsMismatch, match="missing"):
        match(untold(make_image("xvdb", "xvdc")), SYSTEM, XVDC)


def test_objects_alone_say_which_disks_there_are_when_there_is_no_image() -> None:
    exported = match(None, XVDC, SYSTEM)
    assert devices(exported) == [("xvda", SYSTEM.key), ("xvdc", XVDC.key)]
    assert [one.disk_size for one in exported] == [None, None]
