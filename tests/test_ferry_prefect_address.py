"""What a command says of a Prefect server that does not answer, or wants a password."""

from __future__ import annotations

import httpx

from ferry.prefect_address import unanswered


def test_a_server_that_refuses_is_not_said_to_be_away() -> None:
    request = httpx.Request("POST", "http://127.0.0.1:4200/api/flow_runs/filter")
    refusal = httpx.HTTPStatusError("401", request=request, response=httpx.Response(401, request=request))
    assert "PREFECT_API_AUTH_STRING" in unanswered(refusal).remedy
    assert "no Prefect server answers" in unanswered(httpx.ConnectError("refused", request=request)).message
