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
from pathlib import Path
from typing import IO

from flows.server_start import comes_up
from migration.errors import CommandFailed
from migration.run import end, leashed


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
    atexit.register(end, server)
    url = f"http://127.0.0.1:{port}/api"
    if not comes_up(server, url):
        raise CommandFailed(argv, server.poll() or 0, _tail(said), "see whether `make serve` starts one")
    return url


def _folder_of_prefect() -> Path:
    found = importlib.util.find_spec("prefect")  # without importing it, which reads the settings
    assert found is not None  # noqa: S101  # a dependency of ours
    assert found.origin is not None  # noqa: S101
    return Path(found.origin).parent


def _tail(said: IO[bytes]) -> str:
    said.seek(0)
    return said.read().decode("utf-8", "replace")
