"""Makes `prefect deployment run export-to-private-cloud` work in the project's directory.

Prefect's command takes `FLOW/DEPLOYMENT` and splits it before it asks any server, so the short name
can only be completed before the command line is read. The one supported place that runs so early is
a start-up plugin (entry point group `prefect.plugins`, read in Prefect 3.8.8 and 3.9.1), which
pyproject.toml switches on for this directory. The hook's own purpose is to set environment
variables; it also does that: where no API is configured and the server that `make serve` starts is
up, it is used. Anything else on the command line is left alone.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from prefect.plugins import HookContext, SetupResult, register_hook

# Deployment → its flow; tests hold this against prefect.yaml.
DEPLOYMENTS = {
    "export-to-private-cloud": "export-to-private-cloud",
    "prepare-test-image": "prepare-test-image",
    "migrate-fleet": "migrate-fleet",
    "monthly-copy": "migrate-fleet",
    "nightly-test-image": "migrate-fleet",
}
_FLAGS_WITHOUT_VALUE = {"--watch"}


@register_hook
def setup_environment(*, ctx: HookContext) -> SetupResult | None:
    """Complete a short deployment name in `sys.argv`, and find the server on this machine."""
    if not sys.argv or Path(sys.argv[0]).name != "prefect":
        return None
    sys.argv[:] = completed(sys.argv)
    port = os.environ.get("PREFECT_SERVER_API_PORT", "4200")
    if ctx.api_url or sys.argv[1:2] == ["server"] or not port.isdecimal() or not _listens(int(port)):
        return None
    url = f"http://127.0.0.1:{port}/api"
    return SetupResult(env={"PREFECT_API_URL": url}, note=f"server on this machine: {url}")


def completed(argv: list[str]) -> list[str]:
    """Return `argv` with the short name of one of our deployments written out as `flow/deployment`."""
    if argv[1:3] != ["deployment", "run"]:
        return argv
    for position, word in enumerate(argv[3:], start=3):
        before = argv[position - 1]
        is_value = before.startswith("-") and before not in _FLAGS_WITHOUT_VALUE
        if word in DEPLOYMENTS and not is_value:
            return [*argv[:position], f"{DEPLOYMENTS[word]}/{word}", *argv[position + 1 :]]
    return argv


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5):
            return True
    except OSError:
        return False
