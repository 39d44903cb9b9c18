"""Serves bytes as a read-only disk at a Unix socket, in as much of the NBD protocol as QEMU needs for that.

Source of all numbers: the protocol's own text, NetworkBlockDevice/nbd, doc/proto.md. Only simple
replies are spoken, one request at a time on each connection.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

log = logging.getLogger(__name__)

_NBDMAGIC = 0x4E42444D41474943
_IHAVEOPT = 0x49484156454F5054
_OPTION_REPLY = 0x0003E889045565A9
_REQUEST = 0x25609513
_SIMPLE_REPLY = 0x67446698

_FIXED_NEWSTYLE, _NO_ZEROES = 1, 2  # flags of the handshake, the same for both sides
_HAS_FLAGS, _READ_ONLY, _SEND_FLUSH, _CAN_MULTI_CONN = 1, 2, 4, 256  # of the export

_OPT_EXPORT_NAME, _OPT_ABORT, _OPT_LIST, _OPT_INFO, _OPT_GO = 1, 2, 3, 6, 7
_REP_ACK, _REP_SERVER, _REP_INFO = 1, 2, 3
_REP_ERR_UNSUP, _REP_ERR_INVALID, _REP_ERR_UNKNOWN = ((1 << 31) + number for number in (1, 3, 6))
_INFO_EXPORT, _INFO_BLOCK_SIZE = 0, 3

_CMD_READ, _CMD_WRITE, _CMD_DISC, _CMD_FLUSH = 0, 1, 2, 3

LONGEST_REQUEST = 32 << 20  # bytes; what the protocol says every client may ask for
LONGEST_OPTION = 64 << 10
HANDSHAKE_TIMEOUT = 30.0  # seconds
MOST_CONNECTIONS = 16
JOIN_PATIENCE = 2.0  # seconds for threads to come home when we stop


class Readable(Protocol):
    """What is served."""

    @property
    def size(self) -> int:
        """Bytes that there are."""

    def read(self, offset: int, length: int) -> bytes | bytearray:
        """Return exactly `length` bytes, all of which exist. Raises `OSError`, which the client sees as EIO."""


@contextmanager
def serve_readonly(source: Readable, path: Path) -> Iterator[None]:
    """Answer NBD clients at the Unix socket `path` for the length of the block; who may reach it, its folder says."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        server = _Server(source, listener)
        server.start()
        try:
            yield
        finally:
            server.close()
            path.unlink(missing_ok=True)


class _Server:
    """One thread that waits for clients, and one for each of them."""

    def __init__(self, source: Readable, listener: socket.socket) -> None:
        self._source = source
        self._listener = listener
        self._mutex = threading.Lock()
        self._clients: dict[socket.socket, threading.Thread] = {}
        self._thread = threading.Thread(target=self._accept, name="nbd-accept", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Hang up on everybody."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # close alone would not wake accept()
        self._thread.join(JOIN_PATIENCE)
        with self._mutex:
            clients = dict(self._clients)
        for client, thread in clients.items():
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            thread.join(JOIN_PATIENCE)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            with self._mutex:
                if len(self._clients) >= MOST_CONNECTIONS:
                    client.close()
                    continue
                thread = threading.Thread(target=self._serve, args=(client,), name="nbd-client", daemon=True)
                self._clients[client] = thread
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client:
                _Conversation(client, self._source).hold()
        except (_Over, OSError) as why:
            # Clients vanish, and not everybody who finds a socket speaks NBD: nothing that anybody must do about.
            log.debug("an NBD client is gone: %s", why)
        finally:
            with self._mutex:
                self._clients.pop(client, None)


class _Over(Exception):
    """This conversation is at its end; the argument says why."""


class _Conversation:
    """What is said on one connection."""

    def __init__(self, client: socket.socket, source: Readable) -> None:
        self._client = client
        self._source = source

    def hold(self) -> None:
        """Greet the client and answer it until it leaves. Raises `_Over` or `OSError`."""
        self._client.settimeout(HANDSHAKE_TIMEOUT)
        self._greet()
        self._client.settimeout(None)
        while True:
            self._answer()

    def _greet(self) -> None:
        """Agree on the one export there is, whose name is empty."""
        self._client.sendall(struct.pack(">QQH", _NBDMAGIC, _IHAVEOPT, _FIXED_NEWSTYLE | _NO_ZEROES))
        (flags,) = struct.unpack(">I", self._receive(4))
        if flags & ~(_FIXED_NEWSTYLE | _NO_ZEROES) or not flags & _FIXED_NEWSTYLE:
            raise _Over(f"it greets with flags {flags:#x}")
        while not self._take_option(with_zeroes=not flags & _NO_ZEROES):
            pass

    def _take_option(self, *, with_zeroes: bool) -> bool:
        """Answer one option; return whether the handshake is done."""
        magic, option, length = struct.unpack(">QII", self._receive(16))
        if magic != _IHAVEOPT or length > LONGEST_OPTION:
            raise _Over("what it says is no NBD option")
        data = self._receive(length)
        if option == _OPT_EXPORT_NAME:
            if data:
                raise _Over(f"it asks for an export {data[:64]!r}")  # the protocol knows no other way to refuse
            zeroes = bytes(124) if with_zeroes else b""
            self._client.sendall(self._export() + zeroes)
            return True
        if option in {_OPT_GO, _OPT_INFO}:
            return self._inform(option, data) and option == _OPT_GO
        if option == _OPT_LIST:
            if data:
                self._reply(option, _REP_ERR_INVALID)
            else:
                self._reply(option, _REP_SERVER, struct.pack(">I", 0))
                self._reply(option, _REP_ACK)
        elif option == _OPT_ABORT:
            self._reply(option, _REP_ACK)
            raise _Over("it left during the handshake")
        else:
            self._reply(option, _REP_ERR_UNSUP)
        return False

    def _inform(self, option: int, data: bytes) -> bool:
        """Answer a question about the export; return whether it was one we have."""
        try:
            (length,) = struct.unpack_from(">I", data)
            (count,) = struct.unpack_from(">H", data, 4 + length)
        except struct.error:
            self._reply(option, _REP_ERR_INVALID)
            return False
        if len(data) != 4 + length + 2 + 2 * count:
            self._reply(option, _REP_ERR_INVALID)
            return False
        if length:
            self._reply(option, _REP_ERR_UNKNOWN)
            return False
        self._reply(option, _REP_INFO, struct.pack(">H", _INFO_EXPORT) + self._export())
        # Without it QEMU takes 512 for the smallest block, and a disk's odd end for missing.
        self._reply(option, _REP_INFO, struct.pack(">HIII", _INFO_BLOCK_SIZE, 1, 4096, LONGEST_REQUEST))
        self._reply(option, _REP_ACK)
        return True

    def _export(self) -> bytes:
        return struct.pack(">QH", self._source.size, _HAS_FLAGS | _READ_ONLY | _SEND_FLUSH | _CAN_MULTI_CONN)

    def _reply(self, option: int, kind: int, data: bytes = b"") -> None:
        self._client.sendall(struct.pack(">QIII", _OPTION_REPLY, option, kind, len(data)) + data)

    def _answer(self) -> None:
        """Take one request and answer it."""
        magic, _flags, command, cookie, offset, length = struct.unpack(">IHHQQI", self._receive(28))
        if magic != _REQUEST:
            raise _Over("what it says is no NBD request")
        if command == _CMD_DISC:
            raise _Over("it said goodbye")
        error = 0
        data: bytes | bytearray = b""
        if command == _CMD_READ:
            error, data = self._read(offset, length)
        elif command == _CMD_WRITE:
            if length > LONGEST_REQUEST:
                raise _Over(f"it wants to write {length} bytes")
            self._receive(length)
            error = errno.EPERM
        elif command != _CMD_FLUSH:
            error = errno.EINVAL
        self._client.sendall(struct.pack(">IIQ", _SIMPLE_REPLY, error, cookie))
        if data:
            self._client.sendall(data)

    def _read(self, offset: int, length: int) -> tuple[int, bytes | bytearray]:
        if not 0 < length <= LONGEST_REQUEST or offset + length > self._source.size:
            return errno.EINVAL, b""
        try:
            return 0, self._source.read(offset, length)
        except OSError as error:
            log.debug("%d bytes at %d cannot be had: %s", length, offset, error)
            return errno.EIO, b""

    def _receive(self, length: int) -> bytes:
        data = bytearray(length)
        view = memoryview(data)
        while view:
            count = self._client.recv_into(view)
            if not count:
                raise _Over("it hung up")
            view = view[count:]
        return bytes(data)
