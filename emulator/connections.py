"""Knows the sockets of the requests that are being answered, and how to break them as networks do."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from starlette.types import Receive, Scope
from uvicorn.protocols.http.h11_impl import H11Protocol


class Connections:
    """The open connections of one server, by the address of the other side."""

    def __init__(self) -> None:
        self._transports: dict[tuple[str, int], asyncio.Transport] = {}

    def protocol(self) -> type[asyncio.Protocol]:
        """Return uvicorn's protocol, made to tell us of its connections."""
        transports = self._transports

        class NotedProtocol(H11Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                self.peer = tuple(transport.get_extra_info("peername")[:2])
                transports[self.peer] = transport
                super().connection_made(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                transports.pop(self.peer, None)
                super().connection_lost(exc)

        return NotedProtocol

    async def close(self, scope: Scope, receive: Receive) -> None:
        """End the request's connection in order, after what was sent so far: the other side sees an early end."""
        if transport := self._find(scope):
            transport.close()
        await self.wait_for_end(receive)

    async def abort(self, scope: Scope, receive: Receive) -> None:
        """Reset the request's connection: the other side sees ECONNRESET."""
        if transport := self._find(scope):
            _reset(transport)
        await self.wait_for_end(receive)

    async def wait_for_end(self, receive: Receive) -> None:
        """Wait until uvicorn knows that the connection has ended: it would answer in our place otherwise."""
        while (await receive())["type"] != "http.disconnect":
            pass

    def abort_all(self) -> None:
        """Reset all connections."""
        for transport in list(self._transports.values()):
            _reset(transport)

    def _find(self, scope: Scope) -> asyncio.Transport | None:
        client: Any = scope["client"]
        return self._transports.get((client[0], client[1]))


def _reset(transport: asyncio.Transport) -> None:
    connection: socket.socket | None = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
