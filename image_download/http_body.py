"""urllib3's connections, with bodies that can be read into a buffer one has: urllib3 itself only hands out copies.

Measured for 1 GiB over loopback by four connections: 0.40 s of CPU, 0.65 s by urllib3's `read1` and a copy; as fast
as four curls. Parsing, pooling, TLS and proxies stay urllib3's and the standard library's.
"""

from __future__ import annotations

import http.client
import socket
from typing import TYPE_CHECKING, Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class Body(http.client.HTTPResponse):
    """An answer of which what has come can be put where it belongs."""

    def readinto1(self, buffer: WriteableBuffer, /) -> int:
        """Put into `buffer`, which must not be empty, what one read of the socket brings; 0 at the end of the body.

        Raises `http.client.IncompleteRead` where it ends early, `OSError` where the connection fails.
        """
        if self.isclosed():
            return 0
        if self.chunked:  # what nobody sends for a range; correct, if not fast
            return super().readinto1(buffer)
        with memoryview(buffer) as view:
            count = self.fp.readinto1(view if self.length is None else view[: self.length])
        if self.length is not None:
            self.length -= count
            if not count and self.length:
                raise http.client.IncompleteRead(b"", self.length)
        if not count or self.length == 0:
            self.close()  # only the body: the connection can serve the next request
        return count


def _make_body(connection: _Connection | _SecureConnection, sock: socket.socket, **options: Any) -> Body:
    connection.body = Body(sock, **options)
    return connection.body


class _Connection(HTTPConnection):
    body: Body
    response_class = _make_body  # type: ignore[assignment]  # http.client does no more than call it


class _SecureConnection(HTTPSConnection):
    body: Body
    response_class = _make_body  # type: ignore[assignment]


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


POOLS = {"http": _Pool, "https": _SecurePool}  # for `PoolManager.pool_classes_by_scheme`


def body_of(response: urllib3.BaseHTTPResponse) -> Body:
    """Return the body of a response that came over a connection of `POOLS` and has not been read to its end."""
    connection = response.connection
    if not isinstance(connection, (_Connection, _SecureConnection)):
        raise TypeError(f"{connection!r} is none of ours")
    return connection.body
