"""What a person does in Prefect's own pages: start a run from the form, answer its question, read the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from migration.disk import Disk
from tests.browser import Browser, browser, needs_browser
from tests.prefect_fixtures import PrefectServer, demo_disks, prefect_server
from tests.prefect_ui import PrefectPages
from tests.ui_tour import WHO, WHY, take_tour

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
    said = ui.text
    schema = deployment["parameter_openapi_schema"]
    models = [model for model in schema["definitions"].values() if "properties" in model]
    for fields in [schema["properties"], *(model["properties"] for model in models)]:
        for key, given in fields.items():
            field = {**schema["definitions"].get(given.get("$ref", "").rpartition("/")[2], {}), **given}
            assert field["title"] in said, key
            assert field["description"] in said, key
    assert ui.field("Leave out free space").get_attribute("aria-checked") == "true"
    assert ui.field("On fstab mismatch").text == ("warn" if name == "prepare-test-image" else "fail")
    assert ui.field("Memory").get_attribute("value") == "2048"


def test_run_is_started_asked_about_and_read_without_leaving_the_pages(
    browser: Browser, prefect_server: PrefectServer, demo_disks: tuple[Disk, ...], tmp_path: Path
) -> None:
    ui = pages(browser, prefect_server)
    seen = dict[str, str]()
    run = take_tour(ui, prefect_server, demo_disks[:2], tmp_path / "w", lambda name: seen.update({name: ui.text}))
    assert "/etc/fstab does not match the exported disks: tag-unmatched" in seen["question"]
    assert "+UUID=5e1f0a52-7c8e-4f5e-9a43-d1c6f9b0a003 /srv/archive" in seen["question"]
    assert WHO in seen["report"]
    assert "system.qcow2" in seen["report"]
    given = prefect_server.ask("GET", f"/flow_runs/{run}")["parameters"]
    assert given["disks"] == [str(disk.path) for disk in demo_disks[:2]]
    assert (given["on_fstab_mismatch"], given["shrink"]) == ("ask", False)
    decision = json.loads((tmp_path / "w" / "report.json").read_text())["decision"]
    assert (decision["choice"], decision["decided_by"], decision["note"]) == ("repair", WHO, WHY)

    events = prefect_server.events(run)
    [finished] = [one for one in events if one["event"] == "ferry.migration.finished"]
    assert finished["resource"]["ferry.outcome"] == "completed"
    assert finished["payload"]["bytes_of_images"] > 0
    stages = {(one["event"], one["payload"]["stage"]) for one in events if one["event"] != "ferry.migration.finished"}
    assert {("ferry.stage.finished", "repair"), ("ferry.stage.finished", "convert")} <= stages
    assert not [event for event, _stage in stages if event == "ferry.stage.failed"]
