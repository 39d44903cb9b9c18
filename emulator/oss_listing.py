"""Knows the XML of OSS's bucket operations: ListObjectsV2, GetBucketInfo, GetBucketLocation."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from urllib.parse import quote
from xml.sax.saxutils import escape

from emulator.emulation import Emulation
from emulator.object_store import Bucket, ObjectMetadata, list_objects
from emulator.oss_errors import OssError

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'


def render_bucket_info(emulation: Emulation, bucket: Bucket) -> str:
    """Answer GetBucketInfo (vendor's page). Endpoints are the real region's names, as a client would see them."""
    settings, owner = bucket.settings, emulation.settings.owner_id
    region = settings.region_id
    return (
        f"{_HEAD}<BucketInfo><Bucket><Name>{escape(settings.name)}</Name>"
        f"<CreationDate>{settings.creation_time}</CreationDate>"
        f"<Location>oss-{region}</Location>"
        f"<ExtranetEndpoint>oss-{region}.aliyuncs.com</ExtranetEndpoint>"
        f"<IntranetEndpoint>oss-{region}-internal.aliyuncs.com</IntranetEndpoint>"
        f"<StorageClass>{settings.storage_class}</StorageClass><DataRedundancyType>LRS</DataRedundancyType>"
        f"<Owner><ID>{owner}</ID><DisplayName>{owner}</DisplayName></Owner>"
        "<AccessControlList><Grant>private</Grant></AccessControlList>"
        "<AccessMonitor>Disabled</AccessMonitor><BucketPolicy><LogBucket/><LogPrefix/></BucketPolicy>"
        "</Bucket></BucketInfo>"
    )


def render_bucket_location(bucket: Bucket) -> str:
    """Answer GetBucketLocation (vendor's page): the region with `oss-` before it."""
    return f"{_HEAD}<LocationConstraint>oss-{bucket.settings.region_id}</LocationConstraint>"


def render_listing(bucket: Bucket, params: Mapping[str, str]) -> str:
    """Answer ListObjectsV2 (vendor's page; names as oss2 2.19.1 parses them), or raise `OssError`."""
    limit = _max_keys(params.get("max-keys", "100"))
    prefix, delimiter = params.get("prefix", ""), params.get("delimiter", "")
    token = params.get("continuation-token", "")
    after = _read_token(token) if token else params.get("start-after", "")
    entries = _entries([o for o in list_objects(bucket) if o.key.startswith(prefix)], prefix, delimiter)
    entries = {name: found for name, found in entries.items() if name.encode() > after.encode()}
    names = list(entries)[:limit]
    is_truncated = len(entries) > len(names)
    encoded = params.get("encoding-type") == "url"

    def text(value: str) -> str:
        return escape(quote(value, safe="") if encoded else value)

    head = (
        f"<Name>{escape(bucket.settings.name)}</Name><Prefix>{text(prefix)}</Prefix>"
        f"<StartAfter>{text(params.get('start-after', ''))}</StartAfter>"
        f"<MaxKeys>{limit}</MaxKeys><Delimiter>{text(delimiter)}</Delimiter>"
        f"<IsTruncated>{str(is_truncated).lower()}</IsTruncated><KeyCount>{len(names)}</KeyCount>"
    )
    rows = [head]
    rows += ["<EncodingType>url</EncodingType>"] if encoded else []
    rows += [f"<ContinuationToken>{escape(token)}</ContinuationToken>"] if token else []
    if is_truncated and names:
        rows.append(f"<NextContinuationToken>{_write_token(names[-1])}</NextContinuationToken>")
    for name in names:
        found = entries[name]
        rows.append(
            f"<CommonPrefixes><Prefix>{text(name)}</Prefix></CommonPrefixes>"
            if found is None
            else f"<Contents><Key>{text(name)}</Key>{_properties(found)}</Contents>"
        )
    return f"{_HEAD}<ListBucketResult>{''.join(rows)}</ListBucketResult>"


def _entries(objects: Sequence[ObjectMetadata], prefix: str, delimiter: str) -> dict[str, ObjectMetadata | None]:
    """Return objects by key, with all that share a name up to the delimiter folded into one prefix (None)."""
    entries: dict[str, ObjectMetadata | None] = {}
    for found in objects:
        head, separator, _ = found.key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
        entries[f"{prefix}{head}{separator}" if separator else found.key] = None if separator else found
    return entries


def _properties(found: ObjectMetadata) -> str:
    modified = datetime.fromtimestamp(found.last_modified, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return (
        f"<LastModified>{modified}</LastModified><ETag>&quot;{found.etag}&quot;</ETag><Type>{found.object_type}</Type>"
        f"<Size>{found.size}</Size><StorageClass>{found.storage_class}</StorageClass>"
    )


def _max_keys(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise OssError("InvalidArgument", "max-keys must be between 1 and 1000.")
    return int(text)


def _write_token(name: str) -> str:
    return base64.b64encode(name.encode()).decode()


def _read_token(token: str) -> str:
    try:
        return base64.b64decode(token, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise OssError("InvalidArgument", "The continuation token is not one of ours.") from error
