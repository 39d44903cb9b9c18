"""Knows how OSS hands out an object: preconditions, ranges, headers, bytes; and how that goes wrong."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from email.utils import formatdate, parsedate_to_datetime

from starlette.requests import Request
from starlette.types import Send

from emulator.archive import Archive
from emulator.byte_range import find_range
from emulator.connections import Connections
from emulator.emulation import Emulation
from emulator.object_store import Bucket, ObjectMetadata, open_object, open_writer
from emulator.oss_errors import OssError
from emulator.sparse import CHUNK

# Variants, of which one GET meets one at most.
_HALF_BODY_FAULTS = ("truncate_gets", "reset_gets", "stall_gets")
_BODY_FAULTS = (*_HALF_BODY_FAULTS, "corrupt_gets")


class ObjectTransfer:
    """Serves GetObject and HeadObject."""

    def __init__(self, emulation: Emulation, archive: Archive, connections: Connections) -> None:
        self._emulation, self._archive, self._connections = emulation, archive, connections

    async def send(self, request: Request, bucket: Bucket, key: str, headers: dict[str, str], send: Send) -> None:
        """Answer a GET or HEAD of an object, or raise `OssError` before anything was sent."""
        is_head = request.method == "HEAD"
        emulation = self._emulation
        if not is_head and emulation.strikes("unavailable_gets"):
            raise OssError("ServiceUnavailable")
        if (
            not is_head
            and emulation.variants.replace_after_gets
            and not emulation.strikes("replace_after_gets", of=key)
        ):
            await asyncio.to_thread(self._replace_once, bucket, key)
        with open_object(bucket, key) as opened:
            if opened is None:
                raise OssError("NoSuchKey", extras={"Key": key})
            metadata, stream = opened
            check_preconditions(metadata, request.headers)
            if not is_head:
                self._archive.check_readable(bucket, metadata)
            standard = request.headers.get("x-oss-range-behavior") == "standard"
            span = None
            if not is_head and not emulation.variants.ignore_ranges:
                span = find_range(request.headers.get("range"), metadata.size, standard=standard)
            first, last = span or (0, metadata.size - 1)
            rate = self._find_rate(request.headers.get("x-oss-traffic-limit"))
            headers |= object_headers(metadata, with_crc=not emulation.variants.no_crc)
            if is_head:
                headers |= self._archive.look(bucket, metadata)
            headers["content-length"] = str(last - first + 1)
            if span:
                headers["content-range"] = f"bytes {first}-{last}/{metadata.size}"
            await send({
                "type": "http.response.start",
                "status": 206 if span else 200,
                "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
            })  # fmt: skip
            if is_head:
                await send({"type": "http.response.body"})
            else:
                await self._send_body(request, stream.fileno(), first, last + 1, rate, send)

    def _find_rate(self, traffic_limit: str | None) -> int:
        """Return how many bytes a second a connection gets, 0 for no limit.

        The header is in bits (range: vendor's page on single-connection limits; the EC: its error code page).
        """
        rate = self._emulation.variants.bytes_per_second
        if traffic_limit is None:
            return rate
        if (
            not traffic_limit.isascii()
            or not traffic_limit.isdecimal()
            or not 819_200 <= int(traffic_limit) <= 838_860_800
        ):
            raise OssError("InvalidArgument", "The x-oss-traffic-limit is invalid.", ec="0004-00000502")
        return min(filter(None, (rate, int(traffic_limit) // 8)))

    async def _send_body(self, request: Request, descriptor: int, offset: int, end: int, rate: int, send: Send) -> None:
        """Send the bytes in large chunks; uvicorn holds us back when the other side reads slowly."""
        fault = next((name for name in _BODY_FAULTS if self._emulation.strikes(name)), "")
        stop = offset + (end - offset) // 2 if fault in _HALF_BODY_FAULTS else end
        start, begun = offset, time.monotonic()
        while offset < stop:
            size = min(CHUNK, max(1, rate // 10) if rate else CHUNK, stop - offset)
            # Read on the loop: the bytes are in the page cache as a rule, and a thread costs more than the copy.
            chunk = os.pread(descriptor, size, offset)
            if not chunk or await request.is_disconnected():
                return
            if fault == "corrupt_gets" and offset == start:
                chunk = bytes([chunk[0] ^ 1]) + chunk[1:]
            offset += len(chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if rate:
                await asyncio.sleep(max(0, begun + (offset - start) / rate - time.monotonic()))
        if fault == "truncate_gets":
            await self._connections.close(request.scope, request.receive)
        elif fault == "reset_gets":
            await self._connections.abort(request.scope, request.receive)
        elif fault == "stall_gets":
            await self._connections.wait_for_end(request.receive)
        else:
            await send({"type": "http.response.body"})

    def _replace_once(self, bucket: Bucket, key: str) -> None:
        """Replace an object by another one of the same size, one time."""
        if not self._emulation.is_first(f"replace {key}"):
            return
        with open_object(bucket, key) as opened:
            if opened is None:
                return
            metadata, stream = opened
            with open_writer(bucket, key) as writer:
                while chunk := stream.read(CHUNK):
                    writer.write(bytes(255 - byte for byte in chunk[:64]) + chunk[64:])
                writer.commit(parts=1 if metadata.object_type == "Multipart" else 0)


def check_preconditions(metadata: ObjectMetadata, headers: Mapping[str, str]) -> None:
    """Raise `OssError` (412) where If-Match or If-Unmodified-Since does not hold (vendor's GetObject page).

    An ETag without its quotes is accepted (likely so in OSS: oss2's own downloader sends it like that).
    """
    etag, since = headers.get("if-match"), headers.get("if-unmodified-since")
    if etag is not None and etag.strip('"') != metadata.etag:
        raise OssError("PreconditionFailed", extras={"Condition": "If-Match"})
    if since is not None and metadata.last_modified > _parse_http_date(since):
        raise OssError("PreconditionFailed", extras={"Condition": "If-Unmodified-Since"})


def _parse_http_date(text: str) -> float:
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError as error:
        raise OssError("InvalidArgument", "The date in a precondition is malformed.") from error


def object_headers(metadata: ObjectMetadata, *, with_crc: bool) -> dict[str, str]:
    """Return what GET and HEAD say of an object. The CRC is the whole object's, also for a range (vendor's page)."""
    headers = {
        "content-type": "application/octet-stream",
        "accept-ranges": "bytes",
        "etag": f'"{metadata.etag}"',
        "last-modified": formatdate(metadata.last_modified, usegmt=True),
        "x-oss-object-type": metadata.object_type,
        "x-oss-storage-class": metadata.storage_class,
    }
    if with_crc:
        headers["x-oss-hash-crc64ecma"] = str(metadata.crc64)
    if metadata.version_id:
        headers["x-oss-version-id"] = metadata.version_id
    return headers
