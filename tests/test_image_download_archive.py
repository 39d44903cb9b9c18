"""An archived object is refused with the reason, or restored where that was asked for; nobody pays unasked."""

from __future__ import annotations

import logging
import random
import socket
import threading
from dataclasses import replace

import pytest

from emulator.object_store import StorageClass
from emulator.server import Variants
from image_download.archive import ArchivedObject
from image_download.download import download_disk
from migration.errors import CloudRefused, CloudUnavailable, Interrupted
from migration.exported_object import ExportedObject
from tests.conftest import BUCKET
from tests.image_download_fixtures import KIB, QUICK, Home, home, put_disk

__all__ = ["home"]

pytestmark = pytest.mark.slow

CONTENT = random.Random(8).randbytes(200 * KIB)
RESTORING = replace(QUICK, restore_archived=True, restore_first_look=0.01, restore_longest_look=0.02)
COLD: list[StorageClass] = ["Archive", "ColdArchive", "DeepColdArchive"]


def put_archived(home: Home, storage_class: StorageClass = "ColdArchive") -> ExportedObject:
    exported = put_disk(home.cloud, CONTENT)
    home.cloud.put_object(BUCKET, exported.key, CONTENT, storage_class=storage_class)
    return replace(exported, storage_class=storage_class)


def restores(home: Home) -> int:
    return sum(method == "POST" for method, _, _ in home.cloud.requests)


@pytest.mark.parametrize("storage_class", COLD)
def test_archived_object_is_refused_with_the_reason_and_nothing_is_paid(
    home: Home, storage_class: StorageClass
) -> None:
    exported = put_archived(home, storage_class)
    with pytest.raises(ArchivedObject, match=storage_class) as caught:
        home.download(exported)
    assert not caught.value.transient
    assert "--restore-archived" in caught.value.remedy
    assert "charges" in caught.value.remedy
    assert restores(home) == 0
    assert home.ranges == ["bytes=0-0"]  # the one byte that shows whether it can be read


@pytest.mark.parametrize("storage_class", COLD)
def test_archived_object_is_restored_where_that_is_asked_for(
    home: Home, storage_class: StorageClass, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    exported = put_archived(home, storage_class)
    home.cloud.variants = Variants(restore_heads=4)
    disk = home.download(exported, RESTORING)
    assert disk.path.read_bytes() == CONTENT
    assert restores(home) == 1
    assert "charges" in caplog.text
    assert caplog.text.count("still being restored") == 4


def test_restore_that_someone_else_asked_for_is_used(home: Home) -> None:
    exported = put_archived(home)
    home.cloud.variants = Variants(restore_heads=2)
    home.download(exported, RESTORING)
    (home.workspace.disks / "system.raw").unlink()
    disk = home.download(exported)  # restored by now: needs no asking
    assert disk.path.read_bytes() == CONTENT
    assert restores(home) == 1


def test_restore_that_is_still_running_is_refused_or_waited_for(home: Home) -> None:
    exported = put_archived(home)
    home.cloud.variants = Variants(restore_heads=1000)
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(Interrupted):
        home.download(exported, replace(RESTORING, restore_first_look=600, restore_longest_look=600), stop=stop)
    with pytest.raises(ArchivedObject, match="still being restored"):
        home.download(exported)
    home.cloud.variants = Variants()
    with pytest.raises(Interrupted):
        stop_after_looks(home, exported, 5)
    assert restores(home) == 1


def stop_after_looks(home: Home, exported: ExportedObject, looks: int) -> None:
    """Download, waiting for the restore, and stop after so many HEADs."""
    stop, before = threading.Event(), home.cloud.count(f"HEAD /{BUCKET}/{exported.key}")

    def watch() -> None:
        while home.cloud.count(f"HEAD /{BUCKET}/{exported.key}") < before + looks:
            threading.Event().wait(0.01)
        stop.set()

    threading.Thread(target=watch, daemon=True).start()
    home.download(exported, RESTORING, stop=stop)


def test_archive_object_in_a_bucket_with_real_time_access_is_just_read(home: Home) -> None:
    exported = put_archived(home, "Archive")
    home.cloud.variants = Variants(archive_real_time=True)
    disk = home.download(exported, RESTORING)
    assert disk.path.read_bytes() == CONTENT
    assert restores(home) == 0


def test_object_that_was_archived_since_it_was_found_is_restored_too(home: Home) -> None:
    exported = replace(put_archived(home), storage_class="Standard")
    with pytest.raises(CloudRefused, match="InvalidObjectState") as caught:
        home.download(exported)
    assert "--restore-archived" in caught.value.remedy
    disk = home.download(exported, RESTORING)
    assert disk.path.read_bytes() == CONTENT


def test_caller_who_may_not_restore_is_told_so(home: Home) -> None:
    exported = put_archived(home)
    home.cloud.variants = Variants(denied_actions=frozenset({"oss:RestoreObject"}))
    with pytest.raises(CloudRefused, match="AccessDenied") as caught:
        home.download(exported, RESTORING)
    assert "oss:RestoreObject" in caught.value.remedy


def test_cloud_that_is_unwell_is_insisted_upon_before_the_restore_too(home: Home) -> None:
    exported = put_archived(home)
    home.cloud.variants = Variants(unavailable_gets=3)
    disk = home.download(exported, RESTORING)
    assert disk.path.read_bytes() == CONTENT
    other = put_disk(home.cloud, CONTENT, key="m-bp1test_data_xvdb.raw")
    home.cloud.put_object(BUCKET, other.key, CONTENT, storage_class="Archive")
    home.cloud.variants = Variants(unavailable_gets=10**6)
    with pytest.raises(CloudUnavailable):
        home.download(replace(other, storage_class="Archive"), replace(RESTORING, idle_timeout=0.2))
    assert restores(home) == 1


def test_object_that_needs_no_restore_costs_no_request_for_it(home: Home) -> None:
    home.download(put_disk(home.cloud, CONTENT))
    assert {method for method, _, _ in home.cloud.requests} == {"GET"}
    assert len(home.ranges) == 4


def test_stop_does_not_wait_for_a_cloud_that_is_silent(home: Home) -> None:
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        cloud = replace(home.cloud.cloud, oss_endpoint=f"127.0.0.1:{silent.getsockname()[1]}")
        settings = replace(RESTORING, read_timeout=600)
        with pytest.raises(Interrupted):
            download_disk(
                home.workspace, cloud, home.cloud.credentials, put_archived(home), settings=settings, stop=stop
            )  # fmt: skip
