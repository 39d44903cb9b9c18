"""A box before Glance that passes requests on, counts them, and spoils the uploads that it is told to spoil.

A real server on loopback: what goes wrong goes wrong on a socket.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.middle_box import break_off

CHUNK = 64 * 1024
WAIT = 120.0  # seconds after which a test that hangs fails


class GlanceProxy:
    """The box. `spoil(number)` says what becomes of that upload, counted from 1: a function below, or None."""

    def __init__(self, behind: int) -> None:
        self.behind = behind
        self.requests: list[str] = []  # "PUT /v2/images/…/file", in the order in which they came
        self.uploads = 0
        self.most_at_once = 0
        self.spoil: Callable[[int], Spoil | None] = lambda _number: None
        self.reached = threading.Event()  # an upload is held in its middle
        self.release = threading.Event()
        self._at_once = 0
        self._mutex = threading.Lock()
        box = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                box.handle(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Say nothing: that the other side hangs up is part of the play."""

        self.server = Server(("127.0.0.1", 0), Handler)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def sent(self, verb: str) -> list[str]:
        """Return the requests with that verb."""
        return [line for line in self.requests if line.startswith(f"{verb} ")]

    def handle(self, wire: BaseHTTPRequestHandler) -> None:
        spoil = None
        is_upload = wire.command == "PUT"
        with self._mutex:
            self.requests.append(f"{wire.command} {wire.path}")
            if is_upload:
                self.uploads += 1
                spoil = self.spoil(self.uploads)
                self._at_once += 1
                self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if spoil is not None:
                spoil(self, wire)
            else:
                self.pass_on(wire)
        except OSError:
            wire.close_connection = True
        finally:
            with self._mutex:
                self._at_once -= is_upload

    def pass_on(self, wire: BaseHTTPRequestHandler, *, hold_at: int = -1, lose_answer: bool = False) -> None:
        """Pass a request on as it comes; with `hold_at` wait there for `release`, as a network that stalls does."""
        onward = http.client.HTTPConnection("127.0.0.1", self.behind, timeout=WAIT)
        try:
            left = int(wire.headers.get("Content-Length") or 0)
            body = self._body(wire, left, hold_at) if left else None
            onward.request(wire.command, wire.path, body=body, headers=dict(wire.headers.items()))
            answer = onward.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            break_off(wire)
            return
        finally:
            onward.close()
        if lose_answer:
            break_off(wire)
            return
        reply(wire, answer.status, content, dict(answer.getheaders()))

    def _body(self, wire: BaseHTTPRequestHandler, left: int, hold_at: int) -> Iterator[bytes]:
        done = 0
        while left:
            chunk = wire.rfile.read(min(left, CHUNK))
            if not chunk:
                raise ConnectionResetError
            if 0 <= hold_at <= done and not self.reached.is_set():
                self.reached.set()
                self.release.wait(WAIT)
            yield chunk
            left -= len(chunk)
            done += len(chunk)


Spoil = Callable[[GlanceProxy, Any], None]


def reply(wire: BaseHTTPRequestHandler, status: int, content: bytes, headers: dict[str, str]) -> None:
    """Answer, in full."""
    wire.send_response(status)
    for name, value in headers.items():
        if name.lower() not in {"content-length", "transfer-encoding", "connection", "date", "server"}:
            wire.send_header(name, value)
    wire.send_header("Content-Length", str(len(content)))
    wire.end_headers()
    wire.wfile.write(content)


def hold(at: int) -> Spoil:
    """Pass on the first `at` bytes, then nothing until `release` is set."""
    return lambda box, wire: box.pass_on(wire, hold_at=at)


def lose_answer(box: GlanceProxy, wire: BaseHTTPRequestHandler) -> None:
    """Let Glance have all, and cut the connection where its answer would come."""
    box.pass_on(wire, lose_answer=True)


def cut(at: int) -> Spoil:
    """Reset the connection after `at` bytes; Glance never hears of them."""

    def spoil(_box: GlanceProxy, wire: BaseHTTPRequestHandler) -> None:
        wire.rfile.read(at)
        break_off(wire)

    return spoil


def says(status: int, text: str, at: int = 1 << 20) -> Spoil:
    """Answer with an error in mid-upload, and hang up on what else comes."""

    def spoil(_box: GlanceProxy, wire: BaseHTTPRequestHandler) -> None:
        wire.rfile.read(at)
        page = f"<html><head><title>{status}</title></head><body><h1>{status}</h1>{text}</body></html>".encode()
        reply(wire, status, page, {"Content-Type": "text/html"})
        wire.close_connection = True

    return spoil


@contextmanager
def glance_proxy(behind: int) -> Iterator[GlanceProxy]:
    """Put a box before the Glance at port `behind` for the length of the block."""
    box = GlanceProxy(behind)
    thread = threading.Thread(target=box.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield box
    finally:
        box.release.set()
        box.server.shutdown()
        thread.join()
        box.server.server_close()
