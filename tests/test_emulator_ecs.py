"""The emulated ECS, asked by the cloud's own SDK over a socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aliyunsdkcore.acs_exception.exceptions import ClientException, ServerException
from aliyunsdkcore.auth.credentials import StsTokenCredential
from aliyunsdkcore.utils import parameter_helper
from aliyunsdkecs.request.v20140526.DescribeImagesRequest import DescribeImagesRequest

from emulator.account import add_image, change_image
from emulator.server import EmulatedCloud, RelatedItems, Variants
from migration.disk import Disk
from tests.conftest import BUCKET, IMAGE_ID
from tests.emulator_clients import call_ecs, ecs_client, fetch, follow, send_ecs


def refusal(call: Callable[[], Any]) -> ServerException:
    with pytest.raises(ServerException) as caught:
        call()
    return caught.value


# Signatures


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_ecs_accepts_the_sdks_signature(emulated_cloud: EmulatedCloud, method: str) -> None:
    answer = call_ecs(emulated_cloud, "DescribeImages", ImageName="web-server", method=method)
    assert answer["TotalCount"] == 1


def test_ecs_accepts_parameters_in_a_form(emulated_cloud: EmulatedCloud) -> None:
    request = DescribeImagesRequest()
    request.add_body_params("ImageName", "a name with ~ * + / & = and 中文")
    assert send_ecs(ecs_client(emulated_cloud), request)["TotalCount"] == 0
    assert emulated_cloud.calls[-1].params["ImageName"] == "a name with ~ * + / & = and 中文"


def test_ecs_refuses_a_wrong_secret(emulated_cloud: EmulatedCloud) -> None:
    client = ecs_client(emulated_cloud, secret="not-the-secret")
    error = refusal(lambda: call_ecs(emulated_cloud, "DescribeImages", client=client))
    # What the SDK makes of SignatureDoesNotMatch when the string to sign is its own.
    assert (error.get_error_code(), error.get_http_status()) == ("InvalidAccessKeySecret", 400)
    assert emulated_cloud.access_key_secret not in str(error)


def test_ecs_refuses_a_parameter_changed_after_signing(
    emulated_cloud: EmulatedCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = ecs_client(emulated_cloud)
    sign = client._make_http_response

    def tamper(endpoint: str, request: Any, *rest: Any, **more: Any) -> Any:
        response = sign(endpoint, request, *rest, **more)
        response.set_url(response.get_url().replace("web-server", "db-server"))
        return response

    monkeypatch.setattr(client, "_make_http_response", tamper)
    error = refusal(lambda: call_ecs(emulated_cloud, "DescribeImages", client=client, ImageName="web-server"))
    assert error.get_error_code() == "SignatureDoesNotMatch"


def test_ecs_refuses_an_unknown_key(emulated_cloud: EmulatedCloud) -> None:
    client = ecs_client(emulated_cloud, ak="LTAI5tSomebodyElse")
    error = refusal(lambda: call_ecs(emulated_cloud, "DescribeImages", client=client))
    assert (error.get_error_code(), error.get_http_status()) == ("InvalidAccessKeyId.NotFound", 404)


def test_ecs_refuses_a_clock_that_is_off(emulated_cloud: EmulatedCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    # Patched: nobody sets this machine's clock for a test.
    monkeypatch.setattr(parameter_helper, "get_iso_8061_date", lambda: "2020-01-01T00:00:00Z")
    error = refusal(lambda: call_ecs(emulated_cloud, "DescribeImages"))
    assert error.get_error_code() == "InvalidTimeStamp.Expired"


def test_ecs_refuses_a_nonce_used_before(emulated_cloud: EmulatedCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameter_helper, "get_uuid", lambda: "the-same-every-time")
    call_ecs(emulated_cloud, "DescribeImages")
    error = refusal(lambda: call_ecs(emulated_cloud, "DescribeImages"))
    assert error.get_error_code() == "SignatureNonceUsed"


def test_ecs_refuses_an_unsigned_request(emulated_cloud: EmulatedCloud) -> None:
    url = f"http://{emulated_cloud.ecs_endpoint}/?Action=DescribeImages&Version=2014-05-26&RegionId=cn-hangzhou"
    body = fetch(url).json()
    assert (body["Code"], body["HostId"]) == ("MissingParameter", "ecs.cn-hangzhou.aliyuncs.com")


@pytest.mark.parametrize(
    ("token", "expired", "code"),
    [
        pytest.param("the-token", False, "", id="right-token"),
        pytest.param("another", False, "InvalidSecurityToken.Malformed", id="wrong-token"),
        pytest.param("the-token", True, "InvalidSecurityToken.Expired", id="expired-token"),
    ],
)
def test_ecs_checks_the_security_token(emulated_cloud: EmulatedCloud, token: str, expired: bool, code: str) -> None:
    emulated_cloud.variants = Variants(security_token="the-token", security_token_expired=expired)
    credential = StsTokenCredential(emulated_cloud.access_key_id, emulated_cloud.access_key_secret, token)
    client = ecs_client(emulated_cloud, ak=None, secret=None, credential=credential)
    if code:
        error = refusal(lambda: call_ecs(emulated_cloud, "DescribeImages", client=client))
        assert error.get_error_code() == code
    else:
        assert call_ecs(emulated_cloud, "DescribeImages", client=client)["TotalCount"] == 1


# DescribeImages


def test_describe_images_tells_the_disks_as_the_models_have_them(emulated_cloud: EmulatedCloud) -> None:
    (image,) = call_ecs(emulated_cloud, "DescribeImages", ImageId=IMAGE_ID)["Images"]["Image"]
    mappings = image["DiskDeviceMappings"]["DiskDeviceMapping"]
    assert [(m["Device"], m["Type"], m["Size"]) for m in mappings] == [
        ("/dev/xvda", "system", "1"), ("/dev/xvdb", "data", "1"), ("/dev/xvdc", "data", "1"),
    ]  # fmt: skip
    assert (image["Size"], image["IsSelfShared"], image["IsPublic"]) == (1, "", False)


def test_describe_images_shows_available_images_unless_asked_for_others(emulated_cloud: EmulatedCloud) -> None:
    change_image(emulated_cloud.folder, IMAGE_ID, status="Creating")
    assert call_ecs(emulated_cloud, "DescribeImages", ImageId=IMAGE_ID)["TotalCount"] == 0
    assert call_ecs(emulated_cloud, "DescribeImages", ImageId=IMAGE_ID, Status="Creating,Waiting")["TotalCount"] == 1
    assert call_ecs(emulated_cloud, "DescribeImages", ImageId=IMAGE_ID, Status="ALL")["TotalCount"] == 1


def test_describe_images_of_an_unknown_id_is_an_empty_list(emulated_cloud: EmulatedCloud) -> None:
    answer = call_ecs(emulated_cloud, "DescribeImages", ImageId="m-unknown")
    assert (answer["TotalCount"], answer["Images"]) == (0, {"Image": []})


def test_describe_images_of_another_region_shows_none_of_ours(emulated_cloud: EmulatedCloud) -> None:
    client = ecs_client(emulated_cloud, region_id="cn-shanghai")
    assert call_ecs(emulated_cloud, "DescribeImages", client=client)["TotalCount"] == 0


def test_describe_images_pages_through_all_images_once(
    emulated_cloud: EmulatedCloud, raw_disks: tuple[Disk, ...]
) -> None:
    for number in range(6):
        add_image(emulated_cloud.folder, f"m-page{number}", raw_disks[:1])
    pages = [call_ecs(emulated_cloud, "DescribeImages", PageSize=3, PageNumber=number) for number in (1, 2, 3, 4)]
    ids = [[image["ImageId"] for image in page["Images"]["Image"]] for page in pages]
    assert [len(page) for page in ids] == [3, 3, 1, 0]
    assert len({image_id for page in ids for image_id in page}) == pages[0]["TotalCount"] == 7


@pytest.mark.parametrize(
    ("params", "code"),
    [
        pytest.param({"PageSize": 101}, "InvalidParamter", id="page-too-large"),
        pytest.param({"PageNumber": 0}, "InvalidParamter", id="page-zero"),
        pytest.param({"ImageOwnerAlias": "mine"}, "InvalidImageOwnerAlias.ValueNotSupported", id="owner-alias"),
        pytest.param({"DryRun": True}, "DryRunOperation", id="dry-run"),
    ],
)
def test_describe_images_refuses(emulated_cloud: EmulatedCloud, params: dict[str, Any], code: str) -> None:
    assert refusal(lambda: call_ecs(emulated_cloud, "DescribeImages", **params)).get_error_code() == code


# Tasks


def test_task_runs_from_waiting_over_processing_to_finished(emulated_cloud: EmulatedCloud) -> None:
    emulated_cloud.variants = Variants(waiting_polls=2, export_polls=2)
    task_id = call_ecs(emulated_cloud, "ExportImage", ImageId=IMAGE_ID, OSSBucket=BUCKET)["TaskId"]
    first = call_ecs(emulated_cloud, "DescribeTaskAttribute", TaskId=task_id)
    assert (first["TaskStatus"], first["FinishedTime"], first["SupportCancel"]) == ("Waiting", "", True)
    assert "TaskProcess" not in first
    last = follow(emulated_cloud, task_id)
    assert (last["TaskStatus"], last["TaskProcess"], last["SupportCancel"]) == ("Finished", "100%", False)
    assert (last["TotalCount"], last["SuccessCount"], last["FailedCount"]) == (3, 3, 0)
    assert last["FinishedTime"].endswith("Z")


def test_paced_task_shows_growing_progress_while_its_time_passes(emulated_cloud: EmulatedCloud) -> None:
    emulated_cloud.variants = Variants(export_seconds=20)
    task_id = call_ecs(emulated_cloud, "ExportImage", ImageId=IMAGE_ID, OSSBucket=BUCKET)["TaskId"]
    seen = [0]
    while seen[-1] < 2:  # per cent: after 0.4 s
        answer = call_ecs(emulated_cloud, "DescribeTaskAttribute", TaskId=task_id)
        seen.append(int(answer.get("TaskProcess", "0%").rstrip("%")))
        assert answer["TaskStatus"] in {"Waiting", "Processing"}
    assert seen == sorted(seen)
    assert seen[-1] <= 99


def test_task_names_bucket_and_object_of_every_disk(emulated_cloud: EmulatedCloud) -> None:
    task_id = call_ecs(emulated_cloud, "ExportImage", ImageId=IMAGE_ID, OSSBucket=BUCKET, OSSPrefix="ferry")["TaskId"]
    operations = follow(emulated_cloud, task_id)["OperationProgressSet"]["OperationProgress"]
    items = [{i["Name"]: i["Value"] for i in o["RelatedItemSet"]["RelatedItem"]} for o in operations]
    assert {item["OSSBucket"] for item in items} == {BUCKET}
    assert [item["OSSObject"] for item in items] == [
        f"ferry_{IMAGE_ID}_system.raw.tar.gz",
        f"ferry_{IMAGE_ID}_data_xvdb.raw.tar.gz",
        f"ferry_{IMAGE_ID}_data_xvdc.raw.tar.gz",
    ]


def test_describe_tasks_filters_and_pages(emulated_cloud: EmulatedCloud) -> None:
    ids = []
    for _ in range(3):
        ids.append(call_ecs(emulated_cloud, "ExportImage", ImageId=IMAGE_ID, OSSBucket=BUCKET)["TaskId"])
        follow(emulated_cloud, ids[-1])
    answer = call_ecs(emulated_cloud, "DescribeTasks", TaskAction="ExportImage", TaskStatus="Finished", PageSize=2)
    assert (answer["TotalCount"], len(answer["TaskSet"]["Task"])) == (3, 2)
    by_id = call_ecs(emulated_cloud, "DescribeTasks", TaskIds=f"{ids[0]},{ids[2]}")
    assert {task["TaskId"] for task in by_id["TaskSet"]["Task"]} == {ids[0], ids[2]}
    for nothing in (
        {"TaskAction": "ImportImage"}, {"TaskStatus": "Failed"}, {"StartTime": "2099-01-01T00:00:00Z"},
        {"EndTime": "2015-01-01T00:00:00Z"},
    ):  # fmt: skip
        assert call_ecs(emulated_cloud, "DescribeTasks", **nothing)["TotalCount"] == 0


@pytest.mark.parametrize("action", ["DescribeTaskAttribute", "CancelTask"])
def test_unknown_task_is_refused(emulated_cloud: EmulatedCloud, action: str) -> None:
    error = refusal(lambda: call_ecs(emulated_cloud, action, TaskId="tsk-unknown"))
    assert (error.get_error_code(), error.get_http_status()) == ("InvalidTaskId.NotFound", 400)


def test_cancelled_task_becomes_deleted(emulated_cloud: EmulatedCloud) -> None:
    emulated_cloud.variants = Variants(waiting_polls=1_000_000)
    task_id = call_ecs(emulated_cloud, "ExportImage", ImageId=IMAGE_ID, OSSBucket=BUCKET)["TaskId"]
    assert set(call_ecs(emulated_cloud, "CancelTask", TaskId=task_id)) == {"RequestId"}
    assert follow(emulated_cloud, task_id)["TaskStatus"] == "Deleted"
    assert emulated_cloud.objects(BUCKET) == []


def test_finished_task_cannot_be_cancelled(emulated_cloud: EmulatedCloud) -> None:
    task_id = call_ecs(emulated_cloud, "ExportImage", ImageId=IMAGE_ID, OSSBucket=BUCKET)["TaskId"]
    follow(emulated_cloud, task_id)
    error = refusal(lambda: call_ecs(emulated_cloud, "CancelTask", TaskId=task_id))
    assert (error.get_error_code(), error.get_http_status()) == ("InvalidTaskId.IncorrectTaskStatus", 403)


# Variants of the answers


def test_answers_take_the_forms_of_the_older_pages(emulated_cloud: EmulatedCloud) -> None:
    emulated_cloud.variants = Variants(
        export_task_id_key=True, booleans_as_strings=True, times_without_seconds=True, old_action_names=True,
        progress_key="Progress", related_items=RelatedItems.SYSTEM_DISK, device_retired=True,
    )  # fmt: skip
    started = call_ecs(emulated_cloud, "ExportImage", ImageId=IMAGE_ID, OSSBucket=BUCKET)
    assert "TaskId" not in started
    answer = follow(emulated_cloud, started["ExportTaskId"])
    assert (answer["SupportCancel"], answer["TaskAction"], answer["Progress"]) == ("false", "EXPORT_IMAGE", "100%")
    assert len(answer["CreationTime"]) == len("2015-11-23T02:13Z")
    assert len(answer["OperationProgressSet"]["OperationProgress"]) == 1
    (image,) = call_ecs(emulated_cloud, "DescribeImages")["Images"]["Image"]
    assert image["IsPublic"] == "false"
    assert "Device" not in image["DiskDeviceMappings"]["DiskDeviceMapping"][0]


# Faults


def test_throttling_hits_the_first_calls_only(emulated_cloud: EmulatedCloud) -> None:
    emulated_cloud.variants = Variants(throttle_calls=2)
    for _ in range(2):
        error = refusal(lambda: call_ecs(emulated_cloud, "DescribeImages"))
        assert (error.get_error_code(), error.get_http_status()) == ("Throttling.User", 400)
    assert call_ecs(emulated_cloud, "DescribeImages")["TotalCount"] == 1


def test_fault_can_be_meant_for_one_action(emulated_cloud: EmulatedCloud) -> None:
    emulated_cloud.variants = Variants(unavailable_calls=1, faulty_action="DescribeTasks")
    call_ecs(emulated_cloud, "DescribeImages")
    error = refusal(lambda: call_ecs(emulated_cloud, "DescribeTasks"))
    assert (error.get_error_code(), error.get_http_status()) == ("ServiceUnavailable", 503)


def test_denied_action_is_forbidden_by_ram(emulated_cloud: EmulatedCloud) -> None:
    emulated_cloud.variants = Variants(denied_actions=frozenset({"ecs:DescribeTasks"}))
    error = refusal(lambda: call_ecs(emulated_cloud, "DescribeTasks"))
    assert (error.get_error_code(), error.get_http_status()) == ("Forbidden.RAM", 403)


@pytest.mark.parametrize(
    ("variants", "tasks"),
    [
        pytest.param(Variants(lose_export_replies=1, waiting_polls=99), 1, id="after-the-task-was-made"),
        pytest.param(Variants(lose_export_calls=1), 0, id="before-the-task-was-made"),
    ],
)
def test_lost_export_cuts_the_connection(emulated_cloud: EmulatedCloud, variants: Variants, tasks: int) -> None:
    emulated_cloud.variants = variants
    with pytest.raises(ClientException, match="reset"):
        call_ecs(emulated_cloud, "ExportImage", ImageId=IMAGE_ID, OSSBucket=BUCKET)
    assert call_ecs(emulated_cloud, "DescribeTasks")["TotalCount"] == tasks
    assert emulated_cloud.count("ExportImage") == 1


@pytest.mark.parametrize(
    ("action", "params", "code"),
    [
        pytest.param("DescribeImages", {"version": "2099-01-01"}, "InvalidAction.NotFound", id="version"),
        pytest.param("DescribeRegions", {}, "InvalidAction.NotFound", id="action"),
    ],
)
def test_ecs_refuses_what_it_does_not_play(
    emulated_cloud: EmulatedCloud, action: str, params: dict[str, Any], code: str
) -> None:
    assert refusal(lambda: call_ecs(emulated_cloud, action, **params)).get_error_code() == code


def test_ecs_refuses_a_region_that_does_not_exist(emulated_cloud: EmulatedCloud) -> None:
    client = ecs_client(emulated_cloud, region_id="cn-atlantis")
    error = refusal(lambda: call_ecs(emulated_cloud, "DescribeImages", client=client))
    assert error.get_error_code() == "InvalidRegionId.NotFound"
