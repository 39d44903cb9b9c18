"""The one way to OSS: opens a bucket by the rules of `Cloud`, and turns oss2's failures into ours."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import oss2
import requests

from migration.cloud import Cloud, is_loopback
from migration.credentials import CredentialSource
from migration.errors import CloudRefused, CloudUnavailable, MigrationError, SourceChanged

# oss2 logs request headers, the Authorization among them, at DEBUG.
logging.getLogger("oss2").setLevel(logging.WARNING)

CONNECT_TIMEOUT = 20  # seconds; oss2 uses it for each wait on the socket as well

# What the operator can do, by OSS error code (source: vendor's OSS error code pages).
REMEDIES = {
    "AccessDenied": "the caller needs oss:GetObject, oss:ListObjects and oss:GetBucketInfo on this bucket; "
    "in mainland China accounts opened since 2025-03-20 also need a custom domain (--oss-endpoint with --oss-cname)",
    "InvalidAccessKeyId": "the access key does not exist or is disabled: check which credentials `ferry doctor` finds",
    "SignatureDoesNotMatch": "the access key secret is wrong, or the region is: check both",
    "RequestTimeTooSkewed": "this machine's clock is more than 15 minutes off: set it (timedatectl)",
    "InvalidSecurityToken": "the temporary token is not valid: get new credentials, then run the same command again",
    "SecurityTokenExpired": "the temporary token has expired: get new credentials, then run the same command again",
    "InvalidObjectState": "the object is archived: restore it (ossutil restore), then run the same command again",
    "NoSuchBucket": "check the bucket's name and that it is in the image's region",
    "NoSuchKey": "the object is gone: was it deleted by a lifecycle rule? Export again with a new prefix",
    "UserDisable": "the account is disabled: see the billing console",
    "InDebt": "the account has an unpaid bill: pay it, then run the same command again",
    "InDebtOverdue": "the account has an unpaid bill: pay it, then run the same command again",
}


class _Provider(oss2.credentials.CredentialsProvider):  # type: ignore[misc]  # oss2 has no types
    """Our source of credentials in oss2's words; asked for every request, so a renewed token is used."""

    def __init__(self, source: CredentialSource) -> None:
        self._source = source

    def get_credentials(self) -> Any:
        found = self._source()
        return oss2.credentials.Credentials(found.access_key_id, found.access_key_secret, found.security_token or None)


def open_bucket(cloud: Cloud, credentials: CredentialSource, bucket: str) -> oss2.Bucket:
    """Return oss2's handle of a bucket, signing with V4. Nothing is sent yet."""
    url = cloud.oss_url
    session = oss2.Session()
    if is_loopback(urlsplit(url).hostname or ""):
        session.session.trust_env = False  # a proxy for the internet has no business with this machine
    with translated(f"bucket {bucket}"):
        return oss2.Bucket(
            oss2.ProviderAuthV4(_Provider(credentials)), url, bucket,
            session=session, region=cloud.region_id, is_cname=cloud.oss_is_cname,
            connect_timeout=CONNECT_TIMEOUT, enable_crc=False,
        )  # fmt: skip


@contextmanager
def translated(subject: str) -> Iterator[None]:
    """Turn what oss2 and its transport raise into a `MigrationError` about `subject`."""
    try:
        yield
    except oss2.exceptions.OssError as error:
        raise error_from_oss(subject, error) from error
    except requests.RequestException as error:
        raise CloudUnavailable(f"{subject}: the connection to OSS broke ({error})", "try again") from error


def error_from_oss(subject: str, error: oss2.exceptions.OssError) -> MigrationError:
    """Return our error for oss2's: transient where time mends it, with a remedy where one is known."""
    code = getattr(error, "code", "") or type(error).__name__
    request = f", request {error.request_id}" if getattr(error, "request_id", "") else ""
    text = f"{subject}: OSS says {code} ({error.status}{request}) {getattr(error, 'message', '')}".rstrip()
    if error.status == 412:
        return SourceChanged(f"{subject}: the object was replaced meanwhile", "run again: the new object is fetched")
    if error.status < 0 or error.status == 429 or error.status >= 500 or code == "RequestTimeout":
        return CloudUnavailable(text, "OSS or the network is unwell: try again")
    endpoint = (getattr(error, "details", None) or {}).get("Endpoint")
    if endpoint:
        return CloudRefused(text, f"OSS says the bucket answers at {endpoint}: it is in another region")
    return CloudRefused(text, REMEDIES.get(code, "see the code in the vendor's OSS error code pages"))
