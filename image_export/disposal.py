"""Deletes exported objects once their bytes are home and proven: the very objects that were downloaded, no others."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from migration.cloud import Cloud
from migration.credentials import CredentialSource
from migration.exported_object import ExportedObject
from migration.journal import Journal
from migration.oss import OssRefused, open_bucket, translated

log = logging.getLogger(__name__)

STEP = "objects-deleted"
VERSION_HEADER = "x-oss-version-id"
_ABSENT = {"NoSuchKey", "NotFound"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """What became of one object. `kept` says why it was not deleted, "" where it was; `at` is Unix time."""

    bucket: str
    key: str
    etag: str
    version_id: str = ""
    kept: str = ""
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Disposal:
    """What the journal remembers of all of them."""

    deletions: tuple[Deletion, ...]

    @property
    def kept(self) -> tuple[Deletion, ...]:
        return tuple(one for one in self.deletions if one.kept)


def delete_objects(
    journal: Journal, cloud: Cloud, credentials: CredentialSource, objects: Sequence[ExportedObject]
) -> Disposal:
    """Delete the objects of a migration that is proven, and record it; one that was replaced stays.

    In a bucket with versions the version that was downloaded is deleted for good, not hidden behind a marker.
    Between the look at an object and its deletion nothing can be held: OSS knows no condition on a DELETE. Nobody
    else writes under the prefix that was made for the export. Raises `OssRefused`, `CloudUnavailable`.
    """
    known = journal.get(STEP, Disposal) or Disposal(deletions=())
    done = {(one.bucket, one.key): one for one in known.deletions if not one.kept}
    for exported in objects:
        if (exported.bucket, exported.key) in done:
            continue
        deletion = _delete(cloud, credentials, exported)
        done[exported.bucket, exported.key] = deletion
        if deletion.kept:
            log.warning("oss://%s/%s is kept: %s", exported.bucket, exported.key, deletion.kept)
        else:
            log.info("Deleted oss://%s/%s: its disk is here, proven", exported.bucket, exported.key)
        journal.record(STEP, Disposal(deletions=tuple(done.values())))
    return Disposal(deletions=tuple(done.values()))


def _delete(cloud: Cloud, credentials: CredentialSource, exported: ExportedObject) -> Deletion:
    bucket = open_bucket(cloud, credentials, exported.bucket)
    subject = f"oss://{exported.bucket}/{exported.key}"

    def outcome(kept: str = "", version_id: str = "") -> Deletion:
        return Deletion(
            bucket=exported.bucket, key=exported.key, etag=exported.etag, version_id=version_id, kept=kept,
            at=time.time(),
        )  # fmt: skip

    if exported.crc64 is None:
        return outcome("OSS told no CRC-64 for it, so that the download could not be proven")
    try:
        with translated(subject):
            head = bucket.head_object(exported.key)
    except OssRefused as error:
        if error.code in _ABSENT:
            return outcome()  # gone already: somebody, or a lifecycle rule, was faster
        raise
    if (int(head.content_length or 0), str(head.etag or ""), head.server_crc) != (
        exported.size, exported.etag, exported.crc64,
    ):  # fmt: skip
        return outcome("it is not the object that was downloaded any more")
    version_id = str({name.lower(): value for name, value in head.headers.items()}.get(VERSION_HEADER, ""))
    try:
        with translated(subject):
            bucket.delete_object(exported.key, params={"versionId": version_id} if version_id else None)
    except OssRefused as error:
        if error.code == "AccessDenied":
            raise OssRefused(
                f"{subject} may not be deleted with these keys",
                "give the caller oss:DeleteObject on the bucket (and oss:DeleteObjectVersion where it has versions), "
                "or delete it by hand; what was downloaded is not affected",
                code=error.code,
            ) from None
        raise
    return outcome(version_id=version_id)
