"""Knows what a bucket is and which objects it holds, as far as an export is concerned."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace

import oss2

from image_export.objects import FoundObject
from migration.cloud import Cloud
from migration.credentials import CredentialSource
from migration.exported_object import ExportedObject
from migration.oss import OssRefused, open_bucket, translated

log = logging.getLogger(__name__)

_ABSENT = {"NoSuchKey", "NotFound"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketInfo:
    """A bucket as GetBucketInfo tells it. `region_id` is without the `oss-` that OSS puts before it."""

    name: str
    region_id: str
    storage_class: str  # Standard, IA, Archive, ColdArchive, DeepColdArchive


class ExportBucket:
    """One bucket of exports, read only."""

    def __init__(self, cloud: Cloud, credentials: CredentialSource, name: str) -> None:
        """Prepare; nothing is sent. Raises `InvalidInput` for a name that no bucket can have."""
        self.name = name
        self._bucket = open_bucket(cloud, credentials, name)

    def describe(self) -> BucketInfo:
        """Return where and what the bucket is. Raises `OssRefused` or `CloudUnavailable`."""
        with translated(f"bucket {self.name}"):
            info = self._bucket.get_bucket_info()
        return BucketInfo(
            name=self.name,
            region_id=str(info.location or "").removeprefix("oss-"),
            storage_class=str(info.storage_class or ""),
        )

    def list_objects(self, prefix: str, containing: str) -> tuple[FoundObject, ...]:
        """Return the objects whose key begins with `prefix` and has `containing` in it.

        An empty `prefix` goes through the whole bucket, a thousand objects a request.
        """
        with translated(f"bucket {self.name}"):
            return tuple(
                FoundObject(
                    key=item.key,
                    size=int(item.size),
                    etag=str(item.etag or ""),
                    last_modified=int(item.last_modified or 0),
                    storage_class=str(item.storage_class or ""),
                )
                for item in oss2.ObjectIteratorV2(self._bucket, prefix=prefix, max_keys=1000)
                if not item.is_prefix() and containing in item.key
            )

    def look_at(self, key: str) -> FoundObject | None:
        """Return an object with its CRC-64 by a HEAD, or None where there is none of this key."""
        try:
            with translated(f"oss://{self.name}/{key}"):
                head = self._bucket.head_object(key)
        except OssRefused as error:
            if error.code in _ABSENT:
                return None
            raise
        headers = {name.lower(): value for name, value in head.headers.items()}
        return FoundObject(
            key=key,
            size=int(head.content_length or 0),
            etag=str(head.etag or ""),
            last_modified=int(head.last_modified or 0),
            storage_class=str(headers.get("x-oss-storage-class", "")),
            crc64=head.server_crc,
        )

    def find_objects(self, prefix: str, containing: str, keys: Iterable[str]) -> tuple[FoundObject, ...]:
        """Return objects as `list_objects` does; where the caller may not list, those of `keys` that exist."""
        try:
            return self.list_objects(prefix, containing)
        except OssRefused as error:
            if error.code != "AccessDenied":
                raise
            log.warning("The objects of %s cannot be listed, trying the names they should have", self.name)
            looks = [self.look_at(key) for key in dict.fromkeys(keys)]
            found = tuple(one for one in looks if one is not None)
            if not found:
                raise
            return found

    def confirm(self, exported: ExportedObject) -> ExportedObject | None:
        """Return a listed object with what only a HEAD tells, or None where it is gone or another one by now."""
        now = self.look_at(exported.key)
        if now is None or (now.size, now.etag) != (exported.size, exported.etag):
            return None
        return replace(
            exported, crc64=now.crc64, storage_class=now.storage_class or exported.storage_class,
            last_modified=now.last_modified,
        )  # fmt: skip
