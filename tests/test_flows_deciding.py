"""A run that asks: suspended with its question, answered by a person, gone on with from the workspace."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from migration.decision import SETTLING
from migration.disk import Disk
from tests.prefect_fixtures import PrefectServer, demo_disks, prefect_server
from tests.test_flows_export_to_private_cloud import machines_in, start

__all__ = ["demo_disks", "prefect_server"]

pytestmark = pytest.mark.slow


def suspended(server: PrefectServer, workspace: Path, disks: tuple[Disk, ...], **more: Any) -> str:
    """Start a run whose guest misses a disk, and return its id once it waits for an answer."""
    given = {
        "workspace": str(workspace), "disks": [str(disk.path) for disk in disks], "on_fstab_mismatch": "ask",
        "shrink": False, **more,
    }  # fmt: skip
    run = start(server, given, name="prepare-test-image")
    state, message = server.wait_for(run, "PAUSED", "COMPLETED", "FAILED", "CRASHED", seconds=400)
    assert state == "PAUSED", f"{message}\n{server.logs(run)}"
    return run


def resume(server: PrefectServer, run: str, **answer: str) -> Any:
    """Answer as the form in the UI does, no sooner than a person would; see `migration.decision.SETTLING`."""
    time.sleep(SETTLING)
    return server.ask("POST", f"/flow_runs/{run}/resume", {"run_input": answer})


def decide(server: PrefectServer, *words: str) -> subprocess.CompletedProcess[str]:
    return server.run("ferry", "decide", *words)


@pytest.mark.exhaustive
def test_question_is_answered_from_the_command_line_and_the_run_goes_on(
    prefect_server: PrefectServer, demo_disks: tuple[Disk, ...], tmp_path: Path
) -> None:
    run = suspended(prefect_server, tmp_path / "w", demo_disks[:2])
    assert list((tmp_path / "w" / "images").iterdir()) == []
    assert machines_in(prefect_server, "ferry-") == [], "nothing is held while it waits"
    waiting = json.loads(decide(prefect_server, "--json").stdout)["waiting"]
    assert [one["run"] for one in waiting] == [run]
    shown = decide(prefect_server, run)
    assert "/srv/archive" in shown.stdout
    assert "+UUID=5e1f0a52-7c8e-4f5e-9a43-d1c6f9b0a003 /srv/archive" in shown.stdout
    assert decide(prefect_server, "no-such-run", "--repair").returncode == 2

    answered = decide(
        prefect_server, run, "--repair", "--by", "Ada <ada@example.org>", "--note", "archive stays behind"
    )
    assert answered.returncode == 0, answered.stderr
    state, message = prefect_server.wait_for(run, "COMPLETED", "FAILED", "CRASHED", seconds=500)
    assert state == "COMPLETED", f"{message}\n{prefect_server.logs(run)}"
    document = json.loads((tmp_path / "w" / "report.json").read_text())
    assert document["decision"]["choice"] == "repair"
    assert document["decision"]["decided_by"] == "Ada <ada@example.org>"
    assert document["repair"]["diff"]
    assert "by Ada &lt;ada@example.org&gt;" in (tmp_path / "w" / "report.html").read_text()
    assert json.loads((tmp_path / "w" / "journal.json").read_text())["steps"]["decision"]["decision"]["when"] > 0
    assert (tmp_path / "w" / "images" / "system.qcow2").exists()
    assert json.loads(decide(prefect_server, "--json").stdout)["waiting"] == []


def test_run_that_is_abandoned_converts_nothing_and_says_who_wanted_it(
    prefect_server: PrefectServer, demo_disks: tuple[Disk, ...], tmp_path: Path
) -> None:
    run = suspended(prefect_server, tmp_path / "w", demo_disks[:2])
    resume(prefect_server, run, choice="abandon", decided_by="Grace", note="")
    state, message = prefect_server.wait_for(run, "COMPLETED", "FAILED", "CRASHED", seconds=200)
    assert state == "FAILED"
    assert "Grace decided to end the run" in message
    assert list((tmp_path / "w" / "images").iterdir()) == []
    assert "Traceback" not in prefect_server.all_logs(run)


@pytest.mark.exhaustive
def test_answer_of_the_wrong_kind_is_refused_and_the_run_waits_on(
    prefect_server: PrefectServer, demo_disks: tuple[Disk, ...], tmp_path: Path
) -> None:
    run = suspended(prefect_server, tmp_path / "w", demo_disks[:2])
    for choice, name in (("shrug", "x"), ("repair", "")):
        told = resume(prefect_server, run, choice=choice, decided_by=name)
        assert told["status"] == "REJECT", told
    assert prefect_server.state(run)[0] == "PAUSED"
    prefect_server.run("prefect", "flow-run", "cancel", run)
    assert prefect_server.wait_for(run, "CANCELLED", seconds=60)[0] == "CANCELLED"


def test_nobody_can_be_asked_where_no_terminal_is(demo_disks: tuple[Disk, ...], prefect_server: PrefectServer) -> None:
    done = prefect_server.run(
        "ferry", "run", "m-bp1demoserver00000001", "--bucket", "exports", "--region", "cn-hangzhou",
        "--workspace", str(demo_disks[0].path.parent / "never"), "--on-fstab-mismatch", "ask",
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "needs someone who can answer" in done.stderr
    assert not (demo_disks[0].path.parent / "never").exists()
