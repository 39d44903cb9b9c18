"""OSS as an ASGI application: requests by path and by host name, signatures, bucket operations, objects by range.

oss2 uses path style (`/bucket/key`) for every IP address, and sends "/" in keys as `%2F` (measured, oss2 2.19.1).
"""

from __future__ import annotations

import asyncio
import secrets
from email.utils import formatdate
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from emulator.archive import Archive
from emulator.connections import Connections
from emulator.emulation import Emulation
from emulator.object_store import Bucket, delete_object, find_bucket, find_bucket_by_domain, find_object
from emulator.object_transfer import ObjectTransfer
from emulator.oss_errors import OssError
from emulator.oss_listing import render_bucket_info, render_bucket_location, render_listing
from emulator.oss_signature import SignedRequest, check_signature
from migration.cloud import is_loopback

# Sub-resources of an object that are something else than the object.
_UNEMULATED = frozenset({"acl", "symlink", "tagging", "uploadId"})

# Headers that are remembered of a request.
_NOTED = ("Range", "x-oss-traffic-limit")


class OssApi:
    """One account's OSS at the endpoint of its home region."""

    def __init__(self, emulation: Emulation, connections: Connections) -> None:
        self._emulation = emulation
        self._archive = Archive(emulation)
        self._transfer = ObjectTransfer(emulation, self._archive, connections)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        headers = {
            "x-oss-request-id": secrets.token_hex(12).upper(),
            "x-oss-server-time": "1",  # milliseconds
            "server": "AliyunOSS",
            "date": formatdate(self._emulation.oss_time(), usegmt=True),
        }
        try:
            await self._answer(request, headers, send)
        except OssError as error:
            body = error.body(headers["x-oss-request-id"], request.headers.get("host", ""))
            headers |= error.headers(body, is_head=request.method == "HEAD")
            answer = Response(body, error.status, headers, "application/xml")
            await answer(scope, receive, send)

    async def _answer(self, request: Request, headers: dict[str, str], send: Send) -> None:
        bucket_name, key = self._find_names(request)
        signed = SignedRequest(request.method, bucket_name, key, dict(request.query_params), dict(request.headers))
        noted = {name: signed.headers[name.lower()] for name in _NOTED if name.lower() in signed.headers}
        self._emulation.note("oss", f"{request.method} /{bucket_name}/{key}", {**signed.params, **noted})
        check_signature(self._emulation, signed)
        bucket = self._find_bucket(bucket_name)
        self._check_permission(signed)
        if key and request.method in {"GET", "HEAD"} and not _UNEMULATED & signed.params.keys():
            await self._transfer.send(request, bucket, key, headers, send)
            return
        body = await request.body()
        answer = await asyncio.to_thread(self._answer_small, signed, body, bucket, headers)
        await answer(request.scope, request.receive, send)

    def _find_names(self, request: Request) -> tuple[str, str]:
        """Return the bucket and the key that a request means, by its host name unless that is only this machine."""
        path = request.scope["path"].removeprefix("/")  # decoded by uvicorn
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
        if is_loopback(host):
            bucket_name, _, key = path.partition("/")
            return bucket_name, key
        if host.endswith(".aliyuncs.com"):  # bucket.oss-region.aliyuncs.com; without the bucket it is the service
            return host.partition(".")[0] if host.count(".") > 2 else "", path
        return find_bucket_by_domain(self._emulation.folder, host), path

    def _check_permission(self, signed: SignedRequest) -> None:
        """Raise `OssError` for what RAM does not allow; HEAD needs the same right as GET (vendor's pages)."""
        if signed.key:
            action = {"DELETE": "DeleteObject", "POST": "RestoreObject"}.get(signed.method, "GetObject")
        elif "bucketInfo" in signed.params:
            action = "GetBucketInfo"
        else:
            action = "GetBucketLocation" if "location" in signed.params else "ListObjects"
        if f"oss:{action}" in self._emulation.variants.denied_actions:
            raise OssError("AccessDenied")

    def _find_bucket(self, name: str) -> Bucket:
        bucket = find_bucket(self._emulation.folder, name) if name else None
        if bucket is None:
            raise OssError("NoSuchBucket", extras={"BucketName": name})
        region = bucket.settings.region_id
        if region != self._emulation.settings.region_id:
            # Vendor's page on status 403; the elements and the EC were seen in reports of real errors.
            message = (
                "The bucket you are attempting to access must be addressed using the specified endpoint. "
                "Please send all future requests to this endpoint."
            )
            extras = {"Bucket": name, "Endpoint": f"oss-{region}.aliyuncs.com"}
            raise OssError("AccessDenied", message, extras=extras, ec="0003-00001403")
        return bucket

    def _answer_small(self, signed: SignedRequest, body: bytes, bucket: Bucket, headers: dict[str, str]) -> Response:
        """Answer what fits in memory."""
        method, params = signed.method, signed.params
        if signed.key:
            if method == "POST" and "restore" in params:
                metadata = find_object(bucket, signed.key)
                if metadata is None:
                    raise OssError("NoSuchKey", extras={"Key": signed.key})
                return Response(status_code=self._archive.restore(bucket, metadata, body), headers=headers)
            if method != "DELETE":
                raise OssError("NotImplemented" if method in {"PUT", "POST", "GET"} else "MethodNotAllowed")
            delete_object(bucket, signed.key, params.get("versionId", ""))
            return Response(status_code=204, headers=headers)
        if method != "GET":
            raise OssError("NotImplemented")
        if "bucketInfo" in params:
            xml = render_bucket_info(self._emulation, bucket)
        elif "location" in params:
            xml = render_bucket_location(bucket)
        elif params.get("list-type") == "2":
            xml = render_listing(bucket, params)
        else:
            raise OssError("NotImplemented")
        return Response(xml, headers=headers, media_type="application/xml")
