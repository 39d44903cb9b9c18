"""The command line as its users meet it: another process, its output, its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from emulator.account import add_image
from emulator.object_store import add_bucket
from emulator.server import EmulatedCloud, Variants, emulated_cloud
from migration.disk import Disk
from migration.disk_file import find_disks_in
from migration.image import GIB
from tests.conftest import BUCKET, FAR_BUCKET, IMAGE_ID, write_raw
from tests.prefect_fixtures import demo_disks

__all__ = ["demo_disks"]

Done = subprocess.CompletedProcess[str]


@pytest.fixture
def small_cloud(tmp_path: Path) -> Iterator[EmulatedCloud]:
    """A cloud with an image of one disk of 1 GiB, nearly all of it a hole."""
    folder = tmp_path / "disks"
    folder.mkdir()
    write_raw(folder / "system.raw", GIB)
    add_image(tmp_path / "account", IMAGE_ID, find_disks_in(folder))
    add_bucket(tmp_path / "account", BUCKET)
    add_bucket(tmp_path / "account", FAR_BUCKET, region_id="cn-shanghai")
    with emulated_cloud(tmp_path / "account") as cloud:
        yield cloud


def environment(cloud: EmulatedCloud | None = None) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("ALIBABA_", "PREFECT_", "FERRY_"))}
    env |= {"ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true", "HOME": "/nonexistent"}
    if cloud is not None:
        env |= {
            "ALIBABA_CLOUD_ACCESS_KEY_ID": cloud.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": cloud.access_key_secret,
        }
    return env


def ferry(*words: str | Path, cloud: EmulatedCloud | None = None, **env: str) -> Done:
    return subprocess.run(
        [sys.executable, "-m", "ferry", *words],
        env=environment(cloud) | env,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def cloud_words(cloud: EmulatedCloud, workspace: Path) -> list[str | Path]:
    return [
        "--workspace", workspace, "--region", cloud.region_id,
        "--ecs-endpoint", cloud.ecs_endpoint, "--oss-endpoint", cloud.oss_endpoint,
    ]  # fmt: skip


def is_same(one: Path, other: Path) -> bool:
    """Compare without holding a GiB in memory, let alone two."""
    return subprocess.run(["cmp", "--quiet", one, other], check=False).returncode == 0


@pytest.mark.slow
def test_export_and_download_bring_a_disk_home(small_cloud: EmulatedCloud, tmp_path: Path) -> None:
    words = cloud_words(small_cloud, tmp_path / "w")
    exported = ferry("export", IMAGE_ID, "--bucket", BUCKET, *words, "--json", cloud=small_cloud)
    assert exported.returncode == 0, exported.stderr
    [found] = json.loads(exported.stdout)["objects"]
    assert found["key"].endswith(f"_{IMAGE_ID}_system.raw.tar.gz")

    fetched = ferry("download", *words, "--json", cloud=small_cloud)
    assert fetched.returncode == 0, fetched.stderr
    [disk] = json.loads(fetched.stdout)["disks"]
    assert is_same(Path(disk["path"]), tmp_path / "disks" / "system.raw")
    for text in (exported.stderr, fetched.stderr, (tmp_path / "w" / "journal.json").read_text()):
        assert small_cloud.access_key_secret not in text


@pytest.mark.slow
def test_download_takes_an_export_made_by_hand(small_cloud: EmulatedCloud, tmp_path: Path) -> None:
    key = f"byhand_{IMAGE_ID}_system.raw"
    disk = write_raw(tmp_path / "byhand.raw", 8 << 20, seed=1)
    small_cloud.put_object(BUCKET, key, disk)
    words = [*cloud_words(small_cloud, tmp_path / "w"), "--bucket", BUCKET, "--image", IMAGE_ID, "--prefix", "byhand"]
    refused = ferry("download", *words, cloud=small_cloud)
    assert refused.returncode == 5
    assert "accept-other-size" in refused.stderr
    # What is downloaded is kept, so that only an untouched workspace shows how ranges are asked for.
    words = [word if word != tmp_path / "w" else tmp_path / "v" for word in words]
    limits = ["--bandwidth-limit", "1.5G", "--oss-traffic-limit", "838860800"]
    done = ferry("download", *words, "--accept-other-size", *limits, cloud=small_cloud)
    assert done.returncode == 0, done.stderr
    assert is_same(tmp_path / "v" / "disks" / "system.raw", disk)
    assert small_cloud.count("ExportImage") == 0
    assert small_cloud.calls[-1].params["x-oss-traffic-limit"] == "838860800"


@pytest.mark.parametrize("rate", ["50", "50MB", "-1M", "1K", "M"])
def test_bandwidth_limit_without_a_clear_unit_is_refused(rate: str, tmp_path: Path) -> None:
    done = ferry("download", "--workspace", tmp_path, "--region", "cn-hangzhou", f"--bandwidth-limit={rate}")
    assert done.returncode == 2
    assert rate in done.stderr
    assert "64K" in done.stderr or "50M" in done.stderr


def test_preflight_alone_exports_nothing_and_lists_every_rule(small_cloud: EmulatedCloud, tmp_path: Path) -> None:
    words = [*cloud_words(small_cloud, tmp_path / "w"), "--preflight-only", "--json"]
    done = ferry("export", IMAGE_ID, "--bucket", FAR_BUCKET, "--prefix", "not_allowed", *words, cloud=small_cloud)
    assert done.returncode == 3
    refused = {item["rule"]: item for item in json.loads(done.stdout)["rules"] if item["outcome"] == "refuse"}
    assert set(refused) == {"bucket", "prefix"}
    assert "cn-shanghai" in refused["bucket"]["remedy"]
    assert small_cloud.count("ExportImage") == 0


@pytest.mark.slow
def test_misspelt_bucket_can_be_corrected_in_the_same_workspace(small_cloud: EmulatedCloud, tmp_path: Path) -> None:
    words = cloud_words(small_cloud, tmp_path / "w")
    assert ferry("export", IMAGE_ID, "--bucket", "nobucket", *words, cloud=small_cloud).returncode == 3
    done = ferry("export", IMAGE_ID, "--bucket", BUCKET, "--preflight-only", *words, cloud=small_cloud)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_verify_finds_what_has_gone_wrong_on_this_side_and_download_mends_it(
    small_cloud: EmulatedCloud, tmp_path: Path
) -> None:
    words = cloud_words(small_cloud, tmp_path / "w")
    assert ferry("export", IMAGE_ID, "--bucket", BUCKET, *words, cloud=small_cloud).returncode == 0
    assert ferry("download", *words, cloud=small_cloud).returncode == 0
    whole = ferry("verify", "--workspace", tmp_path / "w")
    assert whole.returncode == 0, whole.stderr
    assert "whole" in whole.stdout
    disk = tmp_path / "w" / "disks" / "system.raw"
    with disk.open("r+b") as file:
        file.write(b"?")
    damaged = ferry("verify", "--workspace", tmp_path / "w", "--json")
    assert damaged.returncode == 5
    assert "CRC-64" in json.loads(damaged.stdout)["disks"][0]["problem"]
    assert ferry("download", *words, cloud=small_cloud).returncode == 0
    assert ferry("verify", "--workspace", tmp_path / "w").returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["download", "--region", "cn-hangzhou", "--json"], id="option missing"),
        pytest.param(["convert", "{disk}", "-o", "/proc/x", "--json"], id="folder that cannot be made"),
        pytest.param(["check-fstab", "gone.raw", "--json"], id="no such file"),
        pytest.param(["check-fstab", "xvda={disk}", "xvdb={disk}", "--json"], id="one file for two disks"),
    ],
)
def test_wrong_words_are_told_to_programs_too(words: list[str], tmp_path: Path) -> None:
    disk = write_raw(tmp_path / "system.raw", 1 << 20)
    done = ferry(*(word.format(disk=disk) for word in words))
    assert done.returncode == 2
    error = json.loads(done.stdout)["error"]
    assert error["message"]
    assert error["remedy"]
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        pytest.param(["i-bp1xyz", "--bucket", BUCKET], "image_id", id="image"),
        pytest.param(["m-bp1x", "--bucket", "My_Bucket"], "bucket", id="bucket", marks=pytest.mark.exhaustive),
    ],
)
def test_run_refuses_wrong_words_as_every_command_does(
    small_cloud: EmulatedCloud, tmp_path: Path, wrong: list[str], named: str
) -> None:
    words = ["--json", *cloud_words(small_cloud, tmp_path / "w")]
    done = ferry("run", *wrong, *words, cloud=small_cloud, PREFECT_HOME=str(tmp_path / "prefect"))
    assert done.returncode == 2, done.stderr
    assert named in json.loads(done.stdout)["error"]["message"]
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_ctrl_c_ends_a_whole_run_at_once(small_cloud: EmulatedCloud, tmp_path: Path) -> None:
    small_cloud.variants = Variants(bytes_per_second=20_000)
    home = str(tmp_path / "prefect")
    argv = [
        sys.executable,
        "-m",
        "ferry",
        "run",
        IMAGE_ID,
        "--bucket",
        BUCKET,
        *cloud_words(small_cloud, tmp_path / "w"),
    ]
    with subprocess.Popen(
        argv, env=environment(small_cloud) | {"PREFECT_HOME": home}, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as victim:  # fmt: skip
        wait_for_download(small_cloud)
        os.killpg(victim.pid, signal.SIGINT)  # as a terminal does: everything in the foreground hears it
        _, said = victim.communicate(timeout=60)
    assert victim.returncode == 130, said
    assert "it goes on from here" in said
    assert "Traceback" not in said
    assert "Error logging to API" not in said, "the server that Prefect talks to was there to the end"


@pytest.mark.slow
def test_interrupted_download_says_so_and_goes_on(small_cloud: EmulatedCloud, tmp_path: Path) -> None:
    words = cloud_words(small_cloud, tmp_path / "w")
    assert ferry("export", IMAGE_ID, "--bucket", BUCKET, *words, cloud=small_cloud).returncode == 0
    small_cloud.variants = Variants(bytes_per_second=20_000)
    argv = [sys.executable, "-m", "ferry", "download", *words]
    with subprocess.Popen(argv, env=environment(small_cloud), stderr=subprocess.PIPE, text=True) as victim:
        wait_for_download(small_cloud)
        victim.send_signal(signal.SIGINT)
        _, said = victim.communicate(timeout=60)
    assert victim.returncode == 130
    assert "run the same command again" in said
    assert "Traceback" not in said
    assert not (tmp_path / "w" / "disks" / "system.raw").exists()
    small_cloud.variants = Variants()
    assert ferry("download", *words, cloud=small_cloud).returncode == 0
    assert is_same(tmp_path / "w" / "disks" / "system.raw", tmp_path / "disks" / "system.raw")


def wait_for_download(cloud: EmulatedCloud) -> None:
    deadline = time.monotonic() + 60
    while not any(call.action.startswith("GET") and call.action.endswith(".tar.gz") for call in cloud.calls):
        assert time.monotonic() < deadline, "nothing was downloaded"
        time.sleep(0.1)
    time.sleep(0.5)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        pytest.param(["check-fstab", "README.md"], 2, "cannot tell from the name", id="name-says-nothing"),
        pytest.param(["check-fstab", "system.raw"], 2, "there is no such file", id="no-such-file"),
        pytest.param(["check-fstab"], 2, "no disks given", id="no-disks"),
        pytest.param(["check-fstab", "-w", "{tmp}"], 2, "there is no such folder", id="no-such-workspace"),
        pytest.param(["check-fstab", "a", "--fix", "--undo"], 2, "are opposites", id="fix-and-undo"),
        pytest.param(["check-fstab", "a", "--yes"], 2, "say --fix too", id="yes-to-what"),
        pytest.param(["check-fstab", "oss://b/i", "--fix"], 2, "download it first", id="fix-in-the-bucket"),
        pytest.param(["check-fstab", "--undo"], 2, "no disks given", id="undo-of-nothing"),
        pytest.param(["convert"], 2, "say what to convert", id="nothing-to-convert"),
        pytest.param(["decide"], 2, "which Prefect server?", id="decide-without-a-server"),
        pytest.param(["decide", "run", "--repair", "--abandon"], 2, "exclude each other", id="two-decisions"),
        pytest.param(["decide", "run", "--note", "so"], 2, "go with a decision", id="note-on-no-decision"),
        pytest.param(["report", "-w", "{tmp}", "--html", "--json"], 2, "exclude each other", id="two-forms"),
        pytest.param(["convert", "system=a.raw"], 2, "'system' is no disk", id="role-for-a-device"),
        pytest.param(["resume"], 2, "which Prefect server?", id="resume-without-a-server"),
        pytest.param(
            ["run", "m-1", "-b", "b", "-r", "cn-hangzhou", "-w", "{tmp}", "--target", "virtio", "--target", "floppy"],
            2, "'floppy' is no target", id="no-such-target",
        ),
        pytest.param(
            ["download", "-r", "cn-hangzhou", "-w", "{tmp}", "--bandwidth-window", "22-6=1"],
            2, "is no bandwidth window", id="window-of-a-download",
        ),
        pytest.param(
            ["run", "m-1", "-b", "b", "-r", "cn-hangzhou", "-w", "{tmp}", "--bandwidth-window", "22:00-06:00=x"],
            2, "is no bandwidth window", id="window-of-a-run",
        ),
        pytest.param(["nonsense"], 2, "No such command", id="no-such-command"),
        pytest.param(
            ["export", "m-1", "-b", "b", "-r", "cn-hangzhou", "-w", "{tmp}", "--ecs-endpoint", "http://ecs.aliyuncs.com"],
            2, "plain http", id="plain-http",
        ),
        pytest.param(
            ["export", "m-1", "-b", "b", "-r", "cn-hangzhou", "-w", "{tmp}", "--ecs-endpoint", "127.0.0.1:1"],
            4, "no Alibaba Cloud credentials", id="no-credentials",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_a_message_and_an_exit_code(words: Sequence[str], code: int, said: str, tmp_path: Path) -> None:
    done = ferry(*(word.replace("{tmp}", str(tmp_path / "w")) for word in words))
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_failure_is_json_too_when_json_is_asked_for(tmp_path: Path) -> None:
    done = ferry("check-fstab", tmp_path / "system.raw", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["kind"] == "InvalidInput"


def test_busy_workspace_is_refused(small_cloud: EmulatedCloud, tmp_path: Path) -> None:
    from migration.workspace import open_workspace  # noqa: PLC0415  # held by this process while the other asks

    with open_workspace(tmp_path / "w"):
        done = ferry("download", *cloud_words(small_cloud, tmp_path / "w"), cloud=small_cloud)
    assert done.returncode == 7
    assert f"process {os.getpid()}" in done.stderr


def test_convert_makes_proven_images_without_a_workspace(tmp_path: Path) -> None:
    write_raw(tmp_path / "system.raw", 8 << 20)
    done = ferry(
        "convert",
        tmp_path / "system.raw",
        "--to",
        "qcow2",
        "--to",
        "vmdk",
        "--no-shrink",
        "--output",
        tmp_path / "out",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    images = json.loads(done.stdout)["images"]
    assert [Path(image["path"]).name for image in images] == ["system.qcow2", "system.vmdk"]
    for image in images:
        subprocess.run(["qemu-img", "compare", tmp_path / "system.raw", image["path"]], check=True, capture_output=True)


def test_interrupted_conversion_without_a_workspace_says_what_is_left(tmp_path: Path) -> None:
    write_raw(tmp_path / "system.raw", 8 << 20)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "qemu-img").write_text(f"#!/bin/sh\nkill -INT $(cat {tmp_path}/pid)\nexec sleep 60\n")
    (tools / "qemu-img").chmod(0o755)
    words: list[str | Path] = ["convert", tmp_path / "system.raw", "--no-shrink", "-o", tmp_path / "out"]
    argv: list[str | Path] = [
        "sh",
        "-c",
        f'echo $$ > {tmp_path}/pid; exec "$@"',
        "sh",
        sys.executable,
        "-m",
        "ferry",
        *words,
    ]
    path = f"{tools}:{os.environ['PATH']}"
    done = subprocess.run(argv, env=environment() | {"PATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert "goes on from here" not in done.stderr
    assert "images that were finished are whole and stay" in done.stderr
    assert not list((tmp_path / "out").iterdir())


def test_doctor_names_what_it_found_and_no_key(small_cloud: EmulatedCloud) -> None:
    done = ferry("doctor", "--json", cloud=small_cloud)
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["credentials"]["state"] == "ok"
    assert checks["KVM"]["state"] in {"ok", "slow"}
    assert small_cloud.access_key_secret not in done.stdout + done.stderr
    assert done.returncode == 0, done.stdout


def test_doctor_says_how_to_get_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MISSING, "doctor"], env={**environment(), "PATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 8
    assert "apt-get install qemu-utils" in done.stdout


# Programs are also looked for where Debian keeps mke2fs, which a test cannot empty.
MISSING = "import migration.run; migration.run.SYSTEM_FOLDERS = (); from ferry.main import main; main()"


@pytest.mark.exhaustive
@pytest.mark.slow
def test_check_fstab_exits_0_for_clean_and_1_for_findings(demo_disks: tuple[Disk, ...]) -> None:
    clean = ferry("check-fstab", *(disk.path for disk in demo_disks), "--json")
    assert clean.returncode == 0, clean.stderr
    assert json.loads(clean.stdout)["version"] == 1
    findings = ferry("check-fstab", *(disk.path for disk in demo_disks[:2]))
    assert findings.returncode == 1
    assert "/etc/fstab:12" in findings.stdout


@pytest.mark.slow
def test_fix_shows_a_repair_and_yes_writes_it_beside_the_disks(demo_disks: tuple[Disk, ...], tmp_path: Path) -> None:
    for disk in demo_disks[:2]:
        (tmp_path / disk.name).symlink_to(disk.path)
    words = [tmp_path / disk.name for disk in demo_disks[:2]]
    shown = ferry("check-fstab", *words, "--fix")
    assert shown.returncode == 1, shown.stderr
    assert "+++ b/etc/fstab\n" in shown.stdout
    assert "Nothing was written: --yes writes this" in shown.stdout
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in words}

    written = ferry("check-fstab", *words, "--fix", "--yes", "--json")
    assert written.returncode == 1, written.stderr  # the missing disk is a warning now
    repair = json.loads(written.stdout)["repair"]
    layer = tmp_path / "system.repaired.qcow2"
    assert [one["path"] for one in repair["written"]] == [str(layer)]
    # And what depends on the bus the disks will hang on is a note.
    assert {finding["severity"] for finding in repair["after"]["findings"]} == {"warning", "info"}
    assert repair["diff"] in shown.stdout
    undone = ferry("check-fstab", *words, "--undo", "--json")
    assert (undone.returncode, json.loads(undone.stdout)) == (0, {"removed": [str(layer)]})
    assert not layer.exists()
