"""Prefect on PostgreSQL with several workers: what becomes of runs when something of it dies."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator.account import add_image
from emulator.object_store import add_bucket
from emulator.server import EmulatedCloud, Variants, emulated_cloud
from migration.disk import Disk
from migration.disk_file import find_disks_in
from migration.workspace import open_workspace
from tests.conftest import BUCKET, MIB, write_raw
from tests.scale_out_fixtures import Site, needs_postgres, running_site
from tests.test_flows_export_to_private_cloud import NAME, sha256, wait_until

pytestmark = [pytest.mark.slow, needs_postgres, pytest.mark.timeout(1500)]

KEYS = {
    # What the emulated cloud accepts, and nothing else does.
    "ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAI5tEmulatedAccountKey",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "emulated-secret-of-no-value",
}
ENDED = {"Completed", "Failed", "Crashed", "Cancelled"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site"), KEYS) as found:
        yield found


@pytest.fixture(scope="session")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Disk:
    """A disk that holds no guest: nothing is booted to look into it. Do not write to it."""
    folder = tmp_path_factory.mktemp("small-disk")
    write_raw(folder / "system.raw", 4 * MIB)
    [disk] = find_disks_in(folder)
    return disk


def image_id(number: int) -> str:
    return f"m-bp1scaleout{number:08}"


@pytest.fixture
def cloud(tmp_path: Path, small_disk: Disk) -> Iterator[EmulatedCloud]:
    """A cloud with twenty images of one small disk each."""
    folder = tmp_path / "cloud"
    for number in range(20):
        add_image(folder, image_id(number), [small_disk])
    add_bucket(folder, BUCKET)
    with emulated_cloud(folder, variants=Variants(export_seconds=0.5)) as found:
        yield found


def start(site: Site, cloud: EmulatedCloud, number: int, workspace: Path, **more: Any) -> str:
    """Start the migration of an image, and return the run's id."""
    given = {
        "image_id": image_id(number), "bucket": BUCKET, "region_id": cloud.region_id, "workspace": str(workspace),
        "endpoints": {"ecs_endpoint": cloud.ecs_endpoint, "oss_endpoint": cloud.oss_endpoint},
        "on_fstab_mismatch": "warn", "shrink": False, "transfer": {"accept_other_size": True}, **more,
    }  # fmt: skip
    deployment = site.ask_patiently("GET", f"/deployments/name/{NAME}/{NAME}")
    run = site.ask_patiently("POST", f"/deployments/{deployment['id']}/create_flow_run", {"parameters": given})
    return str(run["id"])


def wait_for(site: Site, runs: list[str], *states: str, seconds: float = 600) -> None:
    wait_until(lambda: set(site.states(runs).values()) <= {*states}, f"not {states}: {runs}", seconds=seconds)


def test_run_of_a_machine_that_vanished_is_noticed_and_another_worker_goes_on(
    site: Site, cloud: EmulatedCloud, small_disk: Disk, tmp_path: Path
) -> None:
    cloud.variants = Variants(bytes_per_second=20_000)
    site.start_worker("first")
    run = start(site, cloud, 0, tmp_path / "w")
    wait_until(lambda: any("GET" in call.action and call.action.endswith(".gz") for call in cloud.calls), "no download")
    site.signal_machine("first", signal.SIGKILL)
    assert site.states([run])[run] == "Running", "nobody is left to say otherwise"
    wait_for(site, [run], "Crashed")
    listed = site.server.run("ferry", "resume")
    assert run in listed.stdout
    assert "Nothing was heard of it" in listed.stdout

    site.start_worker("second")
    cloud.variants = Variants()
    assert site.server.run("ferry", "resume", run).returncode == 0
    wait_for(site, [run], "Completed")
    assert cloud.count("ExportImage") == 1
    assert sha256(tmp_path / "w" / "disks" / "system.raw") == sha256(small_disk.path)
    site.stop("second")
