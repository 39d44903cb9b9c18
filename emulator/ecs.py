"""The ECS API as an ASGI application: signatures, faults, the five actions a migration uses, JSON answers.

Answers are JSON whatever `Format` asks for: the SDK always asks for JSON (measured, aliyun-python-sdk-core 2.16.1).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from emulator.account import REGIONS
from emulator.connections import Connections
from emulator.ecs_errors import EcsError, missing
from emulator.emulation import Emulation
from emulator.exports import export_image
from emulator.images import describe_images, paging, strings_for_booleans
from emulator.rpc_signature import RpcGate
from emulator.tasks import ExportTask, TaskBoard, TaskOperation, TaskStatus, format_time
from emulator.variants import RelatedItems

API_VERSION = "2014-05-26"
_REQUIRED = {
    "DescribeImages": ("RegionId",),
    "ExportImage": ("RegionId", "ImageId", "OSSBucket"),
    "DescribeTasks": ("RegionId",),
    "DescribeTaskAttribute": ("RegionId", "TaskId"),
    "CancelTask": ("RegionId", "TaskId"),
}


class EcsApi:
    """One account's ECS in all regions."""

    def __init__(self, emulation: Emulation, board: TaskBoard, connections: Connections) -> None:
        self._emulation, self._board, self._connections = emulation, board, connections
        self._gate = RpcGate(emulation)
        self._actions: dict[str, Callable[[Mapping[str, str]], dict[str, Any]]] = {
            "DescribeImages": lambda params: describe_images(emulation, params),
            "ExportImage": lambda params: export_image(emulation, board, params),
            "DescribeTasks": self._describe_tasks,
            "DescribeTaskAttribute": self._describe_task_attribute,
            "CancelTask": self._cancel_task,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        form = parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True)
        params = {**request.query_params, **dict(form)}
        request_id = str(uuid.uuid4()).upper()
        self._emulation.note("ecs", params.get("Action", ""), params)
        is_export = params.get("Action") == "ExportImage"
        if is_export and self._emulation.strikes("lose_export_calls"):
            await self._connections.abort(scope, receive)
            return
        try:
            # Off the event loop: answers read the folder.
            answer = await asyncio.to_thread(self._answer, request.method, params)
        except EcsError as error:
            response = JSONResponse(self._error_body(error, request_id, params), error.status)
        else:
            if is_export and self._emulation.strikes("lose_export_replies"):
                await self._connections.abort(scope, receive)
                return
            response = JSONResponse({"RequestId": request_id, **answer})
        await response(scope, receive, send)

    def _answer(self, method: str, params: Mapping[str, str]) -> dict[str, Any]:
        if method not in {"GET", "POST"}:
            raise EcsError(405, "UnsupportedHTTPMethod", f"This API does not support {method}.")
        self._gate.check(method, params)
        action = params.get("Action", "")
        self._break_down(action)
        if action not in self._actions or params.get("Version") != API_VERSION:
            raise EcsError(
                404, "InvalidAction.NotFound", "Specified api is not found, please check your url and method."
            )
        for name in _REQUIRED[action]:
            if not params.get(name):
                raise missing(name)
        if params["RegionId"] not in REGIONS:
            raise EcsError(400, "InvalidRegionId.NotFound", "The specified RegionId does not exist.")
        return self._actions[action](params)

    def _break_down(self, action: str) -> None:
        """Raise the errors that have nothing to do with what was asked."""
        emulation = self._emulation
        variants = emulation.variants
        if variants.faulty_action in {"", action}:
            if emulation.strikes("throttle_calls"):
                raise EcsError(400, variants.throttle_code, "Request was denied due to user flow control.")
            if emulation.strikes("unavailable_calls"):
                message = "The request has failed due to a temporary failure of the server."
                raise EcsError(503, "ServiceUnavailable", message)
        if f"ecs:{action}" in variants.denied_actions:
            raise EcsError(403, "Forbidden.RAM", "User not authorized to operate on the specified resource.")

    def _error_body(self, error: EcsError, request_id: str, params: Mapping[str, str]) -> dict[str, str]:
        """Return the body of an error answer (vendor's error troubleshooting page)."""
        return {
            "RequestId": request_id,
            "HostId": f"ecs.{params.get('RegionId') or self._emulation.settings.region_id}.aliyuncs.com",
            "Code": error.code,
            "Message": error.message,
            "Recommend": f"https://api.aliyun.com/troubleshoot?q={error.code}&product=Ecs&requestId={request_id}",
        }

    def _describe_tasks(self, params: Mapping[str, str]) -> dict[str, Any]:
        """Answer DescribeTasks: no progress and no object names here (vendor's page)."""
        wanted = [word for word in params.get("TaskIds", "").split(",") if word]
        action, status = params.get("TaskAction", ""), params.get("TaskStatus", "")
        tasks = [
            task for task in sorted(self._board.tasks.values(), key=lambda task: task.created, reverse=True)
            if task.region_id == params["RegionId"]
            and (not wanted or task.task_id in wanted)
            and action in {"", "ExportImage"}
            and status in {"", task.status}
            and params.get("StartTime", "") <= format_time(task.created) <= (params.get("EndTime") or "~")
        ]  # fmt: skip
        page, size = paging(params)
        return {
            "PageNumber": page, "PageSize": size, "TotalCount": len(tasks), "RegionId": params["RegionId"],
            "TaskSet": {"Task": [self._summary(task) for task in tasks[(page - 1) * size : page * size]]},
        }  # fmt: skip

    def _describe_task_attribute(self, params: Mapping[str, str]) -> dict[str, Any]:
        """Answer DescribeTaskAttribute. One operation for each disk is a guess: the vendor's sample has one disk."""
        task = self._find(self._board.look(params["TaskId"]), params)
        named = {
            RelatedItems.EVERY_DISK: task.operations,
            RelatedItems.SYSTEM_DISK: task.operations[:1],
            RelatedItems.NONE: (),
        }[self._emulation.variants.related_items]
        succeeded = sum(operation.succeeded for operation in task.operations)
        # A task that was cut short has operations that neither succeeded nor failed.
        failed = sum(bool(operation.error_code) for operation in task.operations)
        answer = {
            **self._summary(task),
            self._emulation.variants.progress_key: f"{task.progress}%",
            "RegionId": task.region_id,
            "TotalCount": len(task.operations), "SuccessCount": succeeded, "FailedCount": failed,
            "OperationProgressSet": {"OperationProgress": [_describe_operation(task, named_) for named_ in named]},
        }  # fmt: skip
        if task.status is TaskStatus.WAITING:  # likely absent while it waits
            del answer[self._emulation.variants.progress_key]
        return answer

    def _cancel_task(self, params: Mapping[str, str]) -> dict[str, Any]:
        """Answer CancelTask: the task ends a little later (likely), or has ended already."""
        task = self._find(self._board.tasks.get(params["TaskId"]), params)
        if not self._board.cancel(task.task_id):
            message = "The specified task is not in a state in which it can be cancelled."
            raise EcsError(403, "InvalidTaskId.IncorrectTaskStatus", message)
        return {}

    def _find(self, task: ExportTask | None, params: Mapping[str, str]) -> ExportTask:
        if task is None or task.region_id != params["RegionId"]:
            raise EcsError(400, "InvalidTaskId.NotFound", "The specified TaskId does not exist.")
        return task

    def _summary(self, task: ExportTask) -> dict[str, Any]:
        variants = self._emulation.variants
        with_seconds = not variants.times_without_seconds
        summary = {
            "TaskId": task.task_id,
            "TaskAction": "EXPORT_IMAGE" if variants.old_action_names else "ExportImage",
            "TaskStatus": str(task.status),
            "SupportCancel": task.status.is_running,
            "CreationTime": format_time(task.created, with_seconds=with_seconds),
            "FinishedTime": format_time(task.finished, with_seconds=with_seconds) if task.finished else "",
        }
        if variants.booleans_as_strings:
            summary = strings_for_booleans(summary)
        return summary


def _describe_operation(task: ExportTask, operation: TaskOperation) -> dict[str, Any]:
    has_failed = operation.error_code or task.status in {TaskStatus.FAILED, TaskStatus.DELETED}
    status = "Success" if operation.succeeded else ("Failed" if has_failed else "Processing")
    items = {"OSSBucket": task.bucket, "OSSObject": operation.key, "ImageFormat": task.format}
    return {
        "OperationStatus": status, "ErrorCode": operation.error_code, "ErrorMsg": operation.error_message,
        "RelatedItemSet": {"RelatedItem": [{"Name": name, "Value": value} for name, value in items.items()]},
    }  # fmt: skip
