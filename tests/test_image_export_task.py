"""Export tasks: every shape an answer comes in, and when a Finished task is not believed."""

from __future__ import annotations

from typing import Any

import pytest

from image_export.task import TaskState, find_doubts, parse_task

# The vendor's DescribeTaskAttribute sample.
SAMPLE: dict[str, Any] = {
    "TaskId": "t-ce946ntx4wr", "TaskAction": "ExportImage", "TaskStatus": "Finished", "TaskProcess": "100%",
    "RegionId": "cn-hangzhou", "RequestId": "R", "SupportCancel": True,
    "TotalCount": 1, "SuccessCount": 1, "FailedCount": 0,
    "CreationTime": "2015-11-23T02:13Z", "FinishedTime": "2015-11-23T02:19Z",
    "OperationProgressSet": {"OperationProgress": [{
        "OperationStatus": "Success", "ErrorCode": "", "ErrorMsg": "",
        "RelatedItemSet": {"RelatedItem": [
            {"Name": "OSSBucket", "Value": "image-temp"},
            {"Name": "OSSObject", "Value": "MYOSSPRE_m-23f8tcp8y_t-23ym6mvro.vhd"},
            {"Name": "ImageFormat", "Value": "vhd"}]}}]},
}  # fmt: skip


def test_task_of_the_vendors_sample_is_read_whole() -> None:
    task = parse_task(SAMPLE)
    assert (task.task_id, task.state, task.percent, task.supports_cancel) == (
        "t-ce946ntx4wr",
        TaskState.FINISHED,
        100,
        True,
    )
    assert (task.created, task.finished) == (1448244780, 1448245140)
    assert task.related("OSSObject") == ("MYOSSPRE_m-23f8tcp8y_t-23ym6mvro.vhd",)
    assert find_doubts(task) == ()


@pytest.mark.parametrize(
    ("field", "value", "attribute", "expected"),
    [
        pytest.param("SupportCancel", "true", "supports_cancel", True, id="boolean-as-word"),
        pytest.param("SupportCancel", "False", "supports_cancel", False, id="boolean-as-capitalised-word"),
        pytest.param("SupportCancel", None, "supports_cancel", None, id="boolean-null"),
        pytest.param("CreationTime", "2018-03-06T07:33:51Z", "created", 1520321631, id="time-with-seconds"),
        pytest.param("CreationTime", "2018-03-06T07:33:51.123Z", "created", 1520321631, id="time-with-milliseconds"),
        pytest.param("FinishedTime", "", "finished", None, id="time-empty-while-running"),
        pytest.param("FinishedTime", "2018-13-45T07:33Z", "finished", None, id="time-that-is-none"),
        pytest.param("TaskProcess", "", "percent", None, id="progress-empty-while-waiting"),
        pytest.param("TaskProcess", 37, "percent", 37, id="progress-as-number"),
        pytest.param("TaskProcess", "37.5%", "percent", 37, id="progress-with-decimals"),
        pytest.param("TaskProcess", "250%", "percent", 100, id="progress-beyond-the-end"),
        pytest.param("TaskProcess", "soon", "percent", None, id="progress-in-words"),
        pytest.param("TotalCount", "3", "total", 3, id="count-as-digits"),
        pytest.param("OperationProgressSet", {}, "operations", (), id="set-empty"),
        pytest.param("OperationProgressSet", {"OperationProgress": []}, "operations", (), id="set-of-none"),
        pytest.param("OperationProgressSet", None, "operations", (), id="set-null"),
        pytest.param("TaskStatus", "Waiting", "state", TaskState.WAITING, id="queued"),
        pytest.param("TaskStatus", "FAILED", "state", TaskState.FAILED, id="status-in-capitals"),
        pytest.param("TaskStatus", "Contemplating", "state", TaskState.UNKNOWN, id="status-nobody-knows"),
    ],
)
def test_task_field_is_read_in_every_shape(field: str, value: object, attribute: str, expected: object) -> None:
    assert getattr(parse_task({**SAMPLE, field: value}), attribute) == expected


def test_task_of_nothing_is_no_error() -> None:
    task = parse_task({})
    assert task.state is TaskState.UNKNOWN
    assert not task.state.is_settled


def test_task_progress_falls_back_to_the_other_name() -> None:
    answer = {name: value for name, value in SAMPLE.items() if name != "TaskProcess"}
    assert parse_task({**answer, "Progress": "12%"}).percent == 12


@pytest.mark.parametrize("wrapped", [True, False], ids=["wrapped", "bare"])
def test_task_operations_are_read_whether_the_set_is_wrapped_or_not(wrapped: bool) -> None:
    operation = SAMPLE["OperationProgressSet"]["OperationProgress"][0]
    holder = {"OperationProgress": operation} if wrapped else [operation]
    assert parse_task({**SAMPLE, "OperationProgressSet": holder}).related("OSSBucket") == ("image-temp",)


@pytest.mark.parametrize("action", ["ExportImage", "EXPORT_IMAGE", "export_image"])
def test_task_is_an_export_in_every_spelling(action: str) -> None:
    assert parse_task({**SAMPLE, "TaskAction": action}).is_export


def test_task_of_an_import_is_no_export() -> None:
    assert not parse_task({**SAMPLE, "TaskAction": "IMPORT_IMAGE"}).is_export


def with_operation(**changes: Any) -> dict[str, Any]:
    operation = {**SAMPLE["OperationProgressSet"]["OperationProgress"][0], **changes}
    return {**SAMPLE, "OperationProgressSet": {"OperationProgress": [operation]}}


@pytest.mark.parametrize(
    ("answer", "doubt"),
    [
        pytest.param({**SAMPLE, "FailedCount": 1}, "FailedCount is 1", id="one-failed"),
        pytest.param({**SAMPLE, "SuccessCount": 2, "TotalCount": 3}, "SuccessCount is 2 of 3", id="one-missing"),
        pytest.param(with_operation(ErrorCode="DiskBroken", ErrorMsg="bad"), "DiskBroken bad", id="error-code"),
        pytest.param(with_operation(OperationStatus="Failed"), "operation says Failed", id="operation-failed"),
        pytest.param(
            {**with_operation(OperationStatus="Perhaps"), "SuccessCount": None},
            "Perhaps",
            id="odd-status-nobody-vouches-for",
        ),
    ],
)
def test_finished_task_is_doubted(answer: dict[str, Any], doubt: str) -> None:
    assert doubt in " ".join(find_doubts(parse_task(answer)))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(with_operation(OperationStatus="Completed"), id="odd-status-the-counters-vouch-for"),
        pytest.param(with_operation(ErrorCode="0"), id="error-code-that-is-none"),
        pytest.param({"TaskId": "t-1", "TaskStatus": "Finished"}, id="nothing-but-the-status"),
    ],
)
def test_finished_task_is_not_doubted(answer: dict[str, Any]) -> None:
    assert find_doubts(parse_task(answer)) == ()


def test_finished_task_shows_no_control_characters_of_an_operation() -> None:
    (doubt,) = find_doubts(parse_task(with_operation(ErrorCode="Bad", ErrorMsg="\x1b[2Jgone")))
    assert "\x1b" not in doubt
