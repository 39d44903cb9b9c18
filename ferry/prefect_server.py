"""Runs a Prefect server for the time of one command, where nobody has set one up.

Prefect can do this itself, but its server is then in our process group: Ctrl-C in a terminal ends it before us, and
Prefect spends minutes on telling a dead server that we were stopped (seen with 3.8.8). If we are killed, it stays.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from migration.errors import CommandFailed
from migration.run import leashed

START_TIMEOUT = 180  # seconds; a first start creates the database and took up to 40 s on a busy machine


def start_temporary_server() -> str:
    """Start a server that ends after this process has, and return the URL of its API once it answers.

    To be called before `prefect` is imported: what is registered first for the end runs last, and Prefect has
    things to tell its server until then. Raises `CommandFailed`.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    argv = [
        sys.executable, "-m", "uvicorn", "--app-dir", str(_folder_of_prefect()),
        "--factory", "prefect.server.api.server:create_app",
        "--host", "127.0.0.1", "--port", str(port), "--log-level", "error", "--lifespan", "on",
    ]  # fmt: skip
    # The same that Prefect gives the one it starts itself (3.8.8).
    env = {**os.environ, "PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
    env.pop("PREFECT_API_URL", None)
    said = tempfile.TemporaryFile()  # noqa: SIM115  # open for as long as the server is
    server = subprocess.Popen(
        leashed(argv), env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
    )
    atexit.register(_end, server)
    url = f"http://127.0.0.1:{port}/api"
    deadline = time.monotonic() + START_TIMEOUT
    while not answers(url):
        if server.poll() is not None or time.monotonic() > deadline:
            raise CommandFailed(argv, server.poll() or 0, _tail(said), "see whether `make serve` starts one")
        time.sleep(0.2)
    return url


def answers(url: str) -> bool:
    """Return whether a Prefect server answers at `url`, its API's."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2):  # noqa: S310  # loopback, as every caller checks
            return True
    except (urllib.error.URLError, OSError):
        return False


def _folder_of_prefect() -> Path:
    found = importlib.util.find_spec("prefect")  # without importing it, which reads the settings
    assert found is not None  # noqa: S101  # a dependency of ours
    assert found.origin is not None  # noqa: S101
    return Path(found.origin).parent


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(timeout=5)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _tail(said: IO[bytes]) -> str:
    said.seek(0)
    return said.read().decode("utf-8", "replace")
