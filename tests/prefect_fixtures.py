"""A real Prefect server and worker for the slow tests, and what they say over their REST API.

Tests speak to the server as any client would; nothing here imports Prefect into the test process.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.guest_image import make_demo_guest
from deployments.serve import serving
from migration.disk import Disk
from migration.disk_file import find_disks_in
from migration.run import run

PROJECT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class PrefectServer:
    """A running server with a worker; `env` is what its clients need."""

    url: str
    env: Mapping[str, str]

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Return the API's answer to one request."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310  # loopback
            f"{self.url}{path}", data=data, method=method, headers={"Content-Type": "application/json"}
        )
        if auth := self.env.get("PREFECT_API_AUTH_STRING"):
            request.add_header("Authorization", f"Basic {base64.b64encode(auth.encode()).decode()}")
        for attempt in range(5):
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                    text = answer.read()
                    return json.loads(text) if text else None
            except urllib.error.HTTPError as error:  # noqa: PERF203  # five times at most
                # What the server says while SQLite is locked; Prefect's own client asks again, too.
                with error:
                    if error.code != 503 or attempt == 4:
                        raise
                time.sleep(1)
        raise AssertionError("not reached")

    def deployment(self, name: str) -> Any:
        """Return the deployment `name` of the flow `name`."""
        return self.ask("GET", f"/deployments/name/{name}/{name}")

    def state(self, run_id: str) -> tuple[str, str]:
        """Return a run's state type and message."""
        state = self.ask("GET", f"/flow_runs/{run_id}")["state"]
        return state["type"], state["message"] or ""

    def wait_for(self, run_id: str, *types: str, seconds: float = 240) -> tuple[str, str]:
        """Return the run's state once its type is one of `types`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.state(run_id)
            if found[0] in types:
                return found
            time.sleep(0.5)
        raise AssertionError(f"run {run_id} is {self.state(run_id)} after {seconds} s, not {types}")

    def artifacts(self, run_id: str) -> dict[str, str]:
        """Return the run's artifacts: key → data."""
        found = self.ask("POST", "/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run_id]}}})
        return {artifact["key"]: artifact["data"] for artifact in found}

    def events(self, run_id: str) -> list[Any]:
        """Return what a run has told in events of Ferry's own, once it has told that its migration has ended."""
        related = {"id": [f"prefect.flow-run.{run_id}"]}
        asked = {"filter": {"event": {"prefix": ["ferry."]}, "related": related}, "limit": 50}
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = list(self.ask("POST", "/events/filter", asked)["events"])
            if any(one["event"].startswith("ferry.migration.") for one in found):
                return found
            time.sleep(1)
        raise AssertionError(f"run {run_id} has not told in an event that it has ended")

    def logs(self, run_id: str) -> str:
        """Return all log lines of the run that have reached the server."""
        found = self.ask("POST", "/logs/filter", {"logs": {"flow_run_id": {"any_": [run_id]}}, "limit": 200})
        return "\n".join(line["message"] for line in found)

    def all_logs(self, run_id: str) -> str:
        """Return all log lines of a run that completed or failed, its last one included.

        A run sends its lines in batches: the last may reach the server after the state.
        """
        asked = {"logs": {"flow_run_id": {"any_": [run_id]}}, "sort": "TIMESTAMP_DESC", "limit": 5}
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for line in self.ask("POST", "/logs/filter", asked):
                if line["name"] == "prefect.flow_runs" and line["message"].startswith("Finished in state"):
                    return self.logs(run_id)
            time.sleep(0.2)
        raise AssertionError(f"run {run_id} never said that it is finished:\n{self.logs(run_id)}")

    def run(self, *argv: str | Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run one of the project's programs in the project's directory against this server."""
        return subprocess.run(
            [BIN / argv[0], *argv[1:]], cwd=PROJECT, env=dict(self.env),
            capture_output=True, text=True, check=False, timeout=timeout,
        )  # fmt: skip


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """Run server and worker as `make serve` does, in a home of their own."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "ALIBABA_", "PYTEST_"))
    }
    env |= {
        "PREFECT_HOME": str(tmp_path_factory.mktemp("prefect")), "PREFECT_WORKER_QUERY_SECONDS": "2",
        "DO_NOT_TRACK": "1", "PREFECT_SERVER_API_PORT": str(port),
        "TMPDIR": str(tmp_path_factory.mktemp("tmp")),  # its processes are told from others' by this
        # What a worker with keys of its own would have; they open the emulated cloud only.
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAI5tEmulatedAccountKey",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "emulated-secret-of-no-value",
    }  # fmt: skip
    with serving(port, 3, env) as (url, _worker):
        yield PrefectServer(url=url, env={**env, "PREFECT_API_URL": url})


def copy_disks(disks: Sequence[Disk], folder: Path) -> tuple[Disk, ...]:
    """Copy disks into a new folder, holes and all, so that a test may write to them."""
    folder.mkdir()
    for disk in disks:
        run(["cp", "--sparse=always", disk.path, folder / disk.path.name])
    return find_disks_in(folder)


@pytest.fixture(scope="session")
def demo_disks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Disk, ...]:
    """The demo server's three disks. Do not write to them."""
    return make_demo_guest(tmp_path_factory.mktemp("demo-guest"))
