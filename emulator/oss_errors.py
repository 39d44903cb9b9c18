"""Knows the errors of OSS: code, HTTP status, message, and the XML and headers they travel in."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from xml.sax.saxutils import escape

# Code: (status, message, EC). Codes and statuses are the vendor's error code pages; ECs were seen in reports
# of real errors, "" where none was.
_ERRORS: dict[str, tuple[int, str, str]] = {
    "InvalidArgument": (400, "The argument is invalid.", ""),
    "AccessDenied": (403, "You have no right to access this object because of bucket acl.", "0003-00000001"),
    "InvalidAccessKeyId": (403, "The OSS Access Key Id you provided does not exist in our records.", "0002-00000902"),
    "SignatureDoesNotMatch": (
        403,
        (
            "The request signature we calculated does not match the signature you provided. "
            "Check your key and signing method."
        ),
        "0002-00000040",
    ),
    "RequestTimeTooSkewed": (403, "The difference between the request time and the current time is too large.", ""),
    "InvalidSecurityToken": (403, "The security token you provided is invalid.", ""),
    "SecurityTokenExpired": (403, "The security token you provided has expired.", ""),
    "InvalidObjectState": (403, "The operation is not valid for the object's state.", ""),
    "OperationNotSupported": (400, "The operation is not supported for this resource.", ""),
    "MalformedXML": (400, "The XML you provided was not well-formed.", ""),
    "RestoreAlreadyInProgress": (409, "The restore operation is in progress.", ""),
    "NoSuchKey": (404, "The specified key does not exist.", "0026-00000001"),
    "NoSuchBucket": (404, "The specified bucket does not exist.", "0015-00000101"),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource.", ""),
    "PreconditionFailed": (412, "At least one of the pre-conditions you specified did not hold.", ""),
    "InvalidRange": (416, "The requested range cannot be satisfied.", ""),
    "NotImplemented": (501, "A header or operation you provided is not emulated.", ""),
    "ServiceUnavailable": (503, "Please reduce your request rate.", ""),
}  # fmt: skip


class OssError(Exception):
    """An error answer of OSS; `extras` are further elements of its XML."""

    def __init__(self, code: str, message: str = "", *, extras: Mapping[str, str] | None = None, ec: str = "") -> None:
        super().__init__(code, message)
        self.status, usual, usual_ec = _ERRORS[code]
        self.code, self.message, self.ec = code, message or usual, ec or usual_ec
        self.extras = dict(extras or {})

    def body(self, request_id: str, host: str) -> bytes:
        """Return the XML of the answer (vendor's error response page)."""
        fields = {"Code": self.code, "Message": self.message, "RequestId": request_id, "HostId": host, **self.extras}
        if self.ec:
            fields |= {"EC": self.ec, "RecommendDoc": f"https://api.aliyun.com/troubleshoot?q={self.ec}"}
        inner = "".join(f"  <{name}>{escape(value)}</{name}>\n" for name, value in fields.items())
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>\n{inner}</Error>\n'.encode()

    def headers(self, body: bytes, *, is_head: bool) -> dict[str, str]:
        """Return the headers of the answer. A HEAD has no body, so it travels in `x-oss-err` (oss2 reads it)."""
        headers = {"x-oss-ec": self.ec} if self.ec else {}
        if is_head:
            headers["x-oss-err"] = base64.b64encode(body).decode()
        return headers
