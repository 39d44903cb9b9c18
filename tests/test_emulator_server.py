"""The emulated cloud starts, answers and ends without a trace."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

import pytest

from emulator.account import add_image, list_images
from emulator.object_store import add_bucket, find_bucket, list_objects, put_object
from emulator.server import EmulatedCloud, Variants, serve
from emulator.server import emulated_cloud as run_emulated_cloud
from migration.disk import Disk
from migration.errors import InvalidInput
from migration.oss import open_bucket
from migration.progress import Stop
from tests.conftest import BUCKET, IMAGE_ID, MIB
from tests.emulator_clients import call_ecs, oss_bucket


def open_descriptors() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def test_cloud_answers_the_stages_on_loopback(emulated_cloud: EmulatedCloud) -> None:
    bucket = open_bucket(emulated_cloud.cloud, emulated_cloud.credentials, BUCKET)
    assert bucket.get_bucket_location().location == "oss-cn-hangzhou"
    assert emulated_cloud.ecs_endpoint.startswith("127.0.0.1:")
    assert emulated_cloud.cloud.ecs_url == f"http://{emulated_cloud.ecs_endpoint}"


def test_cloud_gives_credentials_that_are_valid_when_asked(emulated_cloud: EmulatedCloud) -> None:
    source = emulated_cloud.credentials
    assert source().security_token == ""
    emulated_cloud.variants = Variants(security_token="renewed")
    assert source().security_token == "renewed"
    bucket = open_bucket(emulated_cloud.cloud, source, BUCKET)
    assert bucket.get_bucket_location().location == "oss-cn-hangzhou"


def test_cloud_ends_without_a_thread_or_a_descriptor_left(account: Path) -> None:
    threads, descriptors = threading.active_count(), open_descriptors()
    with run_emulated_cloud(account) as cloud:
        cloud.variants = Variants(waiting_polls=1_000_000)
        call_ecs(cloud, "ExportImage", ImageId=IMAGE_ID, OSSBucket=BUCKET)
        assert threading.active_count() > threads
    assert (threading.active_count(), open_descriptors()) == (threads, descriptors)


def test_cloud_ends_while_a_download_is_under_way(account: Path) -> None:
    with run_emulated_cloud(account) as cloud:
        cloud.put_object(BUCKET, "large", os.urandom(16 * MIB))
        answer = oss_bucket(cloud, BUCKET).get_object("large")
        assert answer.read(10)
    with pytest.raises(OSError, match=r"reset|broken|aborted|Read"):
        answer.read()
    answer.resp.response.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.com"])  # noqa: S104  # which is what is refused
def test_cloud_refuses_a_host_that_is_not_this_machine(account: Path, host: str) -> None:
    with pytest.raises(InvalidInput, match="loopback only"), run_emulated_cloud(account, host=host):
        pass


def test_cloud_refuses_a_port_in_use(tmp_path: Path, emulated_cloud: EmulatedCloud) -> None:
    port = int(emulated_cloud.oss_endpoint.rpartition(":")[2])
    with pytest.raises(InvalidInput, match="in use"), run_emulated_cloud(tmp_path / "other", oss_port=port):
        pass


def test_cloud_refuses_an_account_that_another_one_runs(account: Path, emulated_cloud: EmulatedCloud) -> None:
    with pytest.raises(InvalidInput, match="another emulator"), run_emulated_cloud(account):
        pass
    assert call_ecs(emulated_cloud, "DescribeImages")["TotalCount"] == 1


def test_serve_runs_until_it_is_stopped(account: Path) -> None:
    stop = Stop()
    seen: list[str] = []

    def on_ready(cloud: EmulatedCloud) -> None:
        seen.append(oss_bucket(cloud, BUCKET).get_bucket_location().location)
        stop.set()

    serve(account, on_ready=on_ready, stop=stop)
    assert seen == ["oss-cn-hangzhou"]


def test_account_keeps_its_objects_and_a_typo_in_it_is_an_error(account: Path) -> None:
    put_object(account, BUCKET, "key", b"content")
    bucket = find_bucket(account, BUCKET)
    assert bucket is not None
    assert [found.key for found in list_objects(bucket)] == ["key"]
    path = account / "buckets" / BUCKET / "bucket.json"
    path.write_text('{"name": "b", "regionid": "cn-hangzhou"}', encoding="utf-8")
    with pytest.raises(InvalidInput, match="regionid"):
        find_bucket(account, BUCKET)


def test_image_added_again_replaces_the_one_before(account: Path, raw_disks: tuple[Disk, ...]) -> None:
    add_image(account, IMAGE_ID, raw_disks[:2])
    (image,) = list_images(account)
    assert [disk.device for disk in image.disks] == ["xvda", "xvdb"]
    assert not (account / "images" / IMAGE_ID / "data_xvdc.raw").exists()


def test_bucket_is_in_the_accounts_region_unless_it_says_otherwise(account: Path) -> None:
    assert add_bucket(account, "here").settings.region_id == "cn-hangzhou"
    assert add_bucket(account, "there", "eu-central-1").settings.region_id == "eu-central-1"
