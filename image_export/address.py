"""Knows which export is meant by `oss://bucket/prefix`: the one whose objects' names begin so."""

from __future__ import annotations

import re
from dataclasses import dataclass

from image_export.objects import parse_object_name
from image_export.policy import Policy
from image_export.session import REAL_CLOUD, Session
from migration.cloud import Cloud
from migration.credentials import CredentialSource
from migration.errors import InvalidInput
from migration.oss import OssRefused
from migration.progress import Stop

SCHEME = "oss://"

_START = re.compile(r"(?:(?P<prefix>[A-Za-z0-9]{1,30})[_-])?(?P<image>m-[A-Za-z0-9]+)(?:[_-].*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportAddress:
    """One export in a bucket; `prefix` "" where its objects' names begin with the image's id."""

    bucket: str
    prefix: str
    image_id: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{f'{self.prefix}_' if self.prefix else ''}{self.image_id}"


def find_export(
    cloud: Cloud, credentials: CredentialSource, address: str, *, policy: Policy = REAL_CLOUD, stop: Stop | None = None
) -> ExportAddress:
    """Return the only export whose objects begin as `address` does; the name of one object will do.

    Raises `InvalidInput` where there are none or several, and what OSS refuses.
    """
    bucket, _, start = address.removeprefix(SCHEME).partition("/")
    if not address.startswith(SCHEME) or not bucket:
        raise InvalidInput(f"{address!r} names no bucket", "write oss://BUCKET/[PREFIX_]m-…")
    session = Session(cloud=cloud, credentials=credentials, policy=policy, stop=stop)
    source = session.bucket(bucket)
    try:
        listing = session.insist(lambda: source.list_objects(start, "m-"))
    except OssRefused as error:
        match = _START.fullmatch(start)
        if error.code != "AccessDenied" or match is None:
            raise
        # Who may not list may still read what he can name.
        return ExportAddress(bucket=bucket, prefix=match["prefix"] or "", image_id=match["image"])
    names = [name for found in listing if (name := parse_object_name(found.key)) is not None]
    exports = sorted({(name.prefix, name.image_id) for name in names})
    if len(exports) != 1:
        addresses = [str(ExportAddress(bucket=bucket, prefix=prefix, image_id=image)) for prefix, image in exports]
        raise InvalidInput(
            f"{address}: {len(exports) or 'no'} exports begin like this"
            + "".join(f"\n  {one}" for one in addresses[:20]),
            "name one of them" if exports else "check the name: oss://BUCKET/[PREFIX_]m-…",
        )
    prefix, image_id = exports[0]
    return ExportAddress(bucket=bucket, prefix=prefix, image_id=image_id)
