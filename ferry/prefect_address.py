"""Sees to it that a command speaks to the Prefect server that somebody named, and to no other."""

from __future__ import annotations

import os
from http import HTTPStatus

import httpx

from migration.errors import CloudRefused, CloudUnavailable, InvalidInput

_NAME_IT = "name it: PREFECT_API_URL=http://127.0.0.1:4200/api"


def require_server() -> None:
    """Raise `InvalidInput` unless a server is named; to be called before `prefect` is imported, which reads this.

    Without one Prefect would start a server of its own, which is empty: no run waits there, and none has crashed.
    """
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    if not os.environ.get("PREFECT_API_URL"):
        raise InvalidInput("which Prefect server?", _NAME_IT)


def unanswered(error: httpx.HTTPError) -> CloudRefused:
    """Return the failure of a command whose server does not answer, or answers that it will not."""
    if isinstance(error, httpx.HTTPStatusError) and error.response.status_code == HTTPStatus.UNAUTHORIZED:
        return CloudRefused("the Prefect server wants a password", "give it: PREFECT_API_AUTH_STRING=USER:PASSWORD")
    return CloudUnavailable(f"no Prefect server answers: {error}", _NAME_IT)
