"""The one way to ECS: five actions through the vendor's SDK, typed, over HTTPS, one attempt a call.

Whatever the SDK and its transport raise leaves as an `EcsRefused` or `EcsUnavailable`.
"""

from __future__ import annotations

import json
import logging
import time
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.http import protocol_type
from aliyunsdkecs.request.v20140526.CancelTaskRequest import CancelTaskRequest
from aliyunsdkecs.request.v20140526.DescribeImagesRequest import DescribeImagesRequest
from aliyunsdkecs.request.v20140526.DescribeTaskAttributeRequest import DescribeTaskAttributeRequest
from aliyunsdkecs.request.v20140526.DescribeTasksRequest import DescribeTasksRequest
from aliyunsdkecs.request.v20140526.ExportImageRequest import ExportImageRequest

from image_export.answer import Answer, read_items, read_number, read_text, write_time
from image_export.image import parse_image
from image_export.request import ExportRequest
from image_export.sdk_failure import EcsRefused, EcsUnavailable, failure_from_sdk, refusal, unreadable_answer
from image_export.task import ExportTask, parse_task
from migration.cloud import Cloud, is_loopback
from migration.credentials import Credentials, CredentialSource
from migration.image import Image
from migration.proxy import check_proxies

# The SDK logs parameters at DEBUG and every error at ERROR, and gives one of its loggers a level and a
# handler on stderr of its own (aliyun-python-sdk-core 2.16.1). What matters is in our errors.
for _name in ("aliyunsdkcore", "aliyunsdkcore.client", "aliyunsdkcore.http.http_response"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

CONNECT_TIMEOUT = 10.0  # seconds
PAGE_SIZE = 100  # the largest (vendor's DescribeTasks and DescribeImages pages)
# DescribeImages shows Available images alone unless told otherwise; `ALL` is in some of the vendor's texts only.
EVERY_STATUS = ("ALL", "Creating,Waiting,Available,UnAvailable,CreateFailed,Deprecated")

IMAGE_IS_EXPORTING = "ImageIsExporting"
UNKNOWN_TASK = "InvalidTaskId.NotFound"
DRY_RUN_PASSED = "DryRunOperation"


class Ecs:
    """ECS in one region. Credentials are asked for before every call, so that a renewed token is used."""

    def __init__(self, cloud: Cloud, credentials: CredentialSource, *, read_timeout: float = 20.0) -> None:
        """Prepare; nothing is sent. `read_timeout` is the wait for one answer, in seconds."""
        self._region_id = cloud.region_id
        self._url = cloud.ecs_url
        self._source = credentials
        self._read_timeout = read_timeout
        self._client: tuple[Credentials, AcsClient] | None = None

    def describe_image(self, image_id: str) -> Image | None:
        """Return an image in whatever status, or None where the account sees no image of this id in the region."""
        for status in EVERY_STATUS:

            def request(page: int, status: str = status) -> DescribeImagesRequest:
                request = DescribeImagesRequest()
                request.set_ImageId(image_id)
                request.set_Status(status)
                request.set_PageNumber(page)
                request.set_PageSize(PAGE_SIZE)
                return request

            for answer in self._pages(request, "Images", "Image"):
                if read_text(answer, "ImageId") == image_id:
                    return parse_image(answer, self._region_id)
        return None

    def list_images(self, *, family: str = "", tags: Sequence[tuple[str, str]] = ()) -> tuple[Image, ...]:
        """Return the account's own images in whatever status, all pages, narrowed by what the cloud can narrow by.

        Names are compared by whoever asks: what the cloud makes of a part of a name differs between its pages.
        """
        for status in EVERY_STATUS:

            def request(page: int, status: str = status) -> DescribeImagesRequest:
                request = DescribeImagesRequest()
                request.set_ImageOwnerAlias("self")
                request.set_Status(status)
                if family:
                    request.set_ImageFamily(family)
                if tags:
                    request.set_Tags([{"Key": key, "Value": value} for key, value in tags])
                request.set_PageNumber(page)
                request.set_PageSize(PAGE_SIZE)
                return request

            answers = self._pages(request, "Images", "Image")
            if answers:
                # While one page follows another, images come and go, and one may be on two of them.
                images = {image.image_id: image for image in (parse_image(one, self._region_id) for one in answers)}
                return tuple(images.values())
        return ()

    def export_image(self, asked: ExportRequest, prefix: str, *, dry_run: bool = False) -> str:
        """Call ExportImage once and return the task's id.

        There is no ClientToken on this operation: after an error with `outcome_unknown`, look for the task
        before calling again. A dry run raises `EcsRefused` with the code `DryRunOperation` when it passes.
        """
        request = ExportImageRequest()
        request.set_ImageId(asked.image_id)
        request.set_OSSBucket(asked.bucket)
        if prefix:
            request.set_OSSPrefix(prefix)
        if asked.image_format not in {"", "raw"}:  # RAW is the default, and the parameter is not known everywhere
            request.set_ImageFormat(asked.image_format)
        if asked.role_name:
            request.set_RoleName(asked.role_name)
        if dry_run:
            request.set_DryRun("true")
        answer = self._call(request)
        # `TaskId` in the response table, `ExportTaskId` in the samples of older pages (vendor's ExportImage page).
        task_id = read_text(answer, "TaskId", "ExportTaskId")
        if not task_id:
            raise EcsUnavailable(
                f"ExportImage {asked.image_id}: the answer names no task",
                "run the same command again: it looks for the task first",
                request_id=read_text(answer, "RequestId"),
                outcome_unknown=True,
            )
        return task_id

    def describe_task(self, task_id: str) -> ExportTask:
        """Return a task with its progress, counters and related objects."""
        request = DescribeTaskAttributeRequest()
        request.set_TaskId(task_id)
        return parse_task(self._call(request))

    def find_export_tasks(self, since: float) -> tuple[ExportTask, ...]:
        """Return the region's export tasks created at Unix time `since` or later, without details, newest first.

        The action is compared here, not by the cloud: its spelling differs between the vendor's pages.
        """

        def request(page: int) -> DescribeTasksRequest:
            request = DescribeTasksRequest()
            request.set_StartTime(write_time(since))
            request.set_EndTime(write_time(time.time() + 24 * 3600))  # whatever the cloud's clock says
            request.set_PageNumber(page)
            request.set_PageSize(PAGE_SIZE)
            return request

        tasks = [parse_task(item) for item in self._pages(request, "TaskSet", "Task")]
        # A time may lack its seconds, so that the task seems up to a minute older than it is.
        found = (task for task in tasks if task.is_export and task.task_id and (task.created or since) >= since - 60)
        return tuple(sorted(found, key=lambda task: task.created or 0, reverse=True))

    def cancel_task(self, task_id: str) -> bool:
        """Ask for a task's end, which comes a little later; False where it had ended before."""
        request = CancelTaskRequest()
        request.set_TaskId(task_id)
        try:
            self._call(request)
        except EcsRefused as error:
            if error.code == "InvalidTaskId.IncorrectTaskStatus":
                return False
            raise
        return True

    def _pages(self, request: Callable[[int], Any], wrapper: str, name: str) -> list[Answer]:
        """Return the members of a set from all pages of an answer."""
        found: list[Answer] = []
        for page in range(1, 101):
            answer = self._call(request(page))
            items = read_items(answer, wrapper, name)
            found += items
            total = read_number(answer, "TotalCount")
            is_last = len(items) < PAGE_SIZE if total is None else len(found) >= total
            if is_last or not items:
                break
        return found

    def _call(self, request: Any) -> Answer:
        """Send one request once and return its JSON answer, or raise `EcsRefused` or `EcsUnavailable`."""
        subject = str(request.get_action_name())
        parts = urlsplit(self._url)
        # By default the SDK speaks plain http even to the real service; and it compares this constant by identity.
        request.set_protocol_type(protocol_type.HTTPS if parts.scheme == "https" else protocol_type.HTTP)
        request.set_endpoint(parts.netloc)
        request.set_connect_timeout(CONNECT_TIMEOUT)
        request.set_read_timeout(self._read_timeout)
        credentials = self._source()
        if not (credentials.access_key_id and credentials.access_key_secret):
            raise EcsRefused(
                f"{subject}: there is no access key to sign with", "`ferry doctor` says where they come from"
            )
        if credentials.security_token:
            request.add_query_param("SecurityToken", credentials.security_token)
        body, failure, client = b"", None, self._client_for(credentials)
        try:
            body = client.do_action_with_exception(request)
        except Exception as error:  # noqa: BLE001  # the SDK's own bugs surface here as IndexError, TypeError, …
            failure = failure_from_sdk(subject, self._url, error, credentials)
        finally:
            # The SDK leaves its sockets to the garbage collector. Seconds lie between our calls, so that a
            # connection kept open would rarely be of use.
            client.session.close()
        if failure is not None:  # raised out here, where there is no context that a traceback would print
            raise failure
        try:
            answer = json.loads(body)
        except ValueError:  # the SDK hands over any body of a 200
            answer = None
        if not isinstance(answer, dict):
            raise unreadable_answer(subject)
        # No success has a Code. With which status a dry run says that it passed is not documented: 200 may be it.
        if code := read_text(answer, "Code"):
            message, request_id = read_text(answer, "Message"), read_text(answer, "RequestId")
            raise refusal(subject, code, message, credentials, status=200, request_id=request_id)
        return answer

    def _client_for(self, credentials: Credentials) -> AcsClient:
        """Return the SDK's client for these keys; the one of the last call where they are the same."""
        if self._client is None or self._client[0] != credentials:
            # Key and secret as arguments, the token as a parameter: given as a `credential`, the SDK would
            # prefer ALIYUN_ACCESS_KEY_ID and …_SECRET from the environment to it, silently.
            client = AcsClient(
                credentials.access_key_id, credentials.access_key_secret, self._region_id,
                auto_retry=False, proxy=find_proxies(self._url),
            )  # fmt: skip
            self._client = (credentials, client)
        return self._client[1]


def find_proxies(url: str) -> dict[str, str | None]:
    """Return the proxy for `url` as the SDK wants it; it does not honour NO_PROXY by itself (2.16.1).

    None for both schemes says: no proxy. An empty mapping would make the SDK read the environment.
    """
    direct: dict[str, str | None] = {"http": None, "https": None}
    host = urlsplit(url).netloc
    if is_loopback(urlsplit(url).hostname or "") or urllib.request.proxy_bypass(host):
        return direct
    check_proxies()
    found = urllib.request.getproxies()
    return {scheme: found.get(scheme) for scheme in direct}
