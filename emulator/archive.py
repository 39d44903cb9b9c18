"""Plays archived objects: frozen, being restored for a while, readable for some days.

Sources: the vendor's RestoreObject page (202, 409 while it runs, 200 once it is done; one day without a
body) and its page on restore states (`x-oss-restore` in HEAD). Guesses: the code for a number of days
out of bounds, and that a restart of OSS would forget restores, as this one does.
"""

from __future__ import annotations

import threading
import time
from email.utils import formatdate
from xml.etree import ElementTree as ET

from emulator.emulation import Emulation
from emulator.object_store import Bucket, ObjectMetadata
from emulator.oss_errors import OssError

DAY = 24 * 3600  # seconds
LONGEST_RESTORE = {"Archive": 7, "ColdArchive": 365, "DeepColdArchive": 365}  # days


class Archive:
    """The restores of one account. Thread-safe; a HEAD is what makes time pass (`Variants.restore_heads`)."""

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation
        self._mutex = threading.Lock()
        self._heads_left: dict[tuple[str, str, str], int] = {}
        self._readable_until: dict[tuple[str, str, str], float] = {}

    def check_readable(self, bucket: Bucket, metadata: ObjectMetadata) -> None:
        """Raise `OssError` for a GET of an object that is frozen or still being restored."""
        is_at_hand = metadata.storage_class == "Archive" and self._emulation.variants.archive_real_time
        if metadata.storage_class not in LONGEST_RESTORE or is_at_hand:
            return
        with self._mutex:
            if self._heads_left.get(_name(bucket, metadata), 1) > 0:
                raise OssError("InvalidObjectState", extras={"ObjectName": metadata.key})

    def look(self, bucket: Bucket, metadata: ObjectMetadata) -> dict[str, str]:
        """Return what a HEAD says of the object's restore; nothing where there is none."""
        name = _name(bucket, metadata)
        with self._mutex:
            if name not in self._heads_left:
                return {}
            if self._heads_left[name] > 0:
                self._heads_left[name] -= 1
                return {"x-oss-restore": 'ongoing-request="true"'}
            expiry = formatdate(self._readable_until[name], usegmt=True)
            return {"x-oss-restore": f'ongoing-request="false", expiry-date="{expiry}"'}

    def restore(self, bucket: Bucket, metadata: ObjectMetadata, body: bytes) -> int:
        """Begin to restore an object, or prolong its restore; return the HTTP status."""
        longest = LONGEST_RESTORE.get(metadata.storage_class)
        if longest is None:
            raise OssError("OperationNotSupported")
        days = _parse_days(body)
        if not 1 <= days <= longest:
            raise OssError("InvalidArgument", "The number of days is out of bounds.")
        name = _name(bucket, metadata)
        with self._mutex:
            if self._heads_left.get(name, 0) > 0:
                raise OssError("RestoreAlreadyInProgress", ec="0016-00000701")
            is_new = name not in self._heads_left
            if is_new:
                self._heads_left[name] = self._emulation.variants.restore_heads
            self._readable_until[name] = time.time() + days * DAY
            return 202 if is_new else 200


def _name(bucket: Bucket, metadata: ObjectMetadata) -> tuple[str, str, str]:
    """Return what a restore belongs to: not to an object that takes another's place."""
    return bucket.settings.name, metadata.key, metadata.etag


def _parse_days(body: bytes) -> int:
    if not body:
        return 1
    try:
        return int(ET.fromstring(body).findtext("Days", "1"))  # noqa: S314  # our own tests write it
    except (ET.ParseError, ValueError) as error:
        raise OssError("MalformedXML") from error
