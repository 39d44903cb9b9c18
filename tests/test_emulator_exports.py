"""ExportImage of the emulated ECS: what it refuses, and that the objects hold the disks."""

from __future__ import annotations

import io
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest
from aliyunsdkcore.acs_exception.exceptions import ServerException

from emulator.account import AccountSettings, add_image, change_image, read_settings, write_settings
from emulator.ecs_errors import EXPORT_ERRORS
from emulator.object_store import CRC64, add_bucket
from emulator.server import EmulatedCloud, ExportPacking, TarMember, TaskFailure, Variants
from emulator.server import emulated_cloud as run_emulated_cloud
from migration.disk import Disk
from migration.run import run
from tests.conftest import BUCKET, FAR_BUCKET, IMAGE_ID
from tests.emulator_clients import call_ecs, ecs_client, follow, oss_bucket


def export(cloud: EmulatedCloud, **params: Any) -> dict[str, Any]:
    """Export the image, wait for the end, and return the last answer."""
    started = call_ecs(cloud, "ExportImage", **{"ImageId": IMAGE_ID, "OSSBucket": BUCKET, **params})
    return follow(cloud, started["TaskId"])


def refused(cloud: EmulatedCloud, **params: Any) -> tuple[int, str, str]:
    with pytest.raises(ServerException) as caught:
        call_ecs(cloud, "ExportImage", **{"ImageId": IMAGE_ID, "OSSBucket": BUCKET, **params})
    return caught.value.get_http_status(), caught.value.get_error_code(), caught.value.get_error_msg()


# Objects


@pytest.mark.parametrize("form", list(TarMember), ids=str)
def test_export_packs_every_disk_into_an_archive_of_its_own(
    emulated_cloud: EmulatedCloud, raw_disks: tuple[Disk, ...], form: TarMember
) -> None:
    emulated_cloud.variants = Variants(tar_member=form)
    export(emulated_cloud)
    for disk in raw_disks:
        name = f"{IMAGE_ID}_{disk.stem}.raw"
        packed = oss_bucket(emulated_cloud, BUCKET).get_object(f"{name}.tar.gz").read()
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
            stream = archive.extractfile(name)
            assert stream is not None
            assert stream.read() == disk.path.read_bytes()


def test_export_can_leave_bare_raw_objects(emulated_cloud: EmulatedCloud, raw_disks: tuple[Disk, ...]) -> None:
    emulated_cloud.variants = Variants(packing=ExportPacking.RAW, joiner="-")
    export(emulated_cloud, OSSPrefix="Demo")
    for disk in raw_disks:
        found = oss_bucket(emulated_cloud, BUCKET).get_object(f"Demo-{IMAGE_ID}_{disk.stem}.raw")
        assert found.read() == disk.path.read_bytes()


def test_exported_object_is_a_multipart_one_with_the_crc_of_its_bytes(emulated_cloud: EmulatedCloud) -> None:
    export(emulated_cloud)
    found = oss_bucket(emulated_cloud, BUCKET).get_object(f"{IMAGE_ID}_system.raw.tar.gz")
    assert found.headers["x-oss-object-type"] == "Multipart"
    assert found.headers["etag"].endswith('-1"')
    assert int(found.headers["x-oss-hash-crc64ecma"]) == CRC64.calc(found.read())


@pytest.mark.parametrize("image_format", ["qcow2", "vhd", "vmdk", "vdi"])
def test_export_in_another_format_holds_the_disk_where_the_region_has_formats(
    tmp_path: Path, raw_disks: tuple[Disk, ...], image_format: str
) -> None:
    folder = tmp_path / "singapore"
    write_settings(folder, AccountSettings(region_id="ap-southeast-1"))
    add_image(folder, IMAGE_ID, raw_disks[:1])
    add_bucket(folder, BUCKET)
    with run_emulated_cloud(folder) as cloud:
        assert export(cloud, ImageFormat=image_format)["TaskStatus"] == "Finished"
        target = tmp_path / f"disk.{image_format}"
        oss_bucket(cloud, BUCKET).get_object_to_file(f"{IMAGE_ID}_system.{image_format}", str(target))
    run(["qemu-img", "compare", "-F", "raw", "-f", {"vhd": "vpc"}.get(image_format, image_format), target,
         raw_disks[0].path])  # fmt: skip


def test_format_is_ignored_or_refused_where_the_region_has_none(emulated_cloud: EmulatedCloud) -> None:
    export(emulated_cloud, ImageFormat="qcow2")
    assert all(found.key.endswith(".raw.tar.gz") for found in emulated_cloud.objects(BUCKET))
    emulated_cloud.variants = Variants(refuse_unsupported_format=True)
    assert refused(emulated_cloud, ImageFormat="qcow2")[:2] == (400, "InvalidImageFormat.RegionNotSupported")


def test_cancel_while_packing_leaves_no_half_object(emulated_cloud: EmulatedCloud) -> None:
    emulated_cloud.variants = Variants(export_polls=1_000_000)
    task_id = call_ecs(emulated_cloud, "ExportImage", ImageId=IMAGE_ID, OSSBucket=BUCKET)["TaskId"]
    call_ecs(emulated_cloud, "CancelTask", TaskId=task_id)
    assert follow(emulated_cloud, task_id)["TaskStatus"] == "Deleted"
    for found in emulated_cloud.objects(BUCKET):  # those of disks that were done
        assert CRC64.calc(oss_bucket(emulated_cloud, BUCKET).get_object(found.key).read()) == found.crc64
    assert list((emulated_cloud.folder / "buckets" / BUCKET / "uploads").glob("*")) == []


@pytest.mark.parametrize(
    ("failure", "status"), [(TaskFailure.FAILED, "Failed"), (TaskFailure.FINISHED, "Finished")], ids=str
)
def test_failing_task_counts_the_disk_that_failed(
    emulated_cloud: EmulatedCloud, failure: TaskFailure, status: str
) -> None:
    emulated_cloud.variants = Variants(failure=failure)
    answer = export(emulated_cloud)
    assert (answer["TaskStatus"], answer["SuccessCount"], answer["FailedCount"]) == (status, 2, 1)
    last = answer["OperationProgressSet"]["OperationProgress"][-1]
    assert (last["OperationStatus"], last["ErrorCode"]) == ("Failed", "ExportImageFailed")
    assert len(emulated_cloud.objects(BUCKET)) == 2


def test_restart_keeps_finished_objects_and_fails_unfinished_tasks(account: Path) -> None:
    with run_emulated_cloud(account) as cloud:
        export(cloud, OSSPrefix="first")
        cloud.variants = Variants(waiting_polls=1_000_000)
        unfinished = call_ecs(cloud, "ExportImage", ImageId=IMAGE_ID, OSSBucket=BUCKET)["TaskId"]
    with run_emulated_cloud(account) as cloud:
        assert len(cloud.objects(BUCKET)) == 3
        assert call_ecs(cloud, "DescribeTaskAttribute", TaskId=unfinished)["TaskStatus"] == "Failed"
        assert call_ecs(cloud, "DescribeTasks", TaskStatus="Finished")["TotalCount"] == 1


# Refusals


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        pytest.param({"ImageId": "m-unknown"}, (404, "InvalidImageId.NotFound"), id="image"),
        pytest.param({"OSSBucket": "no-such-bucket"}, (400, "InvalidOSSBucket.NotFound"), id="bucket"),
        pytest.param({"OSSBucket": FAR_BUCKET}, (400, "InvalidOSSBucket.NotMatched"), id="bucket-region"),
        pytest.param({"OSSPrefix": "with-hyphen"}, (400, "InvalidOSSPrefix.Malformed"), id="prefix-character"),
        pytest.param({"OSSPrefix": "x" * 31}, (400, "InvalidOSSPrefix.Malformed"), id="prefix-length"),
        pytest.param({"ImageFormat": "RAW"}, (400, "InvalidImageFormat.Malformed"), id="format"),
        pytest.param({"RoleName": "MyRole"}, (403, "NoSetRoletoECSServiceAcount"), id="role-name"),
        pytest.param({"ImageId": ""}, (400, "MissingParameter"), id="no-image"),
        pytest.param({"OSSBucket": ""}, (400, "MissingParameter"), id="no-bucket"),
        pytest.param({"DryRun": True}, (400, "DryRunOperation"), id="dry-run"),
    ],
)
def test_export_refuses_a_request(
    emulated_cloud: EmulatedCloud, params: dict[str, Any], expected: tuple[int, str]
) -> None:
    assert refused(emulated_cloud, **params)[:2] == expected
    assert emulated_cloud.tasks == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"status": "Creating"}, (400, "IncorrectImageStatus"), id="status"),
        pytest.param({"product_code": "cmjj0001"}, (403, "ImageNotSupported"), id="marketplace"),
        pytest.param({"owner_alias": "others"}, (403, "InvalidImageCategory.NotSupported"), id="owner"),
        pytest.param({"os_type": "windows"}, (403, "InvalidImageLicense.NotSupported"), id="windows"),
        pytest.param({"region_id": "cn-shanghai"}, (404, "InvalidImageId.NotFound"), id="region"),
    ],
)
def test_export_refuses_an_image(
    emulated_cloud: EmulatedCloud, fields: dict[str, Any], expected: tuple[int, str]
) -> None:
    change_image(emulated_cloud.folder, IMAGE_ID, **fields)
    assert refused(emulated_cloud)[:2] == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"encrypted": True}, (400, "ImageNotSupported"), id="encrypted"),
        pytest.param({"size_gib": 2049}, (400, "InvalidImage.DiskAmountOrSize"), id="size"),
    ],
)
def test_export_refuses_a_data_disk(
    emulated_cloud: EmulatedCloud, fields: dict[str, Any], expected: tuple[int, str]
) -> None:
    image = change_image(emulated_cloud.folder, IMAGE_ID)
    disks = [disk.model_dump() for disk in image.disks]
    disks[1].update(fields)
    change_image(emulated_cloud.folder, IMAGE_ID, disks=disks)
    assert refused(emulated_cloud)[:2] == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param({"export_enabled": False}, (403, "UserNotInTheWhiteList"), id="white-list"),
        pytest.param({"export_role": False}, (403, "NoSetRoletoECSServiceAcount"), id="role"),
        pytest.param({"max_data_disks": 1}, (400, "InvalidImage.DiskAmountOrSize"), id="data-disks"),
        pytest.param({"concurrent_exports": 0}, (403, "ConcurrentQuotaExceed.ExportImage"), id="concurrent"),
        pytest.param({"weekly_exports": 0}, (403, "WeeklyQuotaExceed.ExportImage"), id="weekly"),
    ],
)
def test_export_refuses_an_account(account: Path, settings: dict[str, Any], expected: tuple[int, str]) -> None:
    write_settings(account, read_settings(account).model_copy(update=settings))
    with run_emulated_cloud(account) as cloud:
        assert refused(cloud)[:2] == expected


@pytest.mark.parametrize("key", list(EXPORT_ERRORS))
def test_export_gives_every_error_of_the_page_on_demand(emulated_cloud: EmulatedCloud, key: str) -> None:
    change_image(emulated_cloud.folder, IMAGE_ID, refuse_export=key)
    status, message = EXPORT_ERRORS[key]
    assert refused(emulated_cloud) == (status, key.partition("/")[0], message)


def test_image_is_exported_by_one_task_at_a_time(emulated_cloud: EmulatedCloud) -> None:
    emulated_cloud.variants = Variants(waiting_polls=1_000_000)
    outcomes: list[str] = []

    def call() -> None:
        try:
            call_ecs(
                emulated_cloud, "ExportImage", ImageId=IMAGE_ID, OSSBucket=BUCKET, client=ecs_client(emulated_cloud)
            )
        except ServerException as error:
            outcomes.append(error.get_error_code())
        else:
            outcomes.append("started")

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["ImageIsExporting"] * 3 + ["started"]
