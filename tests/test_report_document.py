"""report.json: what was written is read again as it was, and what is none is refused with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migration.errors import InvalidInput
from migration.workspace import open_workspace
from report.document import VERSION, find_report, read_report, render_document, report_document
from report.markdown import render_markdown
from report.page import render_page
from report.report import Report
from report.write import write_report
from tests.report_fixtures import finished_report
from tests.report_hostile import hostile_report

DOCS = Path(__file__).parent.parent / "docs" / "report.md"


@pytest.mark.parametrize("report", [finished_report, lambda: Report(title="t", workspace=Path("/w"))])
def test_report_read_again_is_the_report_that_was_written(tmp_path: Path, report: Callable[[], Report]) -> None:
    with open_workspace(tmp_path / "w") as workspace:
        write_report(workspace, report())
        assert workspace.report_page.read_text() == render_page(report())
        assert workspace.report.read_text() == render_markdown(report())
    assert find_report(tmp_path / "w") == report()


@pytest.mark.slow
def test_hostile_report_is_written_and_read_again(tmp_path: Path) -> None:
    hostile = replace(hostile_report(), repair=None)  # which would hold the same findings twice more
    with open_workspace(tmp_path / "w") as workspace:
        write_report(workspace, hostile)
        again = find_report(workspace.path)
        assert again.verdict == hostile.verdict, "nothing is left out of the document"
        assert again.title == hostile.title.replace("\ud800", "?")
        assert workspace.report.stat().st_size < 4 * 1024**2


def test_half_a_character_is_replaced_and_a_whole_one_and_its_spelling_stay() -> None:
    title = "\ud800 \\ud800 \U0001f600 \udfff\\"
    text = render_document(Report(title=title, workspace=Path("/w")))
    assert text.isascii()
    assert read_report(text, "x").title == "? \\ud800 \U0001f600 ?\\"


def broken(change: Callable[[dict[str, Any]], Any]) -> str:
    document = json.loads(json.dumps(report_document(finished_report())))
    return json.dumps(change(document))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("{", "not JSON", id="cut off"),
        pytest.param("[]", f"no report of version {VERSION}", id="a list"),
        pytest.param(broken(lambda document: {**document, "version": 99}), "no report of version", id="of the future"),
        pytest.param(broken(lambda document: {**document, "disks": [{}]}), "disks.0.device", id="a field is missing"),
    ],
)
def test_file_that_is_no_report_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(InvalidInput, match=said) as refusal:
        find_report(tmp_path)
    assert "run again" in refusal.value.remedy


def test_folder_without_a_report_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is not there"):
        find_report(tmp_path)


def test_every_field_is_in_the_documentation() -> None:
    told = DOCS.read_text(encoding="utf-8")
    missing = [name for name in report_document(finished_report()) if f"| `{name}` |" not in told]
    assert missing == []
    stage = report_document(finished_report())["stages"][0]
    assert [name for name in stage if f"`{name}`" not in told] == []
