"""What each error code of the ECS API means for the operator: what to do, and whether time alone mends it.

Codes, statuses and meanings of ExportImage: vendor's ExportImage page. The general ones: vendor's pages
on common errors, throttling and STS; their exact statuses vary, so codes are matched, by prefix where
the cloud has variants. Spelling is the cloud's own, `NoSetRoletoECSServiceAcount` included.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

EXPORT_ROLE = "AliyunECSImageExportDefaultRole"


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do about an error. `message` narrows a code whose meaning only its text tells.

    A `code` that ends in `*` stands for everything that begins so. `outcome_unknown`: the call may have
    been carried out although it failed.
    """

    code: str
    remedy: str
    transient: bool = False
    outcome_unknown: bool = False
    message: str = ""  # regular expression, searched for without regard to case


COPY_IMAGE = "copy it to a custom image of your own first (CopyImage), then export the copy"
_WAIT = "wait a little, then run the same command again"
_CLOCK = "this machine's clock is more than 15 minutes off: set it (timedatectl), then run again"
_KEY = "check which credentials `ferry doctor` finds"
_ACCOUNT = "the account is locked or owes money: see the billing console"
_TOKEN = "get new temporary credentials (or let the instance's RAM role renew them), then run the same command again"  # noqa: S105
_PERMISSION = (
    "the caller lacks a permission: it needs ecs:DescribeImages, ecs:ExportImage, ecs:DescribeTasks, "
    "ecs:DescribeTaskAttribute, ecs:CancelTask and ram:PassRole"
)
_PROXY = "is there a proxy or a login page in between? Then run the same command again"

# In order: the first entry whose code and message fit is used.
ADVICE = (
    # ExportImage
    Advice("InvalidOSSPrefix.Malformed", "a prefix is 1 to 30 letters and digits, nothing else"),
    Advice("InvalidRegionId.NotFound", "check the region: cn-hangzhou, ap-southeast-1, …"),
    Advice("InvalidRegion.NotSupport", "this region exports no images: copy the image to another region first"),
    Advice("InvalidImageId.NotFound", f"check image id and region; if it is shared or public: {COPY_IMAGE}"),
    Advice("IncorrectImageStatus", "wait until the image is Available"),
    Advice(
        "ImageNotSupported", "an image with encrypted snapshots cannot be exported: make one from unencrypted disks",
        message="encrypt",
    ),
    Advice(
        "ImageNotSupported", "an image made from a marketplace image cannot be exported, nor can a copy of it",
        message="market|product",
    ),
    Advice("ImageNotSupported", "the cloud does not export this image; its message says why"),
    Advice("InvalidImageFormat.Malformed", "formats are raw, vhd, qcow2, vmdk, vdi; leave it out to get RAW"),
    Advice("ImageIsExporting", "an export of this image is running: wait for it", transient=True),
    Advice("ExportImageFailed", "run again; if it stays so, open a ticket with the request id"),
    Advice("UserNotInTheWhiteList", "the account is not enabled for image export: open a ticket that says what for"),
    Advice(
        "NoSetRoletoECSServiceAcount",
        f"create the RAM role {EXPORT_ROLE} that trusts ecs.aliyuncs.com, with the policy "
        "AliyunECSImageExportRolePolicy (the console's export dialog offers to do it)",
    ),
    Advice("InvalidOSSBucket*", "use a bucket of your own in the image's region"),
    Advice(
        "OperationDenied",
        "account or region may not export data disks: make an image of the system disk, or open a ticket",
        message="data disk|snapshot",
    ),
    Advice("InvalidImage.DiskAmountOrSize", "make an image with fewer or smaller data disks, or open a ticket"),
    Advice("ConcurrentQuotaExceed.ExportImage", "too many exports run at once: wait for one to end", transient=True),
    Advice("WeeklyQuotaExceed.ExportImage", "this week's exports are used up: wait, or open a ticket for more"),
    Advice("InvalidImageLicense.NotSupported", "the licence of this operating system forbids export"),
    # Tasks
    Advice("InvalidTaskId.NotFound", "the cloud does not know this task (any more): check task id and region"),
    Advice("InvalidTaskId.TaskActionNotSupport", "only tasks that export or import an image can be cancelled"),
    Advice("InvalidTaskId.IncorrectTaskStatus", "the task has ended already"),
    Advice("CancelTaskFailed", "try to cancel it again, or in the console", transient=True),
    # Any call
    Advice("MissingParameter", "give region, image id and bucket"),
    Advice("InvalidAccessKeyId*", f"the access key does not exist or is disabled: {_KEY}"),
    Advice("InvalidAccessKeySecret", f"the access key's secret is wrong: {_KEY}"),
    Advice("SignatureDoesNotMatch", f"the access key's secret is wrong: {_KEY}"),
    Advice("IncompleteSignature", f"the access key's secret is wrong: {_KEY}"),
    Advice("InvalidTimeStamp*", _CLOCK),
    Advice("IllegalTimestamp", _CLOCK),
    # Every call has a fresh nonce: a used one means that something in between sent our request twice.
    Advice("SignatureNonceUsed", _WAIT, transient=True, outcome_unknown=True),
    Advice("InvalidSecurityToken*", _TOKEN),
    Advice("Forbidden.AccountOverdue", _ACCOUNT),
    Advice("InvalidAccountStatus*", _ACCOUNT),
    Advice("Forbidden*", _PERMISSION),
    Advice("NoPermission", _PERMISSION),
    Advice("Throttling*", _WAIT, transient=True),  # .User and .Api too, which the SDK itself does not know
    Advice("ServiceUnavailable*", _WAIT, transient=True, outcome_unknown=True),
    Advice("InternalError*", _WAIT, transient=True, outcome_unknown=True),
    Advice("UnknownError*", _WAIT, transient=True, outcome_unknown=True),
    # The SDK's word for an answer that is no JSON: a page of a proxy or gateway (aliyun-python-sdk-core 2.16.1).
    Advice("SDK.UnknownServerError", _PROXY, transient=True, outcome_unknown=True),
)  # fmt: skip

_SERVER_FAILED = Advice("*", _WAIT, transient=True, outcome_unknown=True)
_NO_ADVICE = Advice("*", "the message says why; the code is explained in the vendor's API error center")


def find_advice(code: str, message: str = "", status: int | None = None) -> Advice:
    """Return what to do about an error of the ECS API, by code, then message, then HTTP status."""
    for advice in ADVICE:
        fits = code.startswith(advice.code[:-1]) if advice.code.endswith("*") else code == advice.code
        if fits and re.search(advice.message, message, re.IGNORECASE):
            return advice
    return _SERVER_FAILED if status is not None and (status >= 500 or status == 429) else _NO_ADVICE
