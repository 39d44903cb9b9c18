"""The code table: what each error of the ECS API means."""

from __future__ import annotations

import pytest

from image_export.error_codes import ADVICE, find_advice


@pytest.mark.parametrize(
    ("code", "message", "status", "word", "transient"),
    [
        pytest.param(
            "ImageNotSupported", "created from a marketplace image", 403, "marketplace", False, id="marketplace"
        ),
        pytest.param("ImageNotSupported", "contains Encrypted snapshots", 400, "unencrypted", False, id="encrypted"),
        pytest.param("ImageNotSupported", "for another reason", 400, "message", False, id="not-supported-otherwise"),
        pytest.param("UserNotInTheWhiteList", "", 403, "ticket", False, id="white-list"),
        pytest.param("NoSetRoletoECSServiceAcount", "", 403, "AliyunECSImageExportDefaultRole", False, id="role"),
        pytest.param("InvalidOSSBucket.NotMatched", "", 400, "bucket", False, id="bucket"),
        pytest.param("WeeklyQuotaExceed.ExportImage", "", 403, "week", False, id="weekly-quota"),
        pytest.param("ConcurrentQuotaExceed.ExportImage", "", 403, "at once", True, id="concurrent-quota"),
        pytest.param("Throttling", "", 400, "wait", True, id="throttling"),
        pytest.param("Throttling.User", "", 400, "wait", True, id="throttling-user"),
        pytest.param("Throttling.Api", "", 429, "wait", True, id="throttling-api"),
        pytest.param("InternalError", "", 500, "wait", True, id="internal"),
        pytest.param("NeverHeardOf", "", 503, "wait", True, id="unknown-code-server-failed"),
        pytest.param("NeverHeardOf", "", 400, "message", False, id="unknown-code-refused"),
        pytest.param("InvalidSecurityToken.Expired", "", 403, "temporary", False, id="token-expired"),
        pytest.param("InvalidTimeStamp.Expired", "", 400, "clock", False, id="clock"),
        pytest.param("Forbidden.RAM", "", 403, "ecs:ExportImage", False, id="permission"),
        pytest.param("Forbidden.AccountOverdue", "", 403, "billing", False, id="unpaid"),
    ],
)
def test_advice_is_found_by_code_then_message_then_status(
    code: str, message: str, status: int, word: str, transient: bool
) -> None:
    advice = find_advice(code, message, status)
    assert word in advice.remedy
    assert advice.transient is transient


# Codes of the vendor's ExportImage and CancelTask pages.
@pytest.mark.parametrize(
    "code",
    [
        "MissingParameter", "InvalidOSSPrefix.Malformed", "InvalidRegionId.NotFound", "InvalidRegion.NotSupport",
        "InvalidImageId.NotFound", "IncorrectImageStatus", "ImageNotSupported", "InvalidImageFormat.Malformed",
        "ImageIsExporting", "ExportImageFailed", "UserNotInTheWhiteList", "NoSetRoletoECSServiceAcount",
        "InvalidOSSBucket.NotFound", "InvalidOSSBucket.NotMatched", "InvalidImage.DiskAmountOrSize",
        "ConcurrentQuotaExceed.ExportImage", "WeeklyQuotaExceed.ExportImage", "InvalidImageLicense.NotSupported",
        "InvalidTaskId.NotFound", "InvalidTaskId.TaskActionNotSupport", "InvalidTaskId.IncorrectTaskStatus",
        "CancelTaskFailed",
    ],
)  # fmt: skip
def test_every_documented_code_has_advice_of_its_own(code: str) -> None:
    assert find_advice(code).code != "*"


@pytest.mark.parametrize("code", [advice.code for advice in ADVICE if not advice.outcome_unknown])
def test_refusal_leaves_no_doubt_that_nothing_was_done(code: str) -> None:
    assert not find_advice(code.rstrip("*"), status=400).outcome_unknown
