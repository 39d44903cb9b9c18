"""Creates the limits that all runs and workers share, where they are missing: exports, downloads, conversions at once.

Run by `python -m deployments.deploy`, and so by `make serve`. A limit that exists already is left as it is;
`prefect gcl update ferry-downloads --limit 8` changes one.
"""

from __future__ import annotations

import os
import sys

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.exceptions import ObjectAlreadyExists

from flows.fleet_run import CONVERSIONS, DOWNLOADS, EXPORTS, LIMITS

DEFAULTS = {
    EXPORTS: 3,  # the account's quota is not published; one that is reached costs waiting only
    DOWNLOADS: 4,  # disks; each has its connections
    CONVERSIONS: len(os.sched_getaffinity(0)),  # of this machine: raise it to the cores of all workers
}


def create_limits() -> None:
    """Create those of the limits that are missing, and say which."""
    with get_client(sync_client=True) as client:
        # Asked for one that it has, Prefect 3.8.8 refuses, and its log has a hundred lines of it as an error.
        known = {limit.name for limit in client.read_global_concurrency_limits(limit=200)}
        for kind, number in DEFAULTS.items():
            if LIMITS[kind] in known:
                continue
            wanted = GlobalConcurrencyLimitCreate(name=LIMITS[kind], limit=number)
            try:
                client.create_global_concurrency_limit(wanted)
            except ObjectAlreadyExists:
                continue
            sys.stderr.write(f"created the limit {LIMITS[kind]}: {number} at once\n")


if __name__ == "__main__":
    create_limits()
