"""A fleet, on a real server and worker: single failures survive nobody, and run again it does only the rest."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from emulator.account import change_image
from emulator.server import EmulatedCloud, Variants
from migration.catalogue import find_migrations
from migration.run import run as run_program
from tests.conftest import BUCKET
from tests.fleet_fixtures import FAMILY, NO_APPLIANCE, image_id, small_cloud
from tests.prefect_fixtures import PrefectServer, prefect_server
from tests.test_flows_export_to_private_cloud import start as start_run
from tests.test_flows_export_to_private_cloud import wait_until

__all__ = ["prefect_server"]

NAME = "migrate-fleet"
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def schemas() -> dict[str, dict[str, Any]]:
    """Return what Prefect knows of the parameters of both flows; in a process of its own, as it sets up logging."""
    code = (
        "import json\n"
        "from flows.export_to_private_cloud import export_to_private_cloud as single\n"
        "from flows.migrate_fleet import migrate_fleet as fleet\n"
        "print(json.dumps({'single': single.parameters.properties, 'fleet': fleet.parameters.properties}))\n"
    )
    found: dict[str, dict[str, Any]] = json.loads(run_program([sys.executable, "-c", code]))
    return found


def test_fleet_offers_what_a_single_run_offers_and_says_what_each_parameter_is() -> None:
    found = schemas()
    assert set(found["single"]) - {"image_id", "prefix", "decision_hours"} <= set(found["fleet"])
    for name, schema in found["fleet"].items():
        # Of a group of settings, its own description and those of its members are in the definitions.
        assert schema.get("description") or "$ref" in schema, name
    said = found["fleet"]["keep_last"]["description"]
    assert said.startswith("After the run, delete older workspaces")
    assert said.endswith("Empty: nothing is deleted")


def parameters(cloud: EmulatedCloud, root: Path, **more: Any) -> dict[str, Any]:
    return {
        "bucket": BUCKET, "region_id": cloud.region_id, "workspace": f"{root}/{{image_id}}",
        "selector": {"family": FAMILY, "which": "all"},
        "endpoints": {"ecs_endpoint": cloud.ecs_endpoint, "oss_endpoint": cloud.oss_endpoint},
        "on_fstab_mismatch": "warn", "shrink": False, "transfer": {"accept_other_size": True}, **more,
    }  # fmt: skip


def start(server: PrefectServer, given: dict[str, Any]) -> str:
    return start_run(server, given, name=NAME, env=NO_APPLIANCE)


def table(root: Path) -> dict[str, Any]:
    """Return the latest table of a fleet, having held its three forms against each other."""
    folder = max((root / "fleet-reports").iterdir())
    document: dict[str, Any] = json.loads((folder / "fleet.json").read_text())
    with (folder / "fleet.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image_id"], row["outcome"]) for row in rows] == [
        (row["image_id"], row["outcome"]) for row in document["rows"]
    ]
    text = (folder / "fleet.md").read_text()
    assert all(row["image_id"] in text for row in document["rows"])
    return document


def outcomes(root: Path) -> dict[str, str]:
    return {row["image_id"]: row["outcome"] for row in table(root)["rows"]}


def most_at_once(cloud: EmulatedCloud) -> int:
    """Return how many export tasks ran at the same time, at most."""
    moments = [(task.created, 1) for task in cloud.tasks] + [(task.finished, -1) for task in cloud.tasks]
    running = most = 0
    for _, change in sorted(moments):
        running += change
        most = max(most, running)
    return most


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_fifty_images_in_one_run_of_which_some_fail(prefect_server: PrefectServer, tmp_path: Path) -> None:
    folder, root = tmp_path / "cloud", tmp_path / "r"
    faults = Variants(faulty_action="DescribeTaskAttribute", throttle_calls=25, truncate_gets=5, unavailable_gets=5)
    with small_cloud(folder, 50, variants=faults) as cloud:
        change_image(folder, image_id(7), product_code="marketplace-1")
        change_image(folder, image_id(8), refuse_export="InvalidImageLicense.NotSupported")
        change_image(folder, image_id(9), spoil_export=True)
        run = start(prefect_server, parameters(cloud, root))
        state, message = prefect_server.wait_for(run, *ENDED, seconds=1200)
        assert state == "FAILED", message
        assert "50 images: 47 done, 3 failed" in message
        assert image_id(7) in message
        assert "Traceback" not in prefect_server.logs(run)

        failed = {row["image_id"]: row for row in table(root)["rows"] if row["outcome"] == "failed"}
        assert {key: row["error"] for key, row in failed.items()} == {
            image_id(7): "PreflightRefused", image_id(8): "EcsRefused", image_id(9): "CorruptData",
        }  # fmt: skip
        assert "marketplace" in failed[image_id(7)]["why"]
        assert set(outcomes(root).values()) == {"done", "failed"}
        assert "47 done, 3 failed" in prefect_server.artifacts(run)["fleet-report"]
        assert most_at_once(cloud) <= 3
        exports = len(cloud.tasks)
        assert exports == 48
        proven = {one.image_id for one in find_migrations(root) if one.standing == "proven"}
        assert len(proven) == 47

        # Run again: what was wrong with two of them is put right meanwhile.
        change_image(folder, image_id(7), product_code="")
        change_image(folder, image_id(8), refuse_export="")
        run = start(prefect_server, parameters(cloud, root))
        state, message = prefect_server.wait_for(run, *ENDED, seconds=300)
        assert state == "FAILED", "one object is damaged in the bucket itself"
        assert "50 images: 2 done, 1 failed, 47 skipped" in message
        assert len(cloud.tasks) == exports + 2
        assert outcomes(root)[image_id(9)] == "failed"


@pytest.mark.exhaustive
@pytest.mark.slow
def test_two_fleets_share_the_limits_and_leave_each_others_images_alone(
    prefect_server: PrefectServer, tmp_path: Path
) -> None:
    root = tmp_path / "r"
    prefect_server.ask("PATCH", "/v2/concurrency_limits/ferry-exports", {"limit": 1})
    try:
        with small_cloud(tmp_path / "cloud", 6, variants=Variants(export_seconds=1)) as cloud:
            runs = [start(prefect_server, parameters(cloud, root)) for _ in range(2)]
            states = [prefect_server.wait_for(run, *ENDED) for run in runs]
            assert [state for state, _ in states] == ["COMPLETED", "COMPLETED"], states
            assert len(cloud.tasks) == 6, "no image was exported twice"
            assert most_at_once(cloud) == 1
    finally:
        prefect_server.ask("PATCH", "/v2/concurrency_limits/ferry-exports", {"limit": 3})
    tables = [json.loads(path.read_text()) for path in (root / "fleet-reports").glob("*/fleet.json")]
    assert len(tables) == 2
    done = [row["image_id"] for one in tables for row in one["rows"] if row["outcome"] == "done"]
    assert sorted(set(done)) == [image_id(number) for number in range(6)]


@pytest.mark.exhaustive
@pytest.mark.slow
def test_cancelled_fleet_cancels_its_exports_and_is_resumed(prefect_server: PrefectServer, tmp_path: Path) -> None:
    root = tmp_path / "r"
    with small_cloud(tmp_path / "cloud", 4, variants=Variants(waiting_seconds=600)) as cloud:
        given = parameters(cloud, root, at_once={"images": 2})
        run = start(prefect_server, given)
        wait_until(lambda: cloud.count("DescribeTaskAttribute") > 4, "nobody follows the export tasks")

        prefect_server.run("prefect", "flow-run", "cancel", run)

        assert prefect_server.wait_for(run, *ENDED, seconds=90)[0] == "CANCELLED"
        assert {task.status for task in cloud.tasks} == {"Deleted"}
        assert set(outcomes(root).values()) == {"stopped"}
        assert len(outcomes(root)) == 4
        below = prefect_server.ask("POST", "/flow_runs/filter", {"flow_runs": {"parent_flow_run_id": {"any_": [run]}}})
        assert [one["state"]["type"] for one in below] == ["CANCELLED"] * 2

        cloud.variants = Variants()
        state, message = prefect_server.wait_for(start(prefect_server, given), *ENDED)
        assert state == "COMPLETED", message
        assert set(outcomes(root).values()) == {"done"}


@pytest.mark.exhaustive
@pytest.mark.slow
def test_fleet_keeps_the_last_and_deletes_what_is_home(prefect_server: PrefectServer, tmp_path: Path) -> None:
    root, listed = tmp_path / "r", tmp_path / "fleet.csv"
    with small_cloud(tmp_path / "cloud", 4) as cloud:
        listed.write_text(f"image_id,formats\n{image_id(0)},vmdk\n{image_id(1)},\n{image_id(3)},qcow2 vmdk\n")
        given = parameters(cloud, root, file=str(listed), keep_last=2, delete_objects=True, selector=None)
        state, message = prefect_server.wait_for(start(prefect_server, given), *ENDED)
        assert state == "COMPLETED", message
        assert sorted(one.image_id for one in find_migrations(root)) == [image_id(1), image_id(3)]
        assert sorted(path.name for path in (root / image_id(3) / "images").iterdir()) == [
            "system.qcow2",
            "system.vmdk",
        ]
        assert cloud.objects(BUCKET) == []
        assert any(image_id(0) in line for line in table(root)["pruned"])
        exports = len(cloud.tasks)

        # What is kept is not fetched again, nor what would be deleted again.
        given = parameters(cloud, root, keep_last=2)
        state, message = prefect_server.wait_for(start(prefect_server, given), *ENDED)
        assert state == "COMPLETED", message
        assert outcomes(root) == {
            image_id(0): "skipped", image_id(1): "skipped", image_id(2): "done", image_id(3): "skipped",
        }  # fmt: skip
        assert len(cloud.tasks) == exports + 1
        assert sorted(one.image_id for one in find_migrations(root)) == [image_id(2), image_id(3)]


@pytest.mark.exhaustive
@pytest.mark.slow
def test_fleet_without_an_image_or_with_too_many_is_refused(prefect_server: PrefectServer, tmp_path: Path) -> None:
    with small_cloud(tmp_path / "cloud", 3) as cloud:
        given = parameters(cloud, tmp_path / "r")
        for changes, said in (
            ({"selector": {"family": "nope"}}, "no image of the account"),
            ({"at_most": 2}, "3 images are to be migrated"),
            ({"images": [image_id(0)]}, "which images?"),
            ({"workspace": str(tmp_path / "r")}, "the same for all images"),
        ):
            run = start(prefect_server, {**given, **changes})
            state, message = prefect_server.wait_for(run, *ENDED)
            assert (state, said in message) == ("FAILED", True), message
        assert cloud.tasks == []
