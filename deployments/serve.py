"""Runs a Prefect server and a worker on this machine, with all flows deployed, until it is stopped.

For a machine that should do this after every boot, see deployments/systemd/.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import types
from collections.abc import Iterator, Mapping, Sequence

from deployments.deploy import POOL, PREFECT, PROJECT
from flows.server_start import SERVER_SETTINGS, START_TIMEOUT, comes_up
from migration.credentials import KEY_VARIABLES
from migration.run import end

USUAL_PORT = 4200
GRACE = 40  # seconds; Prefect gives a flow 30 to end


def main(argv: Sequence[str] | None = None) -> None:
    """Start server and worker, say where they are, and end both on SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="make serve", description=__doc__)
    parser.add_argument("--port", type=int, default=int(os.environ.get("PREFECT_SERVER_API_PORT", str(USUAL_PORT))))
    parser.add_argument("--limit", type=int, default=2, help="migrations at once (default 2)")
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)  # a shell's `&` leaves it ignored, and Prefect's worker would inherit that
    program = PREFECT.relative_to(PROJECT) if PREFECT.is_relative_to(PROJECT) else PREFECT
    try:
        with serving(arguments.port, arguments.limit, os.environ) as (url, worker):
            # In the project's directory Prefect finds a server by itself, but at its usual port only.
            there = "Elsewhere" if arguments.port == USUAL_PORT else "Before that"
            sys.stderr.write(
                f"Prefect UI and API: http://127.0.0.1:{arguments.port}\n"
                f"In this directory: {program} deployment run export-to-private-cloud\n"
                f"{there}: export PREFECT_API_URL={url}\n"
                "Ctrl-C ends server and worker.\n"
            )
            sys.exit(worker.wait())
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")


@contextlib.contextmanager
def serving(port: int, limit: int, environment: Mapping[str, str]) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Give the block the API's URL and the worker, both ready; end them when it is left."""
    if _listens(port):
        sys.exit(f"port {port} is in use: is a server running already? Choose another: make serve PORT=4300")
    url = f"http://127.0.0.1:{port}/api"
    env = {
        **SERVER_SETTINGS,
        "PREFECT_UI_URL": f"http://127.0.0.1:{port}",  # for links in what automations send
        **environment,
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_API_PORT": str(port),
        "DO_NOT_TRACK": "1",
        # The one plugin completes command lines. In processes that import Prefect inside an event loop, as
        # those that run a cancelled flow's hooks do, Prefect 3.8.8 cannot start any and says so at length.
        "PREFECT_PLUGINS_ENABLED": "false",
    }
    with contextlib.ExitStack() as stack:
        # The port goes by environment: given as an option only, the UI looks for its API elsewhere.
        # The worker needs the keys of the cloud; the server, which answers whoever asks, does not.
        keyless = {name: value for name, value in env.items() if not name.startswith(KEY_VARIABLES)}
        server = stack.enter_context(_running([str(PREFECT), "server", "start"], keyless))
        _wait_until_healthy(url, server)
        subprocess.run([sys.executable, "-m", "deployments.deploy"], cwd=PROJECT, env=env, check=True)
        worker = stack.enter_context(
            _running([str(PREFECT), "worker", "start", "--pool", POOL, "--type", "process", "--limit", str(limit)], env)
        )
        yield url, worker


@contextlib.contextmanager
def _running(argv: Sequence[str], env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(argv, cwd=PROJECT, env=dict(env), stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        end(process, grace=GRACE)


def _wait_until_healthy(url: str, server: subprocess.Popen[bytes]) -> None:
    if comes_up(server, url):
        return
    if server.poll() is not None:
        sys.exit(f"the Prefect server ended with status {server.returncode} while starting")
    sys.exit(f"the Prefect server did not answer at {url} within {START_TIMEOUT} s")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _interrupt(_signal: int, _frame: types.FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
