"""What the tests of image_export share: a hurried policy, an image, and an ECS that answers from a script."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from image_export.ecs import Ecs
from image_export.policy import Policy
from migration.cloud import Cloud
from migration.credentials import Credentials
from migration.disk import DiskRole
from migration.image import GIB, Image, ImageDisk

HURRIED = Policy(
    first_interval=0.01, longest_interval=0.03, read_timeout=5.0, answer_patience=10.0, silence_patience=10.0,
    busy_patience=10.0, lost_reply_patience=0.2, missing_task_patience=0.1, objects_patience=0.1, cancel_patience=10.0,
)  # fmt: skip

KEYS = Credentials(
    access_key_id="LTAI5tScriptedKey", access_key_secret="scripted-secret-half", security_token="scripted/sts+token=="
)


def make_image(*data_disks: str, **changes: Any) -> Image:
    """Return an exportable image: system disk of 40 GiB, data disks of 100 GiB; `changes` are fields of Image."""
    system = ImageDisk(device="xvda", role=DiskRole.SYSTEM, size=40 * GIB)
    data = [ImageDisk(device=device, role=DiskRole.DATA, size=100 * GIB) for device in data_disks]
    fields: dict[str, Any] = {
        "image_id": "m-bp1image", "name": "web", "region_id": "cn-hangzhou", "status": "Available",
        "owner_alias": "self", "product_code": "", "os_type": "linux", "os_name": "Debian 12", "architecture": "x86_64",
        "boot_mode": "BIOS", "disks": (system, *data),
    }  # fmt: skip
    return Image(**{**fields, **changes})


class Reply(NamedTuple):
    """One scripted answer; a `status` of 0 cuts the connection instead."""

    status: int
    body: bytes


def answer(**fields: Any) -> Reply:
    """Return a 200 with a JSON body."""
    return Reply(200, json.dumps({"RequestId": "R-1", **fields}).encode())


def error(status: int, code: str, message: str = "no reason given") -> Reply:
    """Return an error as the API words it."""
    return Reply(status, json.dumps({"RequestId": "R-2", "HostId": "ecs", "Code": code, "Message": message}).encode())


CUT = Reply(0, b"")


@dataclass
class ScriptedEcs:
    """An ECS that gives the script's answers in order, the last one for ever, and remembers what it was asked."""

    port: int = 0
    scheme: str = "http"
    requests: list[dict[str, str]] = field(default_factory=list)

    @property
    def cloud(self) -> Cloud:
        return Cloud(region_id="cn-hangzhou", ecs_endpoint=f"{self.scheme}://127.0.0.1:{self.port}")

    def ecs(self, keys: Credentials = KEYS) -> Ecs:
        return Ecs(self.cloud, lambda: keys, read_timeout=HURRIED.read_timeout)

    @property
    def actions(self) -> list[str]:
        return [request["Action"] for request in self.requests]


@contextmanager
def scripted_ecs(script: Sequence[Reply], *, tls: ssl.SSLContext | None = None) -> Iterator[ScriptedEcs]:
    """Run an ECS on loopback that knows nothing but its script: for answers no well-behaved emulator gives."""
    scripted = ScriptedEcs(scheme="https" if tls else "http")
    replies = iter(script)
    last = script[-1]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            scripted.requests.append(dict(parse_qsl(urlsplit(self.path).query)))
            reply = next(replies, last)
            if reply.status == 0:
                self.close_connection = True
                return
            self.send_response(reply.status)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
            """Keep stderr for what the code under test writes."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that refuses our certificate is part of the script."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    scripted.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield scripted
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
