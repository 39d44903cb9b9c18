"""Knows what a Prefect server is started with, and when it is ready.

Imports nothing of Prefect, which reads its settings then.
"""

from __future__ import annotations

import subprocess
import time
import urllib.error
import urllib.request

# Who holds a place under a limit is kept in the server's memory otherwise, and forgotten with it: then the place stays
# taken for ever, and after a few restarts no run gets any (seen with 3.8.8).
SERVER_SETTINGS = {"PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem"}

START_TIMEOUT = 180  # seconds; a first start creates the database and took up to 40 s on a busy machine


def answers(url: str) -> bool:
    """Return whether a Prefect server answers at `url`, its API's; asks for what needs no password."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310  # our own, or what the operator named
            return True
    except (urllib.error.URLError, OSError):
        return False


def comes_up(server: subprocess.Popen[bytes], url: str) -> bool:
    """Wait until `server` answers at `url`; return False once it has ended, or after `START_TIMEOUT`."""
    deadline = time.monotonic() + START_TIMEOUT
    while not answers(url):
        if server.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def answers_within(url: str, seconds: float) -> bool:
    """Wait until a server that somebody else starts answers at `url`; return False where it has not in time."""
    deadline = time.monotonic() + seconds
    while not answers(url):
        if time.monotonic() > deadline:
            return False
        time.sleep(1)
    return True
