from __future__ import annotations

from dataclasses import replace

from flows.question import Question, render_question
from migration.repair import LeftLine, Repair
from tests.report_fixtures import finished_report

VERDICT = finished_report().verdict
assert VERDICT is not None
REPAIR = Repair(before=VERDICT, diff="", changed=(), left=())


def test_question_shows_verdict_change_and_what_would_be_left() -> None:
    left = LeftLine(file="/etc/crypttab", line=3, why="its key is not here")
    repair = replace(REPAIR, diff="--- /etc/fstab\n+++ /etc/fstab\n-old\n+new\n", left=(left,))
    text = render_question(Question("it does not match", repair))
    assert text.startswith("## it does not match\n")
    assert "```diff\n--- /etc/fstab" in text
    assert "/etc/crypttab:3: its key is not here" in text


def test_nothing_that_a_guest_wrote_closes_a_fence() -> None:
    text = render_question(Question("t", replace(REPAIR, diff="+```\n+# a headline\n")))
    assert "````diff\n+```\n+# a headline\n````" in text


def test_question_stays_short_enough_for_a_form_and_says_where_the_rest_is() -> None:
    text = render_question(Question("t", replace(REPAIR, diff="+x\n" * 100_000)))
    assert len(text) < 60_000
    assert "see the report" in text


def test_repair_that_changes_nothing_is_said_to() -> None:
    assert "Nothing of it can be repaired safely." in render_question(Question("t", REPAIR))
