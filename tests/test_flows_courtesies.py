"""What is done for those who watch fails no run and holds none up, whatever becomes of Prefect's server meanwhile."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from flows import places, progress, shown_text
from flows.fleet_run import EXPORTS
from flows.places import place
from flows.progress import progress_artifact
from flows.shown_text import PAUSES, show_text
from migration.errors import Interrupted


class Server:
    """Stands for Prefect's client: it keeps what it is told, is away while `is_away`, and silent until `answers`."""

    def __init__(self) -> None:
        self.is_away = False
        self.answers = threading.Event()
        self.answers.set()
        self.told: list[dict[str, Any]] = []

    def take(self, *_: Any, **told: Any) -> UUID:
        self.answers.wait(60)
        if self.is_away:
            raise httpx.ConnectError("All connection attempts failed")
        self.told.append(told)
        return uuid4()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    found = Server()
    monkeypatch.setattr(progress, "create_progress_artifact", found.take)
    monkeypatch.setattr(progress, "update_progress_artifact", found.take)
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    monkeypatch.setattr(shown_text, "create_markdown_artifact", found.take)
    yield found
    found.answers.set()


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_bar_goes_on_where_it_is_once_the_server_is_back(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.is_away = True
    with progress_artifact("download-xvda", "Download") as report:
        report(1, 10)
        wait_until(lambda: "cannot be shown for now (ConnectError)" in caplog.text)
        report(2, 10)
        server.is_away = False
        report(5, 10)
        wait_until(lambda: bool(server.told))
    assert (server.told[0]["key"], server.told[0]["progress"]) == ("download-xvda", 50.0)
    assert server.told[-1]["progress"] == 100.0
    assert caplog.text.count("cannot be shown") == 1, "said once, not for every report"


def test_bar_stays_where_it_was_when_the_stage_fails(server: Server) -> None:
    def work() -> None:
        with progress_artifact("export", "Export") as report:
            report(3, 4)
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        work()
    assert server.told[-1]["progress"] == 75.0


def test_no_work_waits_for_a_server_that_does_not_answer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LAST_WORD", 0.0)
    server.answers.clear()
    with progress_artifact("export", "Export") as report:
        for done in range(100):
            report(done, 100)
    assert server.told == [], "and we are here all the same"
    server.answers.set()
    for thread in threading.enumerate():
        if thread.name == "bar export":  # it would go on with Prefect's own client after this test
            thread.join()


def test_text_is_shown_once_the_server_is_back(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.is_away = True
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        server.is_away = len(waited) < 3

    monkeypatch.setattr("flows.shown_text.time.sleep", sleep)
    show_text("# Report", key="migration-report", description="Report", kept="report.md")
    assert [one["key"] for one in server.told] == ["migration-report"]
    assert waited == [*PAUSES[:3]]


def test_text_that_cannot_be_shown_is_named_where_it_lies(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server.is_away = True
    monkeypatch.setattr("flows.shown_text.time.sleep", lambda _: None)
    show_text("# Report", key="migration-report", description="Report", kept="/w/report.md")
    assert "migration-report cannot be shown beside the run (ConnectError): it is /w/report.md" in caplog.text


def full_limit(status: int) -> Callable[..., AbstractContextManager[None]]:
    def refuse(*_: Any, **__: Any) -> AbstractContextManager[None]:
        request = httpx.Request("POST", "http://server/api")
        full = httpx.HTTPStatusError("full", request=request, response=httpx.Response(status, request=request))
        raise RuntimeError("no slot") from full

    return refuse


def test_client_that_asked_again_by_itself_is_not_asked_many_times(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server.is_away = True
    monkeypatch.setattr(shown_text, "PATIENCE", -1.0)  # the first try took longer than all of ours together
    monkeypatch.setattr("flows.shown_text.time.sleep", lambda _: pytest.fail("asked again"))
    show_text("# Report", key="migration-report", description="Report", kept="/w/report.md")
    assert "cannot be shown" in caplog.text


@pytest.mark.parametrize("status", [pytest.param(423, id="full"), pytest.param(422, id="limit-of-0")])
def test_long_wait_for_a_place_says_what_to_look_at_and_can_be_stopped(
    status: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(places, "concurrency", full_limit(status))
    monkeypatch.setattr(places, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(places, "LONG", 0.05)
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    with caplog.at_level(logging.INFO), pytest.raises(Interrupted), place(EXPORTS, stop):
        pass
    assert caplog.text.count("Waiting for a place") == 1
    assert caplog.text.count("prefect gcl update ferry-exports --active-slots 0") == 1


@contextmanager
def slot_that_cannot_be_given_back(*_: Any, **__: Any) -> Iterator[None]:
    try:
        yield
    finally:
        raise httpx.ConnectError("All connection attempts failed")


def test_work_is_done_though_its_place_cannot_be_given_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(places, "concurrency", slot_that_cannot_be_given_back)
    with caplog.at_level(logging.WARNING), place(EXPORTS, None):
        pass
    assert "could not be told that a place is free (ConnectError)" in caplog.text
    with pytest.raises(RuntimeError, match="the work's own"), place(EXPORTS, None):
        raise RuntimeError("the work's own")
