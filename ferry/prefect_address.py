"""Sees to it that a command speaks to the Prefect server that somebody named, and to no other."""

from __future__ import annotations

import os

from migration.errors import CloudUnavailable, InvalidInput

_NAME_IT = "name it: PREFECT_API_URL=http://127.0.0.1:4200/api"


def require_server() -> None:
    """Raise `InvalidInput` unless a server is named; to be called before `prefect` is imported, which reads this.

    Without one Prefect would start a server of its own, which is empty: no run waits there, and none has crashed.
    """
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    if not os.environ.get("PREFECT_API_URL"):
        raise InvalidInput("which Prefect server?", _NAME_IT)


def unanswered(error: Exception) -> CloudUnavailable:
    """Return the failure of a command whose server does not answer."""
    return CloudUnavailable(f"no Prefect server answers: {error}", _NAME_IT)
