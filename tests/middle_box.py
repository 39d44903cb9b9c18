"""A box between a download and the cloud that passes everything on, and spoils the answers it is told to spoil.

It is a real server on loopback in front of the emulator: requests reach OSS as they were signed, answers
are OSS's own, and what goes wrong goes wrong on a socket. It remembers which ranges were asked for.
"""

from __future__ import annotations

import gzip
import http.client
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """What OSS said, and the connection on which to pass it on, or not."""

    status: int
    headers: dict[str, str]
    body: bytes
    wire: BaseHTTPRequestHandler

    def send(self, count: int | None = None) -> None:
        """Pass the answer on: its head, and the first `count` bytes of its body, by default all."""
        self.wire.send_response_only(self.status)
        for name, value in self.headers.items():
            self.wire.send_header(name, value)
        self.wire.end_headers()
        self.wire.wfile.write(self.body[:count])

    def replace_body(self, body: bytes, status: int, content_type: str = "application/xml") -> None:
        """Say something else instead, and nothing of what OSS said."""
        self.status, self.body = status, body
        self.headers = {"Content-Length": str(len(body)), "Content-Type": content_type}

    def wait_for_end(self) -> None:
        """Wait until the other side hangs up."""
        with suppress(OSError):
            self.wire.connection.recv(1)
        self.wire.close_connection = True


Spoil = Callable[[Answer], None]


def reset(answer: Answer) -> None:
    """Break off in mid-body as a crashed peer does."""
    answer.send(len(answer.body) // 2)
    break_off(answer.wire)


def reset_at_once(answer: Answer) -> None:
    """Break off before a word was said."""
    break_off(answer.wire)


def break_off(wire: BaseHTTPRequestHandler) -> None:
    """Reset a connection: the other side sees ECONNRESET."""
    wire.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.close_connection = True


def truncate(answer: Answer) -> None:
    """End the connection in order, in mid-body."""
    answer.send(len(answer.body) // 2)
    answer.wire.close_connection = True


def stall(answer: Answer) -> None:
    """Send half, and then nothing more."""
    answer.send(len(answer.body) // 2)
    answer.wait_for_end()


def trickle(answer: Answer) -> None:
    """Send a byte now and then, each soon enough that no wait for the next one is long."""
    answer.send(len(answer.body) // 2)
    with suppress(OSError):
        for byte in answer.body[len(answer.body) // 2 :]:
            answer.wire.wfile.write(bytes([byte]))
            time.sleep(0.02)
    answer.wire.close_connection = True


def says(status: int, code: str = "", **headers: str) -> Spoil:
    """Answer with an error of OSS, or without a text where there is no `code`."""

    def spoil(answer: Answer) -> None:
        text = f"<Error><Code>{code}</Code><Message>m</Message><RequestId>R</RequestId></Error>" if code else ""
        answer.replace_body(text.encode(), status)
        answer.headers |= {name.replace("_", "-"): value for name, value in headers.items()}
        answer.send()

    return spoil


def login_page(answer: Answer) -> None:
    """Answer as a hotel's network does."""
    answer.replace_body(b"<html><body>Please <b>log in", 200, "text/html")
    answer.send()


def wrong_range(answer: Answer) -> None:
    """Name another range than the one that was asked for; the bytes are those of neither."""
    start, last, total = map(int, re.findall(r"\d+", answer.headers["content-range"]))
    answer.headers["content-range"] = f"bytes {start + 1}-{last + 1}/{total}"
    answer.body = bytes(len(answer.body))
    answer.send()


def ignore_range(answer: Answer) -> None:
    """Say 200, as a cache does that knows no ranges."""
    answer.status = 200
    del answer.headers["content-range"]
    answer.body = bytes(len(answer.body))
    answer.send()


def compress(answer: Answer) -> None:
    """Compress the body, as an accelerator does that was not asked to."""
    answer.body = gzip.compress(answer.body)
    answer.headers |= {"content-length": str(len(answer.body)), "content-encoding": "gzip"}
    answer.send()


def compress_chunked(answer: Answer) -> None:
    """Compress the body without saying how long it is."""
    packed = gzip.compress(answer.body)
    answer.body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed), packed)
    del answer.headers["content-length"]
    answer.headers |= {"content-encoding": "gzip", "transfer-encoding": "chunked"}
    answer.send()


def babble(answer: Answer) -> None:
    """Speak something that is no HTTP."""
    answer.wire.wfile.write(b"\x16\x03\x01 what did you say?\r\n" * 20)
    answer.wire.close_connection = True


@dataclass
class Range:
    """A range that was asked for; `end` is not part of it."""

    start: int
    end: int
    passed_on: bool = False  # whole, and as OSS said it


class MiddleBox:
    """The box, listening. It spoils the answers to the requests whose numbers, from 1, are in `hits`."""

    def __init__(self, behind: str, spoil: Spoil, hits: Container[int], tls: ssl.SSLContext | None) -> None:
        self.spoil, self.hits = spoil, hits
        self.ranges: list[Range] = []  # in the order in which they were asked for
        self.spoiled = 0
        self.port = 0
        self._behind, self._tls = behind, tls
        self._mutex = threading.Lock()
        self._connections: set[socket.socket] = set()
        self.come_back()

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def asked_again(self) -> list[Range]:
        """The ranges that were asked for though they, or a part of them, had been passed on whole before."""
        return [
            later
            for number, one in enumerate(self.ranges)
            if one.passed_on
            for later in self.ranges[number + 1 :]
            if later.start < one.end and one.start < later.end
        ]

    def come_back(self) -> None:
        """Answer, on the port of before if there was one."""
        box = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                box.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def process_request(self, request: Any, client_address: Any) -> None:
                box._connections.add(request)  # it is a part of the box
                super().process_request(request, client_address)

            def shutdown_request(self, request: Any) -> None:
                """Close, and nothing before it: an orderly end first would make a reset look like one."""
                self.close_request(request)

            def handle_error(self, *_: object) -> None:
                """Say nothing: that the other side hangs up is part of the play."""

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        if self._tls is not None:
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def leave(self) -> None:
        """Be gone: connections are cut, new ones refused."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        while self._connections:
            with suppress(OSError):
                # Not close: the thread that serves it has it open as well, and would go on.
                self._connections.pop().shutdown(socket.SHUT_RDWR)

    def answer(self, wire: BaseHTTPRequestHandler) -> None:
        """Ask OSS, and pass on what it says, or spoil it."""
        first, last = map(int, wire.headers["Range"].removeprefix("bytes=").split("-"))
        asked = Range(first, last + 1)
        with self._mutex:
            self.ranges.append(asked)
            is_hit = len(self.ranges) in self.hits
            self.spoiled += is_hit
        onward = http.client.HTTPConnection(self._behind, timeout=30)
        try:
            onward.request("GET", wire.path, headers=dict(wire.headers.items()))
            reply = onward.getresponse()
            headers = {name.lower(): value for name, value in reply.getheaders()}
            answer = Answer(reply.status, headers, reply.read(), wire)
        finally:
            onward.close()
        if is_hit:
            self.spoil(answer)
        else:
            answer.send()
            asked.passed_on = answer.status == 206


@contextmanager
def middle_box(
    behind: str, spoil: Spoil = Answer.send, hits: Container[int] = (), tls: ssl.SSLContext | None = None
) -> Iterator[MiddleBox]:
    """Put a box before `behind`, a host and port, for the length of the block. With `tls` it speaks HTTPS."""
    box = MiddleBox(behind, spoil, hits, tls)
    try:
        yield box
    finally:
        box.leave()
