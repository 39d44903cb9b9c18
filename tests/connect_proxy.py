"""A proxy as companies have them, on loopback: CONNECT only, with a password; every name leads to the same server."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ConnectProxy:
    """The proxy, listening. `asked` are the hosts and ports that were let through."""

    def __init__(self, target_port: int, user: str, password: str) -> None:
        self.asked: list[str] = []
        self.refused = 0
        self._expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self._target_port = target_port
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_CONNECT(self) -> None:
                proxy.connect(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                """Say nothing: that the other side hangs up is usual."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def connect(self, wire: BaseHTTPRequestHandler) -> None:
        """Let both sides speak to each other, or ask for the password."""
        if wire.headers["Proxy-Authorization"] != self._expected:
            self.refused += 1
            wire.send_response(407)
            wire.send_header("Proxy-Authenticate", 'Basic realm="company"')
            wire.send_header("Content-Length", "0")
            wire.end_headers()
            return
        self.asked.append(wire.path)
        wire.close_connection = True
        with socket.create_connection(("127.0.0.1", self._target_port)) as onward:
            wire.send_response_only(200, "Connection established")
            wire.end_headers()
            back = threading.Thread(target=_carry, args=(onward, wire.connection), daemon=True)
            back.start()
            _carry(wire.connection, onward)
            back.join()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(65536):
            sink.sendall(chunk)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def connect_proxy(target_port: int, user: str, password: str) -> Iterator[ConnectProxy]:
    """Run the proxy for the length of the block."""
    proxy = ConnectProxy(target_port, user, password)
    try:
        yield proxy
    finally:
        proxy.close()
