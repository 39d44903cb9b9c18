"""What a person does in Prefect's pages, from a run's form to its report: for a test and for the pictures in docs/."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ferry.waiting_runs import SETTLING
from migration.disk import Disk
from tests.prefect_fixtures import PrefectServer
from tests.prefect_ui import PrefectPages

FLOW = "prepare-test-image"
WHO, WHY = "Ada <ada@example.org>", "the archive stays behind"

Scene = Callable[[str], None]  # told the name of what is on the screen: "form", "question", "run", "report"


def take_tour(
    ui: PrefectPages, server: PrefectServer, disks: tuple[Disk, ...], workspace: Path, scene: Scene = lambda _name: None
) -> str:
    """Start a run on disks of which one is missing, answer its question, read its report; return the run's id."""
    ui.open(f"/deployments/deployment/{server.deployment(FLOW)['id']}/run")
    ui.field("Hours for a decision", seconds=60)  # the last one: the form is complete
    ui.type_into("Workspace", str(workspace))
    for disk in disks:
        ui.add_to("Disks", str(disk.path))
    ui.choose("On fstab mismatch", "ask")
    ui.switch("Leave out free space")
    ui.bring_into_view("Workspace")
    scene("form")
    ui.press("Submit")
    ui.press("View run")
    ui.wait_for_state("Suspended", seconds=400)
    run = ui.run_id
    time.sleep(SETTLING)
    ui.open_question()
    ui.wait_for("What shall be done")
    ui.choose("What shall be done", "repair")
    ui.type_into("Decided by", WHO)
    ui.type_into("Note", WHY)
    scene("question")
    ui.resume()
    ui.wait_for_state("Completed", seconds=500)
    ui.press("Task Runs")
    ui.wait_for("repair fstab")
    scene("run")
    ui.open(f"/runs/flow-run/{run}?tab=Artifacts")
    ui.open_artifact("migration-report")
    ui.wait_for(WHY)
    scene("report")
    return run
