"""Prefect out of one machine, for the slow tests: a real PostgreSQL, a server that may be restarted, many workers.

All of it on loopback, with a password for the database and another for the API.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from deployments.deploy import POOL
from flows.server_start import SERVER_SETTINGS, comes_up
from migration.run import end
from tests.prefect_fixtures import BIN, PROJECT, PrefectServer

POSTGRES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/usr/lib/postgresql/none"))
needs_postgres = pytest.mark.skipif(not (POSTGRES / "initdb").exists(), reason="needs the Debian package postgresql")
SILENCE = 75  # seconds; two heartbeats may be late, as they are on a machine as busy as this one


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Postgres:
    """A cluster of our own in a temporary folder; it refuses to run as root, and runs as `postgres` then."""

    def __init__(self, folder: Path) -> None:
        self.port, self.password, self._data = free_port(), secrets.token_hex(16), folder / "data"
        self._folder, self._user = folder, "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        password_file = folder / "password"
        password_file.write_text(self.password)
        if os.getuid() == 0:
            for path in (folder, password_file):
                shutil.chown(path, self._user)
        self._run("initdb", "-D", self._data, "-U", "ferry", "-A", "scram-sha-256", "--pwfile", password_file, "-N")

    @property
    def url(self) -> str:
        return f"postgresql+asyncpg://ferry:{self.password}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder} -c fsync=off"
        self._run("pg_ctl", "-D", self._data, "-l", self._folder / "log", "-o", options, "-w", "start")

    def stop(self) -> None:
        """End it at once, as a restart of the machine's service would."""
        self._run("pg_ctl", "-D", self._data, "-m", "fast", "-w", "stop")

    def dump(self) -> str:
        """Return all that lies in the database, as SQL."""
        env = {**os.environ, "PGPASSWORD": self.password}
        argv: list[str | Path] = [
            POSTGRES / "pg_dump",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            "ferry",
            "postgres",
        ]
        return subprocess.run(argv, env=env, check=True, capture_output=True, text=True).stdout

    def _run(self, program: str, *words: str | Path) -> None:
        with (self._folder / "said").open("ab") as said:
            done = subprocess.run(
                [POSTGRES / program, *words], cwd="/", check=False, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                user=self._user if os.getuid() == 0 else None,
            )  # fmt: skip
        assert done.returncode == 0, (self._folder / "said").read_text()


@dataclass
class Site:
    """A database, a server and workers, as on several machines. `server` speaks to the API."""

    postgres: Postgres
    server: PrefectServer
    secrets: tuple[str, ...]
    _server_env: Mapping[str, str]
    folder: Path  # their logs and Prefect homes
    _worker_env: Mapping[str, str]
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start_server(self) -> None:
        server = self._start("server", [BIN / "prefect", "server", "start"], self._server_env)
        assert comes_up(server, self.server.url), self.log("server")

    def start_worker(
        self, name: str, *, limit: int = 2, extra: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.Popen[bytes]:
        """Start a worker with a Prefect home and a temporary folder of its own, as on a machine of its own."""
        home = self.folder / name
        home.mkdir(exist_ok=True)
        env = {
            **self._worker_env,
            **extra,
            "PREFECT_HOME": str(home),
            "TMPDIR": str(home),
            "FERRY_TEST_WORKER": str(home),
        }
        words = ["worker", "start", "--pool", POOL, "--type", "process", "--limit", str(limit), "--name", name]
        return self._start(name, [BIN / "prefect", *words], env)

    def stop(self, name: str) -> None:
        """End the server or a worker as its service unit would."""
        end(self._processes.pop(name), grace=40)

    def processes_of(self, name: str) -> list[int]:
        """Return the ids of a worker's process and of all that it started, flow runs and their children included."""
        mark = f"FERRY_TEST_WORKER={self.folder / name}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it ended meanwhile
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append(int(process.name))
        return found

    def signal_machine(self, name: str, number: signal.Signals) -> None:
        """Send a signal to all processes of a worker at once: SIGKILL is a machine that lost its power."""
        for process in self.processes_of(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    def log(self, name: str) -> str:
        """Return what the server or a worker said."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def ask_patiently(self, method: str, path: str, body: Any = None, *, seconds: float = 120) -> Any:
        """Ask the API, waiting while the server or its database is away."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(urllib.error.URLError, OSError):
                return self.server.ask(method, path, body)
            time.sleep(1)
        return self.server.ask(method, path, body)

    def states(self, runs: list[str]) -> dict[str, str]:
        """Return run → state name."""
        found = self.ask_patiently("POST", "/flow_runs/filter", {"flow_runs": {"id": {"any_": runs}}})
        return {run["id"]: run["state"]["name"] for run in found}

    def close(self) -> None:
        """End workers first, then the server; a process that is stopped goes on to hear it."""
        for name in sorted(self._processes, key="server".__eq__):
            self.signal_machine(name, signal.SIGCONT)
            self.stop(name)
            self.signal_machine(name, signal.SIGKILL)

    def _start(self, name: str, argv: list[str | Path], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                argv, cwd=PROJECT, env=dict(env), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        return self._processes[name]


@contextlib.contextmanager
def running_site(folder: Path, keys: Mapping[str, str]) -> Iterator[Site]:
    """Run database and server, deployed to; workers, which the test starts, have `keys` in their environment."""
    auth, port = f"ferry:{secrets.token_hex(16)}", free_port()
    base = {
        name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "ALIBABA_", "PYTEST_"))
    }
    url = f"http://127.0.0.1:{port}/api"
    base |= {"DO_NOT_TRACK": "1", "PREFECT_PLUGINS_ENABLED": "false"}
    client = {
        **base, "PREFECT_API_URL": url, "PREFECT_API_AUTH_STRING": auth, "PREFECT_HOME": str(folder / "client"),
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        # There is nothing to be seen in the disks of these tests, and no appliance need boot to find that out.
        "LIBGUESTFS_HV": "/bin/false",
        "LIBGUESTFS_CACHEDIR": "/var/tmp",  # noqa: S108  # built once, not for every TMPDIR
    }  # fmt: skip
    place = tempfile.mkdtemp(prefix="ferry-postgres-", dir="/tmp")  # pytest's own are closed to others
    postgres = Postgres(Path(place))
    server_env = {
        **base, "PREFECT_SERVER_API_PORT": str(port), "PREFECT_HOME": str(folder / "server"),
        "PREFECT_SERVER_API_AUTH_STRING": auth, "PREFECT_SERVER_DATABASE_CONNECTION_URL": postgres.url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_UI_URL": f"http://127.0.0.1:{port}", **SERVER_SETTINGS,
    }  # fmt: skip
    server = PrefectServer(url=url, env=client)
    site = Site(postgres, server, (auth.partition(":")[2], postgres.password), server_env, folder, {**client, **keys})
    postgres.start()
    try:
        site.start_server()
        argv = [sys.executable, "-m", "deployments.deploy", "--silence", str(SILENCE)]
        subprocess.run(argv, cwd=PROJECT, env=client, check=True)
        yield site
    finally:
        site.close()
        postgres.stop()
        shutil.rmtree(place)
