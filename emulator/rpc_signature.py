"""Knows how ECS requests are signed (RPC style, HMAC-SHA1) and which of them it refuses.

The algorithm is the vendor's "request signatures" page; aliyun-python-sdk-core 2.16.1 computes the
same, measured with and without a security token. Codes are the vendor's; statuses of most are a guess.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from urllib.parse import quote

from emulator.ecs_errors import EcsError, missing
from emulator.emulation import Emulation

CLOCK_TOLERANCE = 15 * 60  # seconds
_REQUIRED = ("AccessKeyId", "Signature", "SignatureMethod", "SignatureVersion", "SignatureNonce", "Timestamp")


def string_to_sign(method: str, params: Mapping[str, str]) -> str:
    """Return what is signed: the method, the path and the sorted parameters, each percent-encoded."""
    query = "&".join(f"{_encode(k)}={_encode(v)}" for k, v in sorted(params.items()) if k != "Signature")
    return f"{method}&%2F&{_encode(query)}"


def sign(secret: str, text: str) -> str:
    """Return the base64 signature; the key is the secret with an ampersand behind it."""
    return base64.b64encode(hmac.digest(f"{secret}&".encode(), text.encode(), hashlib.sha1)).decode()


def _encode(text: str) -> str:
    return quote(text, safe="~")


class RpcGate:
    """Lets only properly signed requests through, each nonce once."""

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation
        self._nonces: dict[str, float] = {}
        self._lock = threading.Lock()

    def check(self, method: str, params: Mapping[str, str]) -> None:
        """Raise `EcsError` unless the request is signed with the account's keys, now, for the first time."""
        for name in _REQUIRED:
            if not params.get(name):
                raise missing(name)
        if (params["SignatureMethod"], params["SignatureVersion"]) != ("HMAC-SHA1", "1.0"):
            raise EcsError(400, "IncompleteSignature", "The request signature does not conform to Aliyun standards.")
        settings = self._emulation.settings
        if params["AccessKeyId"] != settings.access_key_id:
            raise EcsError(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
        self._check_time(params["Timestamp"])
        text = string_to_sign(method, params)
        if not hmac.compare_digest(sign(settings.access_key_secret, text).encode(), params["Signature"].encode()):
            # The SDK looks for the string to sign behind the message's only colon (aliyun-python-sdk-core source).
            message = f"Specified signature is not matched with our calculation. server string to sign is:{text}"
            raise EcsError(400, "SignatureDoesNotMatch", message)
        self._check_token(params.get("SecurityToken", ""))
        self._check_nonce(params["SignatureNonce"])

    def _check_time(self, timestamp: str) -> None:
        try:
            moment = datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
        except ValueError as error:
            raise EcsError(400, "InvalidTimeStamp.Format", "Specified time stamp is not well formatted.") from error
        if abs(time.time() - moment.timestamp()) > CLOCK_TOLERANCE:
            raise EcsError(400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")

    def _check_token(self, token: str) -> None:
        variants = self._emulation.variants
        if variants.security_token and not token:
            raise EcsError(400, "MissingSecurityToken", "SecurityToken is mandatory for this action.")
        if token != variants.security_token:
            raise EcsError(400, "InvalidSecurityToken.Malformed", "Specified SecurityToken is malformed.")
        if token and variants.security_token_expired:
            raise EcsError(400, "InvalidSecurityToken.Expired", "Specified SecurityToken is expired.")

    def _check_nonce(self, nonce: str) -> None:
        now = time.monotonic()
        with self._lock:
            # Older ones are refused by their time stamp.
            self._nonces = {known: seen for known, seen in self._nonces.items() if now - seen < 2 * CLOCK_TOLERANCE}
            if nonce in self._nonces:
                raise EcsError(400, "SignatureNonceUsed", "Specified signature nonce was used already.")
            self._nonces[nonce] = now
