"""The one way to OSS: opens a bucket by the rules of `Cloud`, and turns oss2's failures into ours."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import oss2
import requests

from migration.cloud import Cloud, is_loopback
from migration.credentials import CredentialSource, redacted
from migration.errors import CloudRefused, CloudUnavailable, InvalidInput, MigrationError, SourceChanged
from migration.proxy import check_proxies

# oss2 logs request headers, the Authorization among them, at DEBUG.
logging.getLogger("oss2").setLevel(logging.WARNING)

CONNECT_TIMEOUT = 20  # seconds; oss2 uses it for each wait on the socket as well

# What the operator can do, by OSS error code (source: vendor's OSS error code pages).
REMEDIES = {
    "AccessDenied": "the caller needs oss:GetObject, oss:ListObjects and oss:GetBucketInfo on this bucket "
    "(oss:RestoreObject for --restore-archived); "
    "in mainland China accounts opened since 2025-03-20 also need a custom domain (--oss-endpoint with --oss-cname)",
    "InvalidAccessKeyId": "the access key does not exist or is disabled: check which credentials `ferry doctor` finds",
    "SignatureDoesNotMatch": "the access key secret is wrong, or the region is: check both",
    "RequestTimeTooSkewed": "this machine's clock is more than 15 minutes off: set it (timedatectl)",
    "InvalidSecurityToken": "the temporary token is not valid: get new credentials, then run the same command again",
    "SecurityTokenExpired": "the temporary token has expired: get new credentials, then run the same command again",
    "InvalidObjectState": "the object is archived: add --restore-archived (flow: transfer.restore_archived), "
    "which OSS charges for, or restore it by hand; then run the same command again",
    "NoSuchBucket": "check the bucket's name and that it is in the image's region",
    "NoSuchKey": "the object is gone: was it deleted by a lifecycle rule? To export once more, "
    "which costs again: ferry export --again",
    # What oss2 calls a HEAD's 404 without `x-oss-err`: a HEAD has no body to say which of the two it is.
    "NotFound": "there is no such object, or no such bucket: check both names and the region",
    "UserDisable": "the account is disabled: see the billing console",
    "OperationNotSupported": "OSS does not do this to an object of this storage class: look at it in the console",
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


def open_bucket(cloud: Cloud, credentials: CredentialSource, bucket: str, *, session: Any = None) -> oss2.Bucket:
    """Return oss2's handle of a bucket, signing with V4. Nothing is sent yet.

    `session` carries the signed requests in place of oss2's own: any object with its `do_request`.
    """
    url = cloud.oss_url
    if session is None:
        session = oss2.Session()
        if is_loopback(urlsplit(url).hostname or ""):
            session.session.trust_env = False  # a proxy for the internet has no business with this machine
        else:
            check_proxies()
    with translated(f"bucket {bucket}"):
        return oss2.Bucket(
            oss2.ProviderAuthV4(_Provider(credentials)), url, bucket,
            session=session, region=cloud.region_id, is_cname=cloud.oss_is_cname,
            connect_timeout=CONNECT_TIMEOUT, enable_crc=False,
        )  # fmt: skip


def bucket_url(cloud: Cloud, bucket: str) -> str:
    """Return the scheme and host that requests to a bucket go to, by which a proxy is chosen or not (NO_PROXY)."""
    parts = urlsplit(cloud.oss_url)
    if cloud.oss_is_cname or is_loopback(parts.hostname or ""):
        return cloud.oss_url
    return f"{parts.scheme}://{bucket}.{parts.netloc}"


class OssRefused(CloudRefused):
    """OSS answered with an error. `code` is its error code; `endpoint` where it says the bucket lives, or ""."""

    def __init__(self, message: str, remedy: str = "", *, code: str = "", endpoint: str = "") -> None:
        super().__init__(message, remedy)
        self.code, self.endpoint = code, endpoint


@contextmanager
def translated(subject: str) -> Iterator[None]:
    """Turn what oss2 and its transport raise into a `MigrationError` about `subject`.

    The original is not shown behind it: oss2's errors print the whole answer, which for a wrong V4 signature
    repeats the request with its security token, and a transport's errors print URLs, which may be signed.
    """
    failure: MigrationError | None = None
    try:
        yield
    except oss2.exceptions.OssError as error:
        failure = error_from_oss(subject, error)
    except requests.RequestException as error:
        failure = CloudUnavailable(f"{subject}: the connection to OSS broke ({redacted(str(error))})", "try again")
    except (ET.ParseError, RuntimeError) as error:
        # oss2 parses the body of every 200 before looking at its type: a proxy's page ends up here.
        if isinstance(error, RuntimeError) and not str(error).startswith("parse xml"):
            raise
        failure = CloudUnavailable(
            f"{subject}: what answered is not OSS, its answer cannot be read",
            "is there a proxy or a login page in between?",
        )
    if failure is not None:
        raise failure from None


def error_from_oss(subject: str, error: oss2.exceptions.OssError) -> MigrationError:
    """Return our error for oss2's: transient where time mends it, with a remedy where one is known."""
    code = getattr(error, "code", "") or type(error).__name__
    request = f", request {error.request_id}" if getattr(error, "request_id", "") else ""
    if isinstance(error, oss2.exceptions.ClientError):  # oss2 itself refuses the argument, nothing was sent
        return InvalidInput(f"{subject}: {redacted(str(error.body))}", "check the bucket's name and the endpoint")
    if error.status < 0:  # no answer of OSS: what oss2 says of the transport takes the place of a body
        return CloudUnavailable(f"{subject}: {redacted(str(error.body))}", "OSS or the network is unwell: try again")
    text = redacted(f"{subject}: OSS says {code} ({error.status}{request}) {getattr(error, 'message', '')}")
    if error.status == 412:
        return SourceChanged(f"{subject}: the object was replaced meanwhile", "run again: the new object is fetched")
    if error.status == 429 or error.status >= 500 or code == "RequestTimeout":
        return CloudUnavailable(text, "OSS or the network is unwell: try again")
    if code == "RequestTimeTooSkewed":
        text += _clock_difference(error.headers)
    endpoint = redacted((getattr(error, "details", None) or {}).get("Endpoint", ""))
    remedy = f"OSS says the bucket answers at {endpoint}: it is in another region" if endpoint else ""
    remedy = remedy or REMEDIES.get(code, "see the code in the vendor's OSS error code pages")
    return OssRefused(text, remedy, code=code, endpoint=endpoint)


def _clock_difference(headers: Mapping[str, str]) -> str:
    """Return in words how far apart the clocks are, by the date of an answer that just came; "" if it has none.

    The difference is told and not made up for: TLS, the lives of tokens and the other tools of this
    machine go by its clock as well, and a signature for another time than ours would hide that.
    """
    try:
        theirs = parsedate_to_datetime(headers.get("Date", "")).timestamp()
    except ValueError:
        return ""
    minutes = (theirs - time.time()) / 60
    return f"; OSS's clock is {abs(minutes):.0f} min {'ahead of' if minutes > 0 else 'behind'} this machine's"
