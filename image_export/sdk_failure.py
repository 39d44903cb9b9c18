"""Knows how the SDK for ECS fails, and says it in our words: what ECS answered, or why there was no answer.

The SDK's own exception is never chained: its text holds the URL of the request, and with it the
signature and the security token (aliyun-python-sdk-core 2.16.1).
"""

from __future__ import annotations

import re

from aliyunsdkcore.acs_exception.exceptions import ClientException, ServerException

from image_export.error_codes import find_advice
from migration.credentials import Credentials, redacted
from migration.errors import CloudRefused, CloudUnavailable

# What the transport says where no byte of the request has left this machine.
_NOT_SENT = re.compile(r"NewConnectionError|ConnectTimeout|Cannot connect to proxy|CERTIFICATE_VERIFY_FAILED")
_CERTIFICATE = "this machine does not trust the certificate; behind a proxy, ALIBABA_CLOUD_CA_BUNDLE names its CA file"


class EcsRefused(CloudRefused):
    """ECS answered with an error, or could not be asked at all.

    `code` and `request_id` are the cloud's own, "" where there was no answer. `outcome_unknown`: the
    call may have been carried out all the same.
    """

    def __init__(
        self, message: str, remedy: str = "", *, code: str = "", request_id: str = "", outcome_unknown: bool = False
    ) -> None:
        super().__init__(message, remedy)
        self.code, self.request_id, self.outcome_unknown = code, request_id, outcome_unknown


class EcsUnavailable(EcsRefused, CloudUnavailable):
    """ECS could not be reached, or asked us to come back later."""


def failure_from_sdk(subject: str, url: str, error: Exception, credentials: Credentials) -> EcsRefused:
    """Return our error for what came out of the SDK while it did `subject` at `url`."""
    if isinstance(error, ServerException):
        code, message = str(error.get_error_code() or ""), str(error.get_error_msg() or "")
        request_id = str(error.get_request_id() or "")
        return refusal(subject, code, message, credentials, status=error.get_http_status(), request_id=request_id)
    if isinstance(error, ClientException):
        return _no_answer(subject, url, str(error.get_error_msg()), credentials)
    if isinstance(error, IndexError):  # the SDK looks for a colon in the message of this error alone
        advice = find_advice("SignatureDoesNotMatch")
        return EcsRefused(f"{subject}: ECS says {advice.code}", advice.remedy, code=advice.code)
    return unreadable_answer(subject, f" ({type(error).__name__})")


def unreadable_answer(subject: str, detail: str = "") -> EcsUnavailable:
    """Return the error for an answer that is not the JSON of an ECS answer."""
    advice = find_advice("SDK.UnknownServerError")
    return EcsUnavailable(
        f"{subject}: what answered is not ECS, its answer cannot be read{detail}", advice.remedy, outcome_unknown=True
    )


def refusal(
    subject: str, code: str, message: str, credentials: Credentials, *, status: int | None, request_id: str
) -> EcsRefused:
    """Return our error for an error code of the cloud."""
    advice = find_advice(code, message, status)
    if code == "SDK.UnknownServerError":
        return unreadable_answer(subject, f" (HTTP {status})")
    request = f", request {request_id}" if request_id else ""
    # A wrong signature's message repeats the string to sign, and with it access key and token.
    words = "" if code == "SignatureDoesNotMatch" else message[:500]
    kind = EcsUnavailable if advice.transient else EcsRefused
    return kind(
        redacted(f"{subject}: ECS says {code} ({status}{request}) {words}", credentials),
        advice.remedy,
        code=code,
        request_id=request_id,
        outcome_unknown=advice.outcome_unknown,
    )


def _no_answer(subject: str, url: str, message: str, credentials: Credentials) -> EcsRefused:
    words = re.sub(r"\s*with url: \S+|<[^>]*>:?\s*", " ", message)  # the URL, and objects' addresses
    text = f"{subject}: no answer from {url}: {redacted(words, credentials)[:300]}"
    unknown = not _NOT_SENT.search(message)
    if "CERTIFICATE_VERIFY_FAILED" in message:
        return EcsRefused(text, _CERTIFICATE, outcome_unknown=unknown)
    remedy = "check network, proxy and region, then run the same command again"
    return EcsUnavailable(text, remedy, outcome_unknown=unknown)
