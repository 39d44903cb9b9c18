"""Runs the emulated ECS and OSS on loopback: for the length of a block, or until someone asks it to end.

The account is a folder that `emulator.account` and `emulator.object_store` fill; `Variants` says how the
cloud behaves. An `EmulatedCloud` hands the stages their `Cloud` and credentials.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn

from emulator.connections import Connections
from emulator.ecs import EcsApi
from emulator.emulation import Call, Emulation
from emulator.object_store import (
    ObjectMetadata,
    StorageClass,
    delete_object,
    discard_uploads,
    find_bucket,
    list_objects,
    put_object,
)  # fmt: skip
from emulator.oss import OssApi
from emulator.tasks import ExportTask, TaskBoard
from emulator.variants import ExportPacking, RelatedItems, TarMember, TaskFailure, Variants
from migration.cloud import Cloud, is_loopback
from migration.credentials import Credentials, CredentialSource
from migration.errors import InvalidInput
from migration.progress import Stop

__all__ = [
    "Call", "EmulatedCloud", "ExportPacking", "RelatedItems", "TarMember", "TaskFailure", "Variants",
    "emulated_cloud", "serve",
]  # fmt: skip

HOST = "127.0.0.1"
AS_SEEN = Variants()


class EmulatedCloud:
    """A running cloud: where it answers, the keys it accepts, and hooks for tests to look and to interfere."""

    def __init__(self, emulation: Emulation, board: TaskBoard, ecs_endpoint: str, oss_endpoint: str) -> None:
        self._emulation, self._board = emulation, board
        self.folder = emulation.folder
        self.ecs_endpoint = ecs_endpoint  # host:port, plain http
        self.oss_endpoint = oss_endpoint

    @property
    def region_id(self) -> str:
        return self._emulation.settings.region_id

    @property
    def access_key_id(self) -> str:
        return self._emulation.settings.access_key_id

    @property
    def access_key_secret(self) -> str:
        return self._emulation.settings.access_key_secret

    @property
    def cloud(self) -> Cloud:
        """The endpoints as the stages take them."""
        return Cloud(region_id=self.region_id, ecs_endpoint=self.ecs_endpoint, oss_endpoint=self.oss_endpoint)

    @property
    def credentials(self) -> CredentialSource:
        """A source of keys that are accepted at the time it is asked, the security token included."""
        return lambda: Credentials(
            access_key_id=self.access_key_id,
            access_key_secret=self.access_key_secret,
            security_token=self.variants.security_token,
            source="emulator",
        )

    @property
    def variants(self) -> Variants:
        return self._emulation.variants

    @variants.setter
    def variants(self, variants: Variants) -> None:
        """Behave like `variants` from the next request on; counts of faults start anew."""
        self._emulation.variants = variants

    @property
    def calls(self) -> list[Call]:
        """All requests so far, refused ones included: (service, action, params)."""
        return self._emulation.calls

    @property
    def requests(self) -> list[tuple[str, str, str]]:
        """All requests to OSS so far: method, path ("/bucket/key", not encoded), Range header or ""."""
        found = [call for call in self.calls if call.service == "oss"]
        return [(*_split_action(call.action), call.params.get("Range", "")) for call in found]

    def count(self, action: str) -> int:
        """Return how often an action was asked for: "ExportImage", or "GET /bucket/key"."""
        return sum(call.action == action for call in self.calls)

    @property
    def tasks(self) -> list[ExportTask]:
        """The account's export tasks, oldest first."""
        return sorted(self._board.tasks.values(), key=lambda task: task.created)

    def objects(self, bucket: str) -> list[ObjectMetadata]:
        """Return what lies in a bucket."""
        found = find_bucket(self.folder, bucket)
        return list_objects(found) if found else []

    def put_object(
        self, bucket: str, key: str, content: bytes | Path, *, storage_class: StorageClass | None = None
    ) -> ObjectMetadata:
        """Store or replace an object behind the client's back, in the bucket's storage class by default."""
        return put_object(self.folder, bucket, key, content, storage_class=storage_class)

    def delete_object(self, bucket: str, key: str) -> None:
        """Remove an object behind the client's back."""
        if found := find_bucket(self.folder, bucket):
            delete_object(found, key)


@contextmanager
def emulated_cloud(
    folder: Path, *, variants: Variants = AS_SEEN, ecs_port: int = 0, oss_port: int = 0, host: str = HOST
) -> Iterator[EmulatedCloud]:
    """Run the cloud whose account lies in `folder`, on loopback only. Port 0 is any free one.

    Raises `InvalidInput` for a host that is not this machine, a port in use, an account that is unreadable
    or that another emulator runs.
    Exports that still run at the end are Failed when the emulator starts again.
    """
    if not is_loopback(host):
        raise InvalidInput(f"{host}: the emulator answers on loopback only", f"use {HOST}")
    with ExitStack() as stack:
        stack.enter_context(_owned(folder))
        emulation = Emulation(folder, variants)
        discard_uploads(folder)
        board = TaskBoard(folder)
        stack.callback(board.close)
        ecs_socket = stack.enter_context(_listen(host, ecs_port))
        oss_socket = stack.enter_context(_listen(host, oss_port))
        ecs, oss = Connections(), Connections()
        servers = [
            _Server(EcsApi(emulation, board, ecs), ecs, ecs_socket),
            _Server(OssApi(emulation, oss), oss, oss_socket),
        ]
        # Asked now: the sockets are closed when the servers end.
        cloud = EmulatedCloud(emulation, board, _address(ecs_socket), _address(oss_socket))
        stack.enter_context(_running(servers))
        yield cloud


def serve(
    folder: Path,
    *,
    variants: Variants = AS_SEEN,
    ecs_port: int = 0,
    oss_port: int = 0,
    on_ready: Callable[[EmulatedCloud], None] | None = None,
    stop: Stop | None = None,
) -> None:
    """Run the cloud until `stop` is set or Ctrl-C is pressed. `on_ready` is called once it answers."""
    with emulated_cloud(folder, variants=variants, ecs_port=ecs_port, oss_port=oss_port) as cloud:
        if on_ready is not None:
            on_ready(cloud)
        with suppress(KeyboardInterrupt):
            (stop or Stop()).wait()


@contextmanager
def _owned(folder: Path) -> Iterator[None]:
    """Keep other emulators away from the folder: each takes the other's running exports for dead ones."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as lock:  # the kernel's lock ends with the process, however that ends
        lock.seek(0)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InvalidInput(
                f"{folder}: another emulator (process {lock.read(32).strip()}) runs this account",
                "stop it, or use another folder",
            ) from error
        lock.truncate()
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _split_action(action: str) -> tuple[str, str]:
    method, _, path = action.partition(" ")
    return method, path


def _listen(host: str, port: int) -> socket.socket:
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise InvalidInput(f"{host}:{port}: {error.strerror}", "choose another port, or 0 for any free one") from error
    # Inherited by what it accepts. Without it, each call on a kept connection waits 40 ms for an acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Server(uvicorn.Server):
    """A uvicorn that says when it answers, and ends at once instead of at its next tick."""

    def __init__(self, app: Any, connections: Connections, listener: socket.socket) -> None:
        config = uvicorn.Config(
            app, http=connections.protocol(), ws="none", lifespan="off", interface="asgi3",
            log_config=None, access_log=False, proxy_headers=False, server_header=False,
            timeout_keep_alive=60,  # seconds; longer than a client lets a connection rest between two ranges
        )  # fmt: skip
        super().__init__(config)
        self.listener, self.answering, self._connections = listener, asyncio.Event(), connections
        self._ending = asyncio.Event()

    async def main_loop(self) -> None:
        self.answering.set()
        await self._ending.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002  # the loop's by now
        """Hang up: nobody waits for a download that is of no use any more, nor the tenth of a second uvicorn would."""
        for server in self.servers:
            server.close()
        self._connections.abort_all()
        while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0.001)

    def end(self) -> None:
        self._ending.set()


async def _serve_all(servers: Sequence[_Server], started: Future[asyncio.AbstractEventLoop]) -> None:
    tasks: list[asyncio.Task[Any]] = [
        asyncio.create_task(server.serve(sockets=[server.listener])) for server in servers
    ]
    answering = [asyncio.create_task(server.answering.wait()) for server in servers]
    for server, waiting in zip(tasks, answering, strict=True):
        await asyncio.wait([server, waiting], return_when=asyncio.FIRST_COMPLETED)
        if server.done():
            server.result()  # raises what kept it from starting
    started.set_result(asyncio.get_running_loop())
    await asyncio.gather(*tasks)


@contextmanager
def _running(servers: Sequence[_Server]) -> Iterator[None]:
    """Run servers in a thread with an event loop of its own."""
    started: Future[asyncio.AbstractEventLoop] = Future()

    def work() -> None:
        try:
            asyncio.run(_serve_all(servers, started))
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = threading.Thread(target=work, name="emulated cloud")
    thread.start()
    try:
        loop = started.result()
        yield
    finally:
        if started.done() and not started.exception():
            for server in servers:
                loop.call_soon_threadsafe(server.end)
        thread.join()
