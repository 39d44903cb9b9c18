"""`ferry import glance` as its users meet it, into a real Glance: another process, its output, its exit code."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from migration.run import run
from tests.conftest import write_raw
from tests.glance_fixtures import box, real
from tests.glance_proxy import GlanceProxy, hold
from tests.glance_service import CLOUD, Glance

__all__ = ["box", "real"]

Done = subprocess.CompletedProcess[str]
MIB = 1024**2
PASSWORD = "correct-horse-battery"


@pytest.fixture
def env(real: Glance, box: GlanceProxy) -> dict[str, str]:
    return environment() | real.environment(box.endpoint)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return write_raw(tmp_path / "system.raw", 24 * MIB)


def environment() -> dict[str, str]:
    left_out = ("OS_", "FERRY_", "PREFECT_")
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)} | {
        "HOME": "/nonexistent"
    }


def argv(*words: str | Path) -> list[str | Path]:
    return [sys.executable, "-m", "ferry", *words]


def ferry(env: dict[str, str], *words: str | Path) -> Done:
    return subprocess.run(argv(*words), env=env, capture_output=True, text=True, check=False, timeout=300)


def glance_words(name: str, *words: str | Path) -> list[str | Path]:
    return ["import", "glance", "--cloud", CLOUD, "--name", name, *words]


def stored(real: Glance, name: str) -> list[dict[str, Any]]:
    """Return what Glance has of a migration, also what is not finished."""
    with urllib.request.urlopen(f"{real.endpoint}/v2/images?limit=1000", timeout=30) as answer:  # noqa: S310
        return [image for image in json.load(answer)["images"] if str(image["name"]).startswith(name)]


@pytest.mark.slow
def test_workspace_goes_up_with_its_data_disks_once(
    real: Glance, box: GlanceProxy, env: dict[str, str], tmp_path: Path
) -> None:
    workspace = tmp_path / "w"
    (workspace / "disks").mkdir(parents=True)
    write_raw(workspace / "disks" / "system.raw", 8 * MIB)
    write_raw(workspace / "disks" / "data_xvdb.raw", 6 * MIB, seed=1)
    early = ferry(env, *glance_words("web1", "--workspace", workspace))
    assert early.returncode == 2
    assert f"ferry convert --workspace {workspace} --to qcow2" in early.stderr

    assert ferry(env, "convert", "--workspace", workspace, "--compress", "--no-shrink").returncode == 0
    words = glance_words("web1", "--workspace", workspace, "--target", "scsi", "--min-ram", "512", "--json")
    done = ferry(env, *words, "--parallel", "1")
    assert done.returncode == 0, done.stderr
    assert box.most_at_once == 1
    images = json.loads(done.stdout)["images"]
    assert [(one["name"], one["device"], one["uploaded"]) for one in images] == [
        ("web1", "xvda", True),
        ("web1-data-xvdb", "xvdb", True),
    ]
    for one, file in zip(images, ("system.qcow2", "data_xvdb.qcow2"), strict=True):
        assert (real.store / one["image_id"]).read_bytes() == (workspace / "images" / file).read_bytes()
    system = next(one for one in stored(real, "web1") if one["name"] == "web1")
    wanted = {
        "hw_disk_bus": "scsi",
        "hw_scsi_model": "virtio-scsi",
        "hw_firmware_type": "bios",
        "visibility": "private",
    }
    assert {key: system[key] for key in wanted} == wanted
    assert (system["min_disk"], system["min_ram"], system["visibility"]) == (1, 512, "private")

    box.requests.clear()
    again = ferry(env, *words)
    assert again.returncode == 0, again.stderr
    assert [(one["image_id"], one["uploaded"]) for one in json.loads(again.stdout)["images"]] == [
        (one["image_id"], False) for one in images
    ]
    assert {line.split()[0] for line in box.requests} == {"GET"}

    write_raw(workspace / "disks" / "data_xvdc.raw", MIB)
    incomplete = ferry(env, *words)
    assert incomplete.returncode == 2
    assert "has no qcow2 image of xvdc" in incomplete.stderr


@pytest.mark.slow
def test_killed_upload_is_made_again_and_there_is_one_image(
    real: Glance, box: GlanceProxy, env: dict[str, str], disk: Path
) -> None:
    box.spoil = lambda number: hold(8 * MIB) if number == 1 else None
    with subprocess.Popen(argv(*glance_words("killed", disk)), env=env) as first:
        assert box.reached.wait(100)
        first.kill()
    (left,) = stored(real, "killed")
    assert left["status"] in {"queued", "saving"}
    assert left["name"] != "killed"
    second = ferry(env, *glance_words("killed", disk))
    box.release.set()
    assert second.returncode == 0, second.stderr
    assert f"Removing an upload of killed that was not finished: {left['id']}" in second.stderr
    (only,) = stored(real, "killed")
    assert (only["name"], only["status"]) == ("killed", "active")
    assert (real.store / only["id"]).read_bytes() == disk.read_bytes()


@pytest.mark.slow
def test_glance_that_dies_in_mid_upload_leaves_nothing_under_the_name(
    real: Glance, box: GlanceProxy, env: dict[str, str], disk: Path
) -> None:
    box.spoil = lambda number: hold(8 * MIB) if number == 1 else None
    words = argv(*glance_words("outage", disk))
    with subprocess.Popen(words, env=env, stderr=subprocess.PIPE, text=True) as first:
        assert box.reached.wait(100)
        real.kill()
        box.release.set()
        _, said = first.communicate(timeout=200)
    assert first.returncode == 4
    assert "the connection failed" in said
    assert "goes with the next run" in said
    assert "Traceback" not in said
    real.start()
    assert "outage" not in {image["name"] for image in stored(real, "outage")}
    second = ferry(env, *glance_words("outage", disk))
    assert second.returncode == 0, second.stderr
    (only,) = stored(real, "outage")
    assert (only["name"], only["status"], only["size"]) == ("outage", "active", disk.stat().st_size)


@pytest.mark.slow
def test_ctrl_c_ends_an_upload_that_hangs_and_leaves_nothing(
    real: Glance, box: GlanceProxy, env: dict[str, str], disk: Path
) -> None:
    box.spoil = lambda _number: hold(8 * MIB)
    words = argv(*glance_words("stopped", disk))
    with subprocess.Popen(words, env=env, stderr=subprocess.PIPE, text=True) as running:
        assert box.reached.wait(100)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert not box.release.is_set()  # nothing but the signal ended it
    assert running.returncode == 130
    assert "Traceback" not in said
    assert stored(real, "stopped") == []


@pytest.mark.slow
def test_memory_does_not_grow_with_the_image(real: Glance, env: dict[str, str], tmp_path: Path) -> None:
    size = 600 * MIB
    with (tmp_path / "system.raw").open("wb") as file:
        file.truncate(size)
    # Not getrusage: its peak begins with that of the process that started this one.
    code = (
        "import re, sys\nfrom pathlib import Path\nfrom ferry.main import main\n"
        "try: main()\nfinally:\n"
        " status = Path('/proc/self/status').read_text()\n"
        " print(re.search(r'VmHWM:\\s+(\\d+)', status)[1], file=sys.stderr)"
    )
    # Past the box, which is not what is measured.
    done = subprocess.run(
        [sys.executable, "-c", code, *glance_words("large", tmp_path / "system.raw", "--firmware", "bios")],
        env=env | real.environment(), capture_output=True, text=True, check=False, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stderr.split()[-1]) * 1024 < size / 2
    assert [image["size"] for image in stored(real, "large")] == [size]


@pytest.mark.slow
def test_system_only_leaves_data_disks_out(real: Glance, env: dict[str, str], disk: Path) -> None:
    shutil.copy(disk, disk.with_name("data_xvdb.raw"))
    done = ferry(env, *glance_words("alone", disk, disk.with_name("data_xvdb.raw"), "--system-only"))
    assert done.returncode == 0, done.stderr
    assert [image["name"] for image in stored(real, "alone")] == ["alone"]


class Keystone(BaseHTTPRequestHandler):
    """Knows nobody, and says so with what it was told, as a careless one might."""

    def do_GET(self) -> None:
        url = f"http://{self.headers['Host']}/v3/"
        self.answer(200, {"version": {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": url}]}})

    def do_POST(self) -> None:
        told = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.answer(401, {"error": {"code": 401, "message": f"who is this: {told}", "title": "Unauthorized"}})

    def answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def keystone() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Keystone)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v3"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def credentials(tmp_path: Path, auth_url: str) -> dict[str, str]:
    auth = {"auth_url": auth_url, "username": "u", "password": PASSWORD, "project_name": "p",
            "user_domain_name": "Default", "project_domain_name": "Default"}  # fmt: skip
    file = tmp_path / "clouds.yaml"
    file.write_text(yaml.safe_dump({"clouds": {CLOUD: {"auth": auth}}}), encoding="utf-8")
    return environment() | {"OS_CLIENT_CONFIG_FILE": str(file)}


def test_refused_password_is_a_message_without_it(tmp_path: Path, disk: Path, keystone: str) -> None:
    done = ferry(credentials(tmp_path, keystone), "-v", *glance_words("web1", disk, "--json"))
    assert done.returncode == 4
    assert "Keystone does not accept the credentials" in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_broken_clouds_yaml_is_a_message_without_its_lines(tmp_path: Path, disk: Path, keystone: str) -> None:
    env = credentials(tmp_path, keystone)
    file = tmp_path / "clouds.yaml"
    file.write_text(f"clouds:\n  {CLOUD}:\n    auth:\n      password: '{PASSWORD}\n    : : x", encoding="utf-8")
    done = ferry(env, "-v", *glance_words("web1", disk))
    assert done.returncode == 2
    assert "Skipping config file" in done.stderr
    assert PASSWORD not in done.stdout + done.stderr


def test_cloud_that_is_down_or_unknown_is_a_message(tmp_path: Path, disk: Path) -> None:
    env = credentials(tmp_path, "http://127.0.0.1:1/v3")
    down = ferry(env, *glance_words("web1", disk))
    assert (down.returncode, "Traceback" in down.stderr) == (4, False)
    assert "the connection failed" in down.stderr
    unknown = ferry(env, "import", "glance", "--cloud", "nowhere", "--name", "web1", disk)
    assert unknown.returncode == 2
    assert "nowhere" in unknown.stderr
    nothing = ferry(environment(), "import", "glance", "--name", "web1", disk)
    assert nothing.returncode == 2, nothing.stderr
    assert "clouds.yaml" in nothing.stderr


def test_missing_sdk_says_how_to_get_it(disk: Path) -> None:
    code = "import sys; sys.modules['openstack'] = None\nfrom ferry.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *glance_words("web1", disk)], env=environment(), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 8
    assert "ferry-migration[openstack]" in done.stderr


def test_wrong_words_are_refused_before_anything_is_asked_for(disk: Path) -> None:
    nothing = ferry(environment(), *glance_words("web1"))
    assert (nothing.returncode, "say what to import" in nothing.stderr) == (2, True)
    name = ferry(environment(), *glance_words("in:a", disk))
    assert (name.returncode, "cannot be the name" in name.stderr) == (2, True)


@pytest.mark.slow
def test_machine_and_layer_that_cannot_be_are_refused(env: dict[str, str], box: GlanceProxy, disk: Path) -> None:
    nvme = ferry(env, *glance_words("web1", disk, "--target", "nvme"))
    assert (nvme.returncode, "no NVMe" in nvme.stderr) == (2, True)
    layer = disk.with_name("system.qcow2")
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", disk.name, "-F", "raw", layer])
    refused = ferry(env, *glance_words("web1", layer))
    assert (refused.returncode, "a layer over another file" in refused.stderr) == (2, True)
    assert box.uploads == 0
