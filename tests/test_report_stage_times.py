"""The stages' times: what several tries and several runs took is kept, and binds no workspace."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from migration.errors import NoSpace
from migration.journal import Journal
from migration.workspace import STAGE_TIMES, open_workspace
from report.stage_times import Ending, Stage, StageClock


class _Failure(Exception):
    pass


def test_stage_that_failed_and_was_tried_again_in_a_later_run_keeps_both_times(tmp_path: Path) -> None:
    clock = StageClock(Journal(tmp_path / "journal.json"))
    with pytest.raises(_Failure), clock.timing(Stage.DOWNLOAD, "xvdb"):
        raise _Failure
    [first] = clock.times
    assert (first.ending, first.tries, first.is_done) == (Ending.FAILED, 1, False)

    later = StageClock(Journal(tmp_path / "journal.json"))
    assert later.times == (first,)
    with later.timing(Stage.DOWNLOAD, "xvdb"):
        [running] = later.times
        assert (running.ending, running.ended, running.started) == (Ending.OPEN, None, first.started)
    [second] = later.times
    assert (second.ending, second.tries, second.started) == (Ending.DONE, 2, first.started)
    assert second.seconds > first.seconds
    assert second.ended is not None
    assert StageClock(Journal(tmp_path / "journal.json")).times == (second,)


def test_stage_whose_process_was_killed_is_not_done_and_not_open_for_ever(tmp_path: Path) -> None:
    with StageClock(Journal(tmp_path / "journal.json")).timing(Stage.EXPORT):
        [found] = StageClock(Journal(tmp_path / "journal.json")).times  # as a later run reads what a kill left
    assert (found.ending, found.seconds, found.ended) == (Ending.FAILED, 0, found.started)


def test_times_stand_in_the_order_of_the_stages(tmp_path: Path) -> None:
    clock = StageClock(Journal(tmp_path / "journal.json"))

    def take(item: tuple[Stage, str]) -> None:
        with clock.timing(*item):
            pass

    taken = [(stage, f"xvd{letter}") for stage in reversed(Stage) for letter in "abcd"]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(take, taken))
    assert [one.stage for one in clock.times] == [stage for stage in Stage for _ in range(4)]
    assert {(one.stage, one.subject) for one in clock.times} == set(taken)
    assert StageClock(Journal(tmp_path / "journal.json")).times == clock.times


def test_clock_that_cannot_keep_its_times_stops_no_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "journal.json")

    def full(_step: str, _result: object) -> None:
        raise NoSpace("full")

    monkeypatch.setattr(journal, "record", full)
    clock = StageClock(journal)
    with clock.timing(Stage.EXPORT):
        pass
    assert [one.ending for one in clock.times] == [Ending.DONE]


def test_workspace_in_which_nothing_but_time_was_spent_can_be_claimed_anew(tmp_path: Path) -> None:
    with open_workspace(tmp_path / "w") as workspace:
        workspace.claim({"bucket": "misspelt"})
        with pytest.raises(_Failure), StageClock(workspace.journal).timing(Stage.EXPORT):
            raise _Failure
        workspace.claim({"bucket": "b"})
        assert workspace.journal.steps() == ["migration"], "the time was another migration's"
        assert StageClock(workspace.journal).times == ()
        assert STAGE_TIMES not in workspace.journal.steps()
