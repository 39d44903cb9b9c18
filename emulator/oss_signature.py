"""Knows how OSS requests are signed: V1 and V4, in the Authorization header or in the URL.

The algorithms are the vendor's signature pages; oss2 2.19.1 computes the same (its source, and measured).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from urllib.parse import quote

from emulator.emulation import Emulation
from emulator.oss_errors import OssError

CLOCK_TOLERANCE = 15 * 60  # seconds
MAX_V4_EXPIRY = 7 * 24 * 3600  # seconds, vendor's V4 signed URL page
_V4 = "OSS4-HMAC-SHA256"

# Query parameters that V1 signs (vendor's V1 page; the list is the one of oss2's source that reads objects).
_V1_SUBRESOURCES = frozenset({
    "acl", "bucketInfo", "cname", "continuation-token", "location", "objectMeta", "partNumber", "restore",
    "response-cache-control", "response-content-disposition", "response-content-encoding",
    "response-content-language", "response-content-type", "response-expires", "security-token", "stat", "symlink",
    "tagging", "uploadId", "uploads", "versionId", "versioning", "versions", "x-oss-process",
    "x-oss-request-payer", "x-oss-traffic-limit",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What of a request is signed. Nothing is percent-encoded, header names are in lower case."""

    method: str
    bucket: str
    key: str
    params: Mapping[str, str]
    headers: Mapping[str, str]


def check_signature(emulation: Emulation, request: SignedRequest) -> None:
    """Raise `OssError` unless the request is signed with the account's keys, and now."""
    authorization = request.headers.get("authorization", "")
    if authorization.startswith(f"{_V4} "):
        _check_v4_header(emulation, request, authorization)
    elif authorization.startswith("OSS "):
        _check_v1_header(emulation, request, authorization)
    elif authorization:
        raise OssError("InvalidArgument", "The authorization header is in no form that is understood here.")
    elif "x-oss-signature" in request.params:
        _check_v4_url(emulation, request)
    elif "Signature" in request.params:
        _check_v1_url(emulation, request)
    else:
        raise OssError("AccessDenied", "Anonymous access is forbidden for this operation.")


def _check_v1_header(emulation: Emulation, request: SignedRequest, authorization: str) -> None:
    key_id, _, signature = authorization.removeprefix("OSS ").partition(":")
    date = request.headers.get("x-oss-date") or request.headers.get("date", "")
    try:
        moment = parsedate_to_datetime(date)
    except ValueError as error:
        raise OssError("AccessDenied", "OSS authentication requires a valid Date.") from error
    _check_key(emulation, key_id)
    _check_clock(emulation, moment.timestamp())
    _check_v1(emulation, request, date, signature)
    _check_token(emulation, request.headers.get("x-oss-security-token", ""))


def _check_v1_url(emulation: Emulation, request: SignedRequest) -> None:
    expires = request.params.get("Expires", "")
    _check_key(emulation, request.params.get("OSSAccessKeyId", ""))
    if not expires.isascii() or not expires.isdecimal() or int(expires) < time.time():
        raise OssError("AccessDenied", "Request has expired.", extras={"Expires": expires})
    _check_v1(emulation, request, expires, request.params["Signature"])
    _check_token(emulation, request.params.get("security-token", ""))


def _check_v1(emulation: Emulation, request: SignedRequest, date: str, signature: str) -> None:
    headers = request.headers
    lines = [request.method, headers.get("content-md5", ""), headers.get("content-type", ""), date]
    lines += [f"{name}:{value}" for name, value in sorted(headers.items()) if name.startswith("x-oss-")]
    resource = f"/{request.bucket}/{request.key}" if request.bucket else "/"
    subresources = {name: value for name, value in request.params.items() if name in _V1_SUBRESOURCES}
    if subresources:
        resource += "?" + "&".join(f"{k}={v}" if v else k for k, v in sorted(subresources.items()))
    text = "\n".join([*lines, resource])
    digest = hmac.digest(emulation.settings.access_key_secret.encode(), text.encode(), hashlib.sha1)
    _compare(base64.b64encode(digest).decode(), signature, text)


def _check_v4_header(emulation: Emulation, request: SignedRequest, authorization: str) -> None:
    fields = dict(part.strip().partition("=")[::2] for part in authorization.removeprefix(_V4).split(","))
    date = request.headers.get("x-oss-date", "")
    _check_clock(emulation, _parse_v4_date(date))
    _check_v4(
        emulation, request, date=date, credential=fields.get("Credential", ""),
        additional=fields.get("AdditionalHeaders", ""), signature=fields.get("Signature", ""),
    )  # fmt: skip
    _check_token(emulation, request.headers.get("x-oss-security-token", ""))


def _check_v4_url(emulation: Emulation, request: SignedRequest) -> None:
    params = request.params
    date, expires = params.get("x-oss-date", ""), params.get("x-oss-expires", "")
    begin = _parse_v4_date(date)
    if not expires.isascii() or not expires.isdecimal() or not 0 < int(expires) <= MAX_V4_EXPIRY:
        raise OssError("InvalidArgument", "x-oss-expires must be between 1 and 604800 seconds.")
    if not begin - CLOCK_TOLERANCE <= time.time() <= begin + int(expires):
        raise OssError("AccessDenied", "Request has expired.", extras={"Expires": expires})
    _check_v4(
        emulation, request, date=date, credential=params.get("x-oss-credential", ""),
        additional=params.get("x-oss-additional-headers", ""), signature=params["x-oss-signature"],
    )  # fmt: skip
    _check_token(emulation, params.get("x-oss-security-token", ""))


def _check_v4(
    emulation: Emulation, request: SignedRequest, *, credential: str, date: str, additional: str, signature: str
) -> None:
    key_id, _, scope = credential.partition("/")
    day, _, region = scope.removesuffix("/oss/aliyun_v4_request").partition("/")
    _check_key(emulation, key_id)
    if day != date[:8] or not scope.endswith("/oss/aliyun_v4_request"):
        raise OssError("InvalidArgument", "Invalid credential in Authorization header.")
    if region != emulation.settings.region_id:  # message and EC were seen in a report of a real error
        raise OssError("InvalidArgument", "Invalid signing region in Authorization header.", ec="0002-00000226")
    text = "\n".join([_V4, date, scope, hashlib.sha256(_canonical_request(request, additional)).hexdigest()])
    signing_key = f"aliyun_v4{emulation.settings.access_key_secret}".encode()
    for part in (day, region, "oss", "aliyun_v4_request"):
        signing_key = hmac.digest(signing_key, part.encode(), hashlib.sha256)
    _compare(hmac.digest(signing_key, text.encode(), hashlib.sha256).hex(), signature, text)


def _canonical_request(request: SignedRequest, additional: str) -> bytes:
    names = {"content-type", "content-md5", *(additional.split(";") if additional else [])}
    headers = sorted((k, v) for k, v in request.headers.items() if k.startswith("x-oss-") or k in names)
    query = sorted((_encode(k), _encode(v)) for k, v in request.params.items() if k != "x-oss-signature")
    resource = f"/{request.bucket}/{request.key}" if request.bucket else "/"
    return "\n".join([
        request.method,
        quote(resource, safe="/~"),
        "&".join(f"{k}={v}" if v else k for k, v in query),
        "".join(f"{k}:{v}\n" for k, v in headers),
        additional,
        request.headers.get("x-oss-content-sha256", "UNSIGNED-PAYLOAD"),
    ]).encode()  # fmt: skip


def _encode(text: str) -> str:
    return quote(text, safe="~")


def _parse_v4_date(date: str) -> float:
    try:
        return datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc).timestamp()
    except ValueError as error:
        raise OssError("InvalidArgument", "x-oss-date is missing or malformed.") from error


def _check_clock(emulation: Emulation, moment: float) -> None:
    now = emulation.oss_time()
    if abs(now - moment) > CLOCK_TOLERANCE:
        server_time = datetime.fromtimestamp(now, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        raise OssError(
            "RequestTimeTooSkewed", extras={"ServerTime": server_time, "MaxAllowedSkewMilliseconds": "900000"}
        )


def _check_key(emulation: Emulation, key_id: str) -> None:
    if key_id != emulation.settings.access_key_id:
        raise OssError("InvalidAccessKeyId", extras={"OSSAccessKeyId": key_id})


def _check_token(emulation: Emulation, token: str) -> None:
    variants = emulation.variants
    if token != variants.security_token:
        raise OssError("InvalidSecurityToken")
    if token and variants.security_token_expired:
        raise OssError("SecurityTokenExpired")


def _compare(ours: str, theirs: str, text: str) -> None:
    if not hmac.compare_digest(ours.encode(), theirs.encode()):
        raise OssError("SignatureDoesNotMatch", extras={"StringToSign": text, "SignatureProvided": theirs})
