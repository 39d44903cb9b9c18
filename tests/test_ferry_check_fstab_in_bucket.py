"""`ferry check-fstab oss://…` judges an export in its bucket, for a small share of its bytes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.account import add_image
from emulator.object_store import add_bucket
from emulator.server import EmulatedCloud, Variants, emulated_cloud
from emulator.variants import ExportPacking
from fstab_check.examine import examine_guest
from image_download.remote_view import open_remote_disks
from image_export.collect import find_exported_objects
from migration.disk import Disk
from migration.errors import Interrupted
from tests.conftest import BUCKET
from tests.prefect_fixtures import demo_disks
from tests.test_ferry import Done, ferry

pytestmark = pytest.mark.slow

__all__ = ["demo_disks"]

DEMO_IMAGE = "m-bp1demoserver00000001"


@pytest.fixture
def demo_cloud(tmp_path: Path, demo_disks: tuple[Disk, ...]) -> Iterator[EmulatedCloud]:
    """A cloud with the demo server's image, whose exports are bare .raw objects."""
    add_image(tmp_path / "account", DEMO_IMAGE, demo_disks)
    add_bucket(tmp_path / "account", BUCKET)
    with emulated_cloud(tmp_path / "account", variants=Variants(packing=ExportPacking.RAW)) as cloud:
        yield cloud


def check(cloud: EmulatedCloud, address: str, *more: str) -> Done:
    words = ["--region", cloud.region_id, "--ecs-endpoint", cloud.ecs_endpoint, "--oss-endpoint", cloud.oss_endpoint]
    return ferry("check-fstab", address, *words, *more, cloud=cloud)


def bytes_served(cloud: EmulatedCloud) -> int:
    """How many bytes of objects were asked for, as the cloud saw it."""
    served = 0
    for method, _, header in cloud.requests:
        if method == "GET" and header:
            first, _, last = header.removeprefix("bytes=").partition("-")
            served += int(last) - int(first) + 1
    return served


@pytest.mark.slow
def test_demo_server_is_judged_for_a_twentieth_of_its_bytes_at_most(
    demo_cloud: EmulatedCloud, demo_disks: tuple[Disk, ...], tmp_path: Path
) -> None:
    words: list[str | Path] = ["--workspace", tmp_path / "w", "--prefix", "early", "--region", demo_cloud.region_id]
    words += ["--ecs-endpoint", demo_cloud.ecs_endpoint, "--oss-endpoint", demo_cloud.oss_endpoint]
    exported = ferry("export", DEMO_IMAGE, "--bucket", BUCKET, *words, cloud=demo_cloud)
    assert exported.returncode == 0, exported.stderr

    done = check(demo_cloud, f"oss://{BUCKET}/early_{DEMO_IMAGE}", "--json")

    assert done.returncode == 0, done.stderr
    verdict = json.loads(done.stdout)
    assert [(line["device"], line["filesystem"]) for line in verdict["lines"]] == [
        ("xvda", "ext4"), ("xvdb", "ext4"), ("xvdc", "xfs"),
    ]  # fmt: skip
    total = sum(disk.virtual_size for disk in demo_disks)
    assert verdict["bytes_total"] == total
    assert verdict["bytes_read"] == bytes_served(demo_cloud) < total * 0.05
    assert demo_cloud.access_key_secret not in done.stdout + done.stderr


def put_demo(cloud: EmulatedCloud, disks: tuple[Disk, ...]) -> str:
    """Put the demo server's disks into the bucket as an export made by hand; return its address."""
    for disk in disks:
        cloud.put_object(BUCKET, f"{DEMO_IMAGE}_{disk.stem}.raw", disk.path)
    return f"oss://{BUCKET}/{DEMO_IMAGE}"


@pytest.mark.exhaustive
@pytest.mark.slow
def test_object_replaced_in_mid_check_is_told_as_what_it_is(
    demo_cloud: EmulatedCloud, demo_disks: tuple[Disk, ...]
) -> None:
    address = put_demo(demo_cloud, demo_disks)
    demo_cloud.variants = Variants(replace_after_gets=8)
    done = check(demo_cloud, address)
    assert done.returncode == 2
    assert "the object was replaced meanwhile" in done.stderr
    assert "libguestfs" not in done.stderr
    assert done.stdout == ""


@pytest.mark.slow
def test_stop_ends_the_appliance_that_waits_for_a_range(
    demo_cloud: EmulatedCloud, demo_disks: tuple[Disk, ...]
) -> None:
    put_demo(demo_cloud, demo_disks)
    cloud, keys = demo_cloud.cloud, demo_cloud.credentials
    objects = find_exported_objects(cloud, keys, bucket=BUCKET, image_id=DEMO_IMAGE)
    stop = threading.Event()

    def stop_in_the_middle() -> None:
        while bytes_served(demo_cloud) < 3 << 20:  # the heads are 768 KiB, the rest the appliance asked for
            time.sleep(0.05)
        demo_cloud.variants = Variants(stall_gets=1000)
        time.sleep(1)
        asked.append(time.monotonic())
        stop.set()

    asked: list[float] = []
    watcher = threading.Thread(target=stop_in_the_middle, daemon=True)
    watcher.start()
    with pytest.raises(Interrupted), open_remote_disks(objects, cloud, keys, stop=stop) as view:
        examine_guest(view.disks, stop=view.stop)
    watcher.join()
    assert time.monotonic() - asked[0] < 10


def test_archives_are_refused_with_the_way_that_leads_on(demo_cloud: EmulatedCloud) -> None:
    for stem in ("system", "data_xvdb", "data_xvdc"):
        demo_cloud.put_object(BUCKET, f"{DEMO_IMAGE}_{stem}.raw.tar.gz", b"\x1f\x8b\x08 and so on")
    done = check(demo_cloud, f"oss://{BUCKET}/{DEMO_IMAGE}", "--json")
    assert done.returncode == 2
    error = json.loads(done.stdout)["error"]
    assert "cannot be read by range" in error["message"]
    assert "ferry download" in error["remedy"]
    assert bytes_served(demo_cloud) == 0


def test_address_of_several_exports_names_them_and_one_without_any_says_so(demo_cloud: EmulatedCloud) -> None:
    for prefix in ("may", "june"):
        demo_cloud.put_object(BUCKET, f"{prefix}_{DEMO_IMAGE}_system.raw", b"disk")
    several = check(demo_cloud, f"oss://{BUCKET}/")
    assert several.returncode == 2
    assert f"oss://{BUCKET}/june_{DEMO_IMAGE}" in several.stderr
    none = check(demo_cloud, f"oss://{BUCKET}/july")
    assert none.returncode == 2
    assert "no exports begin like this" in none.stderr
    incomplete = check(demo_cloud, f"oss://{BUCKET}/may")
    assert incomplete.returncode == 2
    assert "missing: no object for the data disk xvdb" in incomplete.stderr


def test_bucket_that_refuses_is_told_as_code_2(demo_cloud: EmulatedCloud) -> None:
    for stem in ("system", "data_xvdb", "data_xvdc"):
        demo_cloud.put_object(BUCKET, f"{DEMO_IMAGE}_{stem}.raw", bytes(1 << 20))
    demo_cloud.variants = Variants(denied_actions=frozenset({"oss:GetObject"}))
    done = check(demo_cloud, f"oss://{BUCKET}/{DEMO_IMAGE}")
    assert done.returncode == 2
    assert "AccessDenied" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["oss://bucket/m-1"], "--region", id="no region"),
        pytest.param(["oss://bucket/m-1", "system.raw"], "give it alone", id="beside a file"),
    ],
)
def test_address_that_cannot_be_meant_is_a_message(words: list[str], said: str) -> None:
    done = ferry("check-fstab", *words)
    assert done.returncode == 2
    assert said in done.stderr
