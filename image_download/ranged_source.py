"""Asks OSS for one range of an object, and takes no answer that is not exactly that range of exactly that object."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol, cast

import oss2

from image_download.pooled_session import PooledSession
from image_download.settings import DownloadSettings
from migration.cloud import Cloud
from migration.credentials import CredentialSource
from migration.errors import CloudRefused, CloudUnavailable, SourceChanged
from migration.exported_object import ExportedObject
from migration.oss import OssRefused, bucket_url, open_bucket, translated

log = logging.getLogger(__name__)

# Answers that new credentials mend: the source is asked again for every request (source: vendor's OSS
# error code pages; SecurityTokenExpired is not on all of them).
STALE_CREDENTIALS = {"SecurityTokenExpired", "InvalidSecurityToken", "AccessKeyIdAndSecurityTokenNotMatch"}

_CONTENT_RANGE = re.compile(r"bytes (?P<start>\d+)-(?P<last>\d+)/(?P<total>\d+)")


class RangeBody(Protocol):
    """The bytes of one range as they come."""

    def readinto(self, view: memoryview, /) -> int:
        """Put at least one byte into `view` and return how many, or 0 at the end of the body.

        Raises `CloudUnavailable` where the connection fails.
        """


class StaleCredentials(CloudRefused):
    """OSS would have other credentials; new ones may be on their way."""


class RangedSource:
    """One object in OSS, read by ranges. Thread-safe; made by `open_source`."""

    def __init__(
        self, exported: ExportedObject, cloud: Cloud, credentials: CredentialSource, session: PooledSession,
        *, traffic_limit: int | None = None,
    ) -> None:  # fmt: skip
        self.exported = exported
        self.subject = f"oss://{exported.bucket}/{exported.key}"
        self._session = session
        self._bucket = open_bucket(cloud, credentials, exported.bucket, session=session)
        self._headers = {
            # Without it OSS answers a range it does not like with 200 and the whole object
            # (source: vendor's page on range downloads).
            "x-oss-range-behavior": "standard",
            "Accept-Encoding": "identity",
        }
        if exported.etag:
            self._headers["If-Match"] = f'"{exported.etag}"'
        if traffic_limit:
            self._headers["x-oss-traffic-limit"] = str(traffic_limit)

    @contextmanager
    def open_range(self, start: int, end: int) -> Iterator[RangeBody]:
        """Ask for the bytes from `start` up to, not including, `end`; the body is open for the length of the block.

        Raises `SourceChanged`, `CloudUnavailable` (try again), `StaleCredentials` or `CloudRefused`.
        """
        with self._translated():
            # oss2 reads Content-Range itself when it opens an answer, and trips over a malformed one.
            try:
                answer = self._bucket.get_object(
                    self.exported.key, byte_range=(start, end - 1), headers=dict(self._headers)
                )
            except (ValueError, IndexError) as error:
                raise _unfit(self.subject, start, end, "an answer with malformed headers") from error
        reply = answer.resp
        try:
            self._check(reply.status, reply.headers, start, end)
            yield reply
        finally:
            reply.close()

    def find_headers(self) -> Mapping[str, str]:
        """Return what OSS says of the object in this moment. Raises as `open_range` does."""
        with self._translated():
            answer = self._bucket.head_object(self.exported.key)
        answer.resp.close()
        return cast("Mapping[str, str]", answer.headers)

    def request_restore(self, days: int) -> None:
        """Ask OSS to restore an archived object for some days. Raises as `open_range` does."""
        with self._translated():
            answer = self._bucket.restore_object(self.exported.key, input=oss2.models.RestoreConfiguration(days))
        answer.resp.close()

    def abort(self) -> None:
        """Break off every range that is being read, from another thread."""
        self._session.abort()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with translated(self.subject):
                yield
        except OssRefused as error:
            if error.code in STALE_CREDENTIALS:
                raise StaleCredentials(error.message, error.remedy) from None
            raise

    def _check(self, status: int, headers: object, start: int, end: int) -> None:
        """Raise unless an answer is the range that was asked for, of the object that was found."""
        get = headers.get  # type: ignore[attr-defined]
        if status != 206:
            what = "the whole object (200)" if status == 200 else f"status {status}"
            raise _unfit(self.subject, start, end, what)
        content_range = get("Content-Range", "")
        match = _CONTENT_RANGE.fullmatch(content_range)
        if match is None or (int(match["start"]), int(match["last"])) != (start, end - 1):
            raise _unfit(self.subject, start, end, f"Content-Range {content_range!r}")
        # Compressed on the way? An object that is stored with a Content-Encoding comes as it is, so many bytes long.
        length, coding = get("Content-Length"), get("Content-Encoding", "identity")
        if length != str(end - start) and (length or coding != "identity"):
            raise _unfit(self.subject, start, end, f"{length or 'some'} bytes in coding {coding}")
        etag = get("ETag", "").strip('"')
        if int(match["total"]) != self.exported.size or (etag and self.exported.etag and etag != self.exported.etag):
            # If-Match should have said so; a cache on the way may not know it.
            raise SourceChanged(
                f"{self.subject}: the object was replaced meanwhile", "run again: the new object is fetched"
            )


def _unfit(subject: str, start: int, end: int, what: str) -> CloudUnavailable:
    return CloudUnavailable(
        f"{subject}: asked for bytes {start}-{end - 1}, the answer is {what[:200]}",
        "a proxy or cache on the way seems not to understand ranges: go around it (NO_PROXY)",
    )


@contextmanager
def open_source(
    exported: ExportedObject, cloud: Cloud, credentials: CredentialSource, settings: DownloadSettings
) -> Iterator[RangedSource]:
    """Open an object for reading by ranges, with connections of its own, for the length of the block."""
    session = PooledSession(
        bucket_url(cloud, exported.bucket), connections=settings.connections,
        connect_timeout=settings.connect_timeout, read_timeout=settings.read_timeout,
    )  # fmt: skip
    try:
        yield RangedSource(exported, cloud, credentials, session, traffic_limit=settings.oss_traffic_limit)
    finally:
        session.close()
