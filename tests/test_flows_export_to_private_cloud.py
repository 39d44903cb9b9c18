from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from emulator.account import add_image
from emulator.object_store import add_bucket
from emulator.server import EmulatedCloud, Variants, emulated_cloud
from migration.disk import Disk
from migration.disk_file import find_disks_in
from migration.errors import WorkspaceInUse
from migration.image import GIB
from migration.workspace import open_workspace
from report.course import find_stop
from report.document import find_report
from report.stage_times import Stage
from tests.conftest import BUCKET, FAR_BUCKET, IMAGE_ID, write_raw
from tests.prefect_fixtures import PROJECT, PrefectServer, demo_disks, prefect_server

__all__ = ["demo_disks", "prefect_server"]

pytestmark = pytest.mark.slow

DEMO_IMAGE = "m-bp1demoserver00000001"
NAME = "export-to-private-cloud"
APPLIANCE = "ferry-guest-"
QUICK = Variants(export_seconds=0.5)


@pytest.fixture
def demo_cloud(tmp_path: Path, demo_disks: tuple[Disk, ...]) -> Iterator[EmulatedCloud]:
    """A cloud with the demo server's image, all three disks, and another that lost its last one."""
    folder = tmp_path / "cloud"
    add_image(folder, DEMO_IMAGE, demo_disks)
    add_bucket(folder, BUCKET)
    with emulated_cloud(folder, variants=QUICK) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def hollow_disks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Disk, ...]:
    """Three disks of whole GiB, as ECS has them, that hold random bytes and no guest. Do not write to them."""
    folder = tmp_path_factory.mktemp("hollow-disks")
    for seed, name in enumerate(("system.raw", "data_xvdb.raw", "data_xvdc.raw")):
        write_raw(folder / name, GIB, seed=seed)
    return find_disks_in(folder)


@pytest.fixture
def hollow_cloud(tmp_path: Path, hollow_disks: tuple[Disk, ...]) -> Iterator[EmulatedCloud]:
    """A cloud with an image whose disks hold no guest, so that looking at them is bound to fail."""
    folder = tmp_path / "hollow-cloud"
    add_image(folder, IMAGE_ID, hollow_disks)
    add_bucket(folder, BUCKET)
    add_bucket(folder, FAR_BUCKET, region_id="cn-shanghai")
    with emulated_cloud(folder, variants=QUICK) as cloud:
        yield cloud


def parameters(cloud: EmulatedCloud, image_id: str, workspace: Path, **more: Any) -> dict[str, Any]:
    """Return what the flow is run with."""
    endpoints = {"ecs_endpoint": cloud.ecs_endpoint, "oss_endpoint": cloud.oss_endpoint}
    return {
        "image_id": image_id, "bucket": BUCKET, "region_id": cloud.region_id,
        "workspace": str(workspace), "endpoints": endpoints, "formats": ["qcow2"], "shrink": False, **more,
    }  # fmt: skip


def start(
    server: PrefectServer, given: dict[str, Any], *, name: str = NAME, env: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Start a run of the deployment as the UI does, with `env` besides its own, and return its id."""
    deployment = server.deployment(name)
    body = {"parameters": given, "job_variables": {"env": {**deployment["job_variables"]["env"], **env}}}
    return str(server.ask("POST", f"/deployments/{deployment['id']}/create_flow_run", body)["id"])


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def test_literal_command_moves_a_real_server(
    prefect_server: PrefectServer, demo_cloud: EmulatedCloud, demo_disks: tuple[Disk, ...], tmp_path: Path
) -> None:
    # A site's own defaults, set on the deployment as prefect.yaml or the UI would.
    given = parameters(demo_cloud, DEMO_IMAGE, tmp_path / "w") | {"formats": ["qcow2", "vmdk"]}
    prefect_server.ask("PATCH", f"/deployments/{prefect_server.deployment(NAME)['id']}", {"parameters": given})

    command = prefect_server.run("prefect", "deployment", "run", "export-to-private-cloud")

    assert command.returncode == 0, command.stderr
    flow = {"flows": {"name": {"any_": [NAME]}}}
    [run] = prefect_server.ask("POST", "/flow_runs/filter", {**flow, "sort": "EXPECTED_START_TIME_DESC", "limit": 1})
    state = prefect_server.wait_for(run["id"], "COMPLETED", "FAILED", "CRASHED")
    logs = prefect_server.all_logs(run["id"])
    assert state[0] == "COMPLETED", f"{state[1]}\n{logs}"
    for disk in demo_disks:
        assert sha256(tmp_path / "w" / "disks" / f"{disk.stem}.raw") == sha256(disk.path)
        for image_format in ("qcow2", "vmdk"):
            image = tmp_path / "w" / "images" / f"{disk.stem}.{image_format}"
            compared = subprocess.run(
                ["qemu-img", "compare", "-f", "raw", "-F", image_format, disk.path, image], check=False
            )
            assert compared.returncode == 0
    artifacts = prefect_server.artifacts(run["id"])
    assert artifacts["migration-report"] == (tmp_path / "w" / "report.md").read_text()
    assert "nothing stands in the way" in artifacts["migration-report"]
    assert {float(data) for key, data in artifacts.items() if key != "migration-report"} == {100.0}
    assert {"export", "download-xvdc", "convert-xvda-vmdk"} <= set(artifacts)
    everything = f"{logs}{artifacts}{(tmp_path / 'w' / 'journal.json').read_text()}{json.dumps(run)}"
    assert demo_cloud.access_key_secret not in everything
    assert "Converting" in logs, "the stages' own lines reach the run"


@pytest.mark.exhaustive
def test_mismatch_stops_before_converting_unless_only_a_warning_is_wanted(
    prefect_server: PrefectServer, demo_disks: tuple[Disk, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "cloud"
    add_image(folder, DEMO_IMAGE, demo_disks[:2])  # fstab still mounts the third disk
    add_bucket(folder, BUCKET)
    with emulated_cloud(folder, variants=QUICK) as cloud:
        given = parameters(cloud, DEMO_IMAGE, tmp_path / "w")
        refused = start(prefect_server, given)
        state, message = prefect_server.wait_for(refused, "COMPLETED", "FAILED", "CRASHED")
        assert state == "FAILED"
        assert "/etc/fstab does not match the exported disks" in message
        assert list((tmp_path / "w" / "images").iterdir()) == []
        assert "/srv/archive" in prefect_server.artifacts(refused)["migration-report"]
        assert "Traceback" not in prefect_server.all_logs(refused)

        # To save money, the objects are deleted once the disks are home: they are not needed any more.
        for found in cloud.objects(BUCKET):
            cloud.delete_object(BUCKET, found.key)
        warned = start(prefect_server, {**given, "on_fstab_mismatch": "warn"})
        assert prefect_server.wait_for(warned, "COMPLETED", "FAILED", "CRASHED")[0] == "COMPLETED"
        assert sorted(path.name for path in (tmp_path / "w" / "images").iterdir()) == [
            "data_xvdb.qcow2",
            "system.qcow2",
        ]
        assert cloud.count("ExportImage") == 1


def test_cancelled_run_ends_its_work_and_is_resumed(
    prefect_server: PrefectServer, hollow_cloud: EmulatedCloud, hollow_disks: tuple[Disk, ...], tmp_path: Path
) -> None:
    hollow_cloud.variants = Variants(bytes_per_second=40_000)
    transfer = {"bandwidth_limit_mib": 500, "oss_traffic_limit": 838_860_800}
    given = parameters(hollow_cloud, IMAGE_ID, tmp_path / "w", on_fstab_mismatch="warn", transfer=transfer)
    run = start(prefect_server, given)
    wait_for_download(hollow_cloud)

    cancelled = prefect_server.run("prefect", "flow-run", "cancel", run)

    assert cancelled.returncode == 0, cancelled.stderr
    assert prefect_server.wait_for(run, "CANCELLED", "FAILED", "CRASHED", "COMPLETED", seconds=60)[0] == "CANCELLED"
    with open_workspace(tmp_path / "w"):
        pass  # nobody holds it
    left = find_report(tmp_path / "w")
    assert (left.stopped != "", left.ended is not None, find_stop(left)) == (True, True, Stage.DOWNLOAD)
    hollow_cloud.variants = Variants()
    assert prefect_server.wait_for(start(prefect_server, given), "COMPLETED", "FAILED", "CRASHED")[0] == "COMPLETED"
    assert hollow_cloud.count("ExportImage") == 1
    assert {call.params.get("x-oss-traffic-limit") for call in hollow_cloud.calls if "Range" in call.params} == {
        "838860800"
    }
    report = (tmp_path / "w" / "report.md").read_text()
    assert "could not be examined: whether it boots is unknown" in report
    for disk in hollow_disks:
        assert sha256(tmp_path / "w" / "disks" / f"{disk.stem}.raw") == sha256(disk.path)


def test_cancelled_run_cancels_its_export_in_the_cloud(
    prefect_server: PrefectServer, hollow_cloud: EmulatedCloud, tmp_path: Path
) -> None:
    hollow_cloud.variants = Variants(waiting_seconds=600)
    run = start(prefect_server, parameters(hollow_cloud, IMAGE_ID, tmp_path / "w"))
    wait_until(lambda: hollow_cloud.count("DescribeTaskAttribute") > 0, "nobody follows the export task")

    prefect_server.run("prefect", "flow-run", "cancel", run)

    assert prefect_server.wait_for(run, "CANCELLED", "FAILED", "CRASHED", "COMPLETED", seconds=60)[0] == "CANCELLED"
    assert [task.status for task in hollow_cloud.tasks] == ["Deleted"]


def test_run_cancelled_while_it_looks_into_the_guest_ends_the_appliance(
    prefect_server: PrefectServer, demo_disks: tuple[Disk, ...], tmp_path: Path
) -> None:
    given = {"workspace": str(tmp_path / "w"), "disks": [str(disk.path) for disk in demo_disks]}
    run = start(prefect_server, given, name="prepare-test-image")
    wait_until(lambda: bool(machines_in(prefect_server, APPLIANCE)), "no appliance was started")
    for appliance in machines_in(prefect_server, APPLIANCE):
        os.kill(int(appliance.name), signal.SIGSTOP)  # so that it boots no further, however quick the machine

    prefect_server.run("prefect", "flow-run", "cancel", run)

    assert prefect_server.wait_for(run, "CANCELLED", "FAILED", "CRASHED", "COMPLETED", seconds=60)[0] == "CANCELLED"
    assert machines_in(prefect_server, APPLIANCE) == []
    assert list((tmp_path / "w" / "images").iterdir()) == []
    ended_by_us = "stopped on request"
    wait_until(lambda: ended_by_us in prefect_server.logs(run), "it was ended by Prefect's SIGKILL 30 s later")
    assert "could not be examined" not in prefect_server.logs(run), "a cancelled look is no result"


def test_killed_run_goes_on_where_it_was(
    prefect_server: PrefectServer, hollow_cloud: EmulatedCloud, hollow_disks: tuple[Disk, ...], tmp_path: Path
) -> None:
    argv: list[str | Path] = [
        sys.executable, "-m", "ferry", "run", IMAGE_ID, "--bucket", BUCKET, "--region", hollow_cloud.region_id,
        "--workspace", tmp_path / "w", "--on-fstab-mismatch", "warn", "--to", "vmdk", "--json",
        "--ecs-endpoint", hollow_cloud.ecs_endpoint, "--oss-endpoint", hollow_cloud.oss_endpoint,
    ]  # fmt: skip
    hollow_cloud.variants = Variants(bytes_per_second=40_000)
    with subprocess.Popen(argv, cwd=PROJECT, env=dict(prefect_server.env), start_new_session=True) as victim:
        wait_for_download(hollow_cloud)
        with pytest.raises(WorkspaceInUse), open_workspace(tmp_path / "w"):
            pass
        os.killpg(victim.pid, signal.SIGKILL)

    left = find_report(tmp_path / "w")
    assert (left.ended, left.stopped, find_stop(left)) == (None, "", Stage.DOWNLOAD), "it says how far it came"
    assert "was still going on when this was written, or was killed" in (tmp_path / "w" / "report.html").read_text()
    hollow_cloud.variants = Variants()
    done = subprocess.run(
        argv, cwd=PROJECT, env=dict(prefect_server.env), capture_output=True, text=True, check=False, timeout=300
    )

    assert done.returncode == 0, done.stderr
    assert hollow_cloud.count("ExportImage") == 1
    report = find_report(tmp_path / "w")
    assert report.ended is not None
    assert all(one.is_done for one in report.stages if one.stage is not Stage.CHECK), "the guest is hollow"
    tries = {(one.stage, one.subject): one.tries for one in report.stages}
    assert tries[Stage.EXPORT, ""] == 2
    assert tries[Stage.CONVERT, "xvdb to vmdk"] == 1
    [first], [again] = ([one for one in found.stages if one.stage is Stage.EXPORT] for found in (left, report))
    assert (again.started, again.seconds > first.seconds) == (first.started, True), "what the killed run took is kept"
    assert sorted(Path(image).name for image in json.loads(done.stdout)["images"]) == [
        "data_xvdb.vmdk", "data_xvdc.vmdk", "system.vmdk",
    ]  # fmt: skip
    for disk in hollow_disks:
        assert sha256(tmp_path / "w" / "disks" / f"{disk.stem}.raw") == sha256(disk.path)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(victim.pid, 0)
        pytest.fail("a child of the killed run is still there")


def test_refused_preflight_fails_the_run_with_every_broken_rule(
    prefect_server: PrefectServer, hollow_cloud: EmulatedCloud, tmp_path: Path
) -> None:
    given = parameters(hollow_cloud, IMAGE_ID, tmp_path / "w", bucket=FAR_BUCKET, limits={"data_disk_gib": 1})
    run = start(prefect_server, {**given, "image_id": IMAGE_ID})
    state, message = prefect_server.wait_for(run, "COMPLETED", "FAILED", "CRASHED")
    assert state == "FAILED"
    assert "cn-shanghai" in message
    report = prefect_server.artifacts(run)["migration-report"]
    assert "**The run stopped at the stage export:**" in report
    assert "cn-shanghai" in report
    assert hollow_cloud.count("ExportImage") == 0


def test_parameters_are_refused_when_the_run_is_created(prefect_server: PrefectServer) -> None:
    command = prefect_server.run(
        "prefect",
        "deployment",
        "run",
        NAME,
        "-p",
        "image_id=../../etc",
        "-p",
        "bucket=b-1",
        "-p",
        "region_id=cn-hangzhou",
    )
    assert command.returncode != 0
    assert "image_id" in command.stdout + command.stderr


@pytest.mark.exhaustive
def test_prepare_test_image_checks_and_converts_what_lies_on_disk(
    prefect_server: PrefectServer, demo_disks: tuple[Disk, ...], tmp_path: Path
) -> None:
    command = prefect_server.run(
        "prefect", "deployment", "run", "prepare-test-image", "--watch",
        "-p", f"workspace={tmp_path / 'w'}", "-p", f"disks={json.dumps([str(disk.path) for disk in demo_disks])}",
    )  # fmt: skip
    assert command.returncode == 0, command.stdout + command.stderr
    assert sorted(path.name for path in (tmp_path / "w" / "images").iterdir()) == [
        "data_xvdb.qcow2", "data_xvdc.qcow2", "system.qcow2",
    ]  # fmt: skip
    assert "nothing stands in the way" in (tmp_path / "w" / "report.md").read_text()


@pytest.mark.exhaustive
def test_guest_is_judged_for_the_targets_that_were_chosen(
    prefect_server: PrefectServer, demo_disks: tuple[Disk, ...], tmp_path: Path
) -> None:
    disks = [str(disk.path) for disk in demo_disks]
    given = {"workspace": str(tmp_path / "w"), "disks": disks, "on_fstab_mismatch": "fail", "targets": ["xen"]}
    run = start(prefect_server, given, name="prepare-test-image")
    state, message = prefect_server.wait_for(run, "COMPLETED", "FAILED", "CRASHED")
    assert state == "FAILED", "on all buses together it passes, as other tests here show"
    assert "device-name, driver-missing" in message
    assert "- xen: does not boot" in prefect_server.artifacts(run)["migration-report"]
    assert list((tmp_path / "w" / "images").iterdir()) == []

    wrong = prefect_server.run(
        "prefect", "deployment", "run", NAME, "-p", f"image_id={DEMO_IMAGE}", "-p", f"bucket={BUCKET}",
        "-p", "region_id=cn-hangzhou", "-p", 'targets=["floppy"]',
    )  # fmt: skip
    assert wrong.returncode != 0
    assert "'floppy' is not one of" in " ".join((wrong.stdout + wrong.stderr).split())


def test_repair_converts_the_layers_and_shows_what_changed(
    prefect_server: PrefectServer, demo_disks: tuple[Disk, ...], tmp_path: Path
) -> None:
    before = [sha256(disk.path) for disk in demo_disks]
    given = {
        "workspace": str(tmp_path / "w"), "disks": [str(disk.path) for disk in demo_disks[:2]],
        "on_fstab_mismatch": "repair", "shrink": False,
    }  # fmt: skip
    run = start(prefect_server, given, name="prepare-test-image")
    state, message = prefect_server.wait_for(run, "COMPLETED", "FAILED", "CRASHED", seconds=500)
    assert state == "COMPLETED", f"{message}\n{prefect_server.logs(run)}"
    report = prefect_server.artifacts(run)["migration-report"]
    assert "/srv/archive            xfs     defaults,nofail,x-systemd.device-timeout=10s        0 0" in report
    assert "Before: not clean: 3 lines of fstab checked, 1 error" in report
    assert "After: not clean: 3 lines of fstab checked, 1 warning" in report
    assert sorted(path.name for path in (tmp_path / "w" / "disks").iterdir()) == ["system.repaired.qcow2"]
    layer, image = tmp_path / "w/disks/system.repaired.qcow2", tmp_path / "w/images/system.qcow2"
    argv: list[str | Path] = ["qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", layer, image]
    assert subprocess.run(argv, check=False).returncode == 0
    assert [sha256(disk.path) for disk in demo_disks] == before


def machines_in(server: PrefectServer, folder: str) -> list[Path]:
    """Return the /proc folders of the QEMUs of the server's runs that work in temporary folders named `folder`…"""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            argv = (process / "cmdline").read_bytes()
            if argv.startswith(b"/usr/bin/qemu-system") and f"{server.env['TMPDIR']}/{folder}".encode() in argv:
                found.append(process)
    return found


def wait_for_download(cloud: EmulatedCloud) -> None:
    """Return once bytes of an object are under way."""

    def is_read() -> bool:
        return any(call.action.startswith("GET") and call.action.endswith(".tar.gz") for call in cloud.calls)

    wait_until(is_read, "nothing was downloaded")
    time.sleep(1)


def wait_until(happened: Callable[[], bool], complaint: str, *, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.2)
