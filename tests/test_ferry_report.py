"""`ferry report` makes the report again from report.json, prints it in each form, and refuses what it cannot read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from migration.workspace import open_workspace
from report.page import render_page
from report.write import write_report
from tests.report_fixtures import finished_report


def ferry(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ferry", "report", *words], capture_output=True, text=True, check=False
    )


def test_report_is_made_again_and_printed(tmp_path: Path) -> None:
    with open_workspace(tmp_path / "w") as workspace:
        write_report(workspace, finished_report())
        document = workspace.report_document.read_text()
        workspace.report_page.unlink()
        # Printing goes on beside a run: the workspace is ours here.
        assert ferry("-w", workspace.path, "--html").stdout == render_page(finished_report())
        assert json.loads(ferry("-w", workspace.path, "--json").stdout) == json.loads(document)
        assert ferry("-w", workspace.path, "--markdown").stdout == workspace.report.read_text()
        assert not workspace.report_page.exists()
        assert ferry("-w", workspace.path).returncode == 7
    made = ferry("-w", tmp_path / "w")
    assert (made.returncode, made.stdout) == (0, f"{tmp_path / 'w' / 'report.html'}\n")
    assert (tmp_path / "w" / "report.html").read_text() == render_page(finished_report())


def test_folder_without_a_report_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    refused = ferry("-w", tmp_path / "typo")
    assert refused.returncode == 2
    assert "report.json is not there" in refused.stderr
    assert not (tmp_path / "typo").exists()
