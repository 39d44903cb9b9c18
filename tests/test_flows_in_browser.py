"""What a person sees and does in Prefect's own pages: the forms, and a run from its start to its report."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from migration.decision import SETTLING
from migration.disk import Disk
from tests.browser import Browser, browser, needs_browser
from tests.prefect_fixtures import PrefectServer, demo_disks, prefect_server
from tests.prefect_ui import PrefectPages

__all__ = ["browser", "demo_disks", "prefect_server"]

pytestmark = [pytest.mark.slow, needs_browser]


def pages(browser: Browser, server: PrefectServer) -> PrefectPages:
    return PrefectPages(browser, f"{server.url.removesuffix('/api')}/v2")


@pytest.mark.parametrize("name", ["export-to-private-cloud", "prepare-test-image", "migrate-fleet"])
def test_form_shows_what_each_field_means_and_what_it_is_without_a_word(
    browser: Browser, prefect_server: PrefectServer, name: str
) -> None:
    deployment = prefect_server.deployment(name)
    ui = pages(browser, prefect_server)
    ui.open(f"/deployments/deployment/{deployment['id']}/run")
    ui.field("Limits" if name != "prepare-test-image" else "Hours for a decision", seconds=60)
    said = " ".join(ui.text.split())
    schema = deployment["parameter_openapi_schema"]
    # A group that may be left out (the selector of a fleet) shows its fields once it is asked for.
    groups = {one["$ref"].rpartition("/")[2] for one in schema["properties"].values() if "$ref" in one}
    models = [schema["definitions"][group] for group in groups]
    for fields in [schema["properties"], *(model["properties"] for model in models)]:
        for key, given in fields.items():
            field = {**schema["definitions"].get(given.get("$ref", "").rpartition("/")[2], {}), **given}
            assert field["title"] in said, key
            assert " ".join(field["description"].split()) in said, key
    assert ui.field("Leave out free space").get_attribute("aria-checked") == "true"
    assert ui.field("On fstab mismatch").text == ("warn" if name == "prepare-test-image" else "fail")
    assert ui.field("Memory").get_attribute("value") == "2048"


@pytest.mark.exhaustive
@pytest.mark.timeout(1200)
def test_run_is_started_watched_answered_and_read(
    browser: Browser, prefect_server: PrefectServer, demo_disks: tuple[Disk, ...], tmp_path: Path
) -> None:
    # Those in docs/ were made so, with /srv/ferry/pictures, and then by pngquant.
    pictures = Path(os.environ["FERRY_TEST_PICTURES"]) if "FERRY_TEST_PICTURES" in os.environ else None
    workspace = tmp_path / "w" if pictures is None else pictures.with_name("web-1")

    def show(name: str) -> None:
        if pictures is not None:
            (pictures / f"{name}.png").write_bytes(ui.picture())

    ui = pages(browser, prefect_server)
    deployment = prefect_server.deployment("prepare-test-image")
    ui.open(f"/deployments/deployment/{deployment['id']}/run")
    ui.field("Workspace", seconds=60)
    ui.type_into("Workspace", str(workspace))
    for disk in demo_disks[:2]:  # the third stays behind, and /etc/fstab wants it
        ui.add_to("Disks", str(disk.path))
    ui.choose("On fstab mismatch", "ask")
    ui.press("Submit")
    run = ui.opened_run()

    ui.wait_for_state("Suspended", seconds=300)
    ui.wait_for("leads nowhere")  # what the check says is in the log
    show("ui-run")
    time.sleep(SETTLING)
    ui.open_question()
    ui.wait_for("/srv/archive")
    ui.wait_for("nofail,x-systemd.device-timeout=10s")
    ui.choose("What shall be done", "repair")
    ui.type_into("Decided by", "Ada")
    ui.type_into("Note", "the archive stays behind")
    show("ui-question")
    ui.resume()
    ui.wait_for_state("Completed", seconds=400)

    ui.open_artifact("migration-report")
    said = ui.wait_for("by Ada")
    assert "the archive stays behind" in said
    show("ui-report")
    document = json.loads((workspace / "report.json").read_text())
    assert (document["decision"]["choice"], document["decision"]["decided_by"]) == ("repair", "Ada")
    assert run in {one["id"] for one in prefect_server.ask("POST", "/flow_runs/filter", {})}
