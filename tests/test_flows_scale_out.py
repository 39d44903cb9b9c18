"""Prefect on PostgreSQL with several workers: what becomes of runs when something of it dies."""

from __future__ import annotations

import json
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from emulator.account import add_image
from emulator.object_store import add_bucket
from emulator.server import EmulatedCloud, Variants, emulated_cloud
from migration.disk import Disk
from migration.disk_file import find_disks_in
from tests.conftest import BUCKET, MIB, write_raw
from tests.scale_out_fixtures import SILENCE, Site, needs_postgres, running_site
from tests.test_flows_export_to_private_cloud import NAME, sha256, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive, needs_postgres, pytest.mark.timeout(1500)]

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


def downloads(cloud: EmulatedCloud) -> int:
    """Return how many objects were read from."""
    return len({call.action for call in cloud.calls if call.action.startswith("GET") and call.action.endswith(".gz")})


def owner(workspace: Path) -> int:
    """Return the process that owned the workspace last, 0 if none did."""
    lock = workspace / ".lock"
    return int(lock.read_text() or 0) if lock.exists() else 0


def test_run_of_a_machine_that_vanished_is_noticed_and_another_worker_goes_on(
    site: Site, cloud: EmulatedCloud, small_disk: Disk, tmp_path: Path
) -> None:
    cloud.variants = Variants(bytes_per_second=20_000)
    site.start_worker("first")
    run = start(site, cloud, 0, tmp_path / "w")
    wait_until(lambda: downloads(cloud) == 1, "no download")
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


def test_two_workers_never_write_one_workspace_though_the_first_was_given_up(
    site: Site, cloud: EmulatedCloud, tmp_path: Path
) -> None:
    cloud.variants = Variants(bytes_per_second=20_000)
    site.start_worker("frozen")
    run = start(site, cloud, 0, tmp_path / "w")
    wait_until(lambda: downloads(cloud) == 1, "no download")
    first = owner(tmp_path / "w")
    site.signal_machine("frozen", signal.SIGSTOP)
    wait_for(site, [run], "Crashed")
    requests = len(cloud.calls)

    site.start_worker("other")
    assert site.server.run("ferry", "resume", run).returncode == 0
    wait_for(site, [run], "Failed", "Completed")
    state, message = site.server.state(run)
    assert state == "FAILED"
    assert f"is in use by another run (process {first})" in message
    assert len(cloud.calls) == requests, "nothing is asked of the cloud before the workspace is ours"

    site.signal_machine("frozen", signal.SIGKILL)
    cloud.variants = Variants()
    assert site.server.run("ferry", "resume", run).returncode == 0
    wait_for(site, [run], "Completed")
    assert cloud.count("ExportImage") == 1
    site.stop("other")


@pytest.mark.parametrize("count", [6, 20])
def test_all_are_done_once_though_worker_server_and_database_died_in_between(
    site: Site, cloud: EmulatedCloud, small_disk: Disk, tmp_path: Path, count: int
) -> None:
    cloud.variants = Variants(bytes_per_second=40_000, export_seconds=0.5)
    workers = [f"worker-{count}-{number}" for number in range(3)]
    for name in workers:
        site.start_worker(name)
    runs = [start(site, cloud, number, tmp_path / f"w-{number}") for number in range(count)]

    def is_at_work(name: str) -> bool:
        return bool({owner(tmp_path / f"w-{number}") for number in range(count)} & {*site.processes_of(name)})

    wait_until(lambda: is_at_work(workers[0]), "the worker that is to be killed does nothing", seconds=300)
    site.signal_machine(workers[0], signal.SIGKILL)
    wait_until(lambda: any(map(is_at_work, workers[1:])), "no worker is at work", seconds=300)
    site.stop("server")
    site.start_server()
    site.postgres.stop()
    site.postgres.start()
    cloud.variants = Variants(export_seconds=0.5)

    # What an operator does who comes back. Heartbeats that were under way when the server ended are lost with it,
    # so that runs may be silent without being noticed; and a process that starts while nobody answers ends at once.
    resumed: list[str] = []

    def are_done() -> bool:
        states = site.states(runs)
        assert "Failed" not in states.values(), [site.server.state(run) for run in runs]
        if set(states.values()) == {"Completed"}:
            return True
        told = site.server.run("ferry", "resume", "--all", "--silence", "150", "--json")
        resumed.extend(run["run"] for run in json.loads(told.stdout).get("resumed", []))
        time.sleep(10)
        return False

    wait_until(are_done, "not all are done", seconds=1200)
    assert resumed, "one was killed"

    started = [call.params["ImageId"] for call in cloud.calls if call.action == "ExportImage"]
    assert sorted(started) == [image_id(number) for number in range(count)], "none was exported twice"
    for number in range(count):
        assert sha256(tmp_path / f"w-{number}" / "disks" / "system.raw") == sha256(small_disk.path)
        assert (tmp_path / f"w-{number}" / "images" / "system.qcow2").exists()
    for name in workers[1:]:
        site.stop(name)


def test_failure_is_told_to_a_webhook_with_its_reason(site: Site, cloud: EmulatedCloud, tmp_path: Path) -> None:
    told: queue.Queue[Any] = queue.Queue()

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # http.server's name
            told.put((self.headers["X-Token"], json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as hook:
        threading.Thread(target=hook.serve_forever, daemon=True).start()
        block = f"""
from prefect.blocks.webhook import Webhook
Webhook(url="http://127.0.0.1:{hook.server_port}/", headers={{"X-Token": "t-1"}}).save("ferry-failures", overwrite=True)
"""
        site.server.run(sys.executable, "-c", block)
        for _ in range(2):  # repeated, it changes nothing
            argv = ["-m", "deployments.deploy", "--silence", str(SILENCE), "--automations", "deployments/notify.yaml"]
            deployed = site.server.run(sys.executable, *argv)
            assert deployed.returncode == 0, deployed.stderr
        found = site.server.ask("POST", "/automations/filter", {})
        assert len(found) == len({one["name"] for one in found}) == 3

        site.start_worker("honest")
        run = start(site, cloud, 0, tmp_path / "w", bucket="no-such-bucket")
        wait_for(site, [run], "Failed")
        token, message = told.get(timeout=60)
        hook.shutdown()
    assert token == "t-1"
    assert (message["run"], message["state"]) == (f"export {image_id(0)}", "Failed")
    assert "no-such-bucket" in message["why"]
    assert run in message["page"]
    site.stop("honest")
