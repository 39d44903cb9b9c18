"""Faults of the network and of the cloud cost only what they hit, and stopping is quick."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from emulator.server import Variants
from image_download.download import download_disk
from migration.cloud import Cloud
from migration.credentials import Credentials
from migration.errors import (
    CloudRefused,
    CloudUnavailable,
    Interrupted,
    SourceChanged,
)
from migration.exported_object import ExportedObject, Packing
from tests.conftest import write_raw
from tests.image_download_fixtures import QUICK, SIZE, Home, exported, home, pack_tar, put_disk, raw

__all__ = ["exported", "home", "raw"]


@pytest.mark.parametrize(
    "variants",
    [
        pytest.param(Variants(truncate_gets=5), id="bodies cut short"),
        pytest.param(Variants(reset_gets=5), id="connections reset"),
        pytest.param(Variants(unavailable_gets=5), id="503"),
        pytest.param(Variants(truncate_gets=3, reset_gets=3, unavailable_gets=3), id="all of them"),
    ],
)
def test_faults_of_the_network_cost_only_what_they_hit(
    home: Home, exported: ExportedObject, raw: Path, variants: Variants
) -> None:
    home.cloud.variants = variants
    disk = home.download(exported)
    assert disk.path.read_bytes() == raw.read_bytes()
    asked = [tuple(map(int, found.removeprefix("bytes=").split("-"))) for found in home.ranges]
    failed = variants.truncate_gets + variants.reset_gets + variants.unavailable_gets
    assert len(asked) == 32 + failed
    # What came of a part before its connection broke is not asked for again.
    rests = [last - first + 1 for first, last in asked if last - first + 1 < QUICK.part_size]
    assert len(rests) == variants.truncate_gets + variants.reset_gets


def test_stalled_connection_is_given_up_for_a_new_one(home: Home, exported: ExportedObject, raw: Path) -> None:
    home.cloud.variants = Variants(stall_gets=2)
    settings = replace(QUICK, read_timeout=0.3)
    disk = home.download(exported, settings)
    assert disk.path.read_bytes() == raw.read_bytes()


def test_cloud_that_stays_away_is_an_error_that_names_the_object_and_keeps_what_came(
    home: Home, exported: ExportedObject, raw: Path
) -> None:
    settings = replace(QUICK, idle_timeout=0.3)
    home.cloud.variants = Variants(unavailable_gets=1_000_000)
    with pytest.raises(CloudUnavailable, match="bp1test_system") as caught:
        home.download(exported, settings)
    assert caught.value.transient
    home.cloud.variants = Variants()
    disk = home.download(exported)
    assert disk.path.read_bytes() == raw.read_bytes()


def test_cloud_that_does_not_answer_is_unavailable(home: Home, exported: ExportedObject) -> None:
    nowhere = Cloud(region_id="cn-hangzhou", oss_endpoint="127.0.0.1:9")
    keys = Credentials(access_key_id="id", access_key_secret="secret")
    with pytest.raises(CloudUnavailable):
        download_disk(home.workspace, nowhere, lambda: keys, exported, settings=replace(QUICK, idle_timeout=0.2))


def test_whole_object_is_never_taken_for_a_part(home: Home, exported: ExportedObject) -> None:
    home.cloud.variants = Variants(ignore_ranges=True)
    with pytest.raises(CloudUnavailable, match="the whole object"):
        home.download(exported, replace(QUICK, idle_timeout=0.2))
    assert not (home.workspace.disks / "system.raw").exists()


def test_replaced_object_is_noticed_and_the_new_one_is_fetched_whole(home: Home, exported: ExportedObject) -> None:
    home.cloud.variants = Variants(replace_after_gets=10)
    with pytest.raises(SourceChanged):
        home.download(exported)
    home.cloud.variants = Variants()
    (metadata,) = home.cloud.objects(exported.bucket)
    assert metadata.etag != exported.etag
    before = len(home.ranges)
    exported = replace(exported, etag=metadata.etag, crc64=metadata.crc64)
    disk = home.download(exported)
    assert disk.crc64 == metadata.crc64
    assert len(home.ranges) - before == 32


def test_object_that_is_gone_is_refused_with_a_remedy(home: Home, exported: ExportedObject) -> None:
    home.cloud.delete_object(exported.bucket, exported.key)
    with pytest.raises(CloudRefused, match="NoSuchKey") as caught:
        home.download(exported)
    assert not caught.value.transient
    assert "lifecycle" in caught.value.remedy
    assert home.cloud.count(f"GET /{exported.bucket}/{exported.key}") <= QUICK.connections


def test_wrong_key_is_refused_and_shows_no_secret(
    home: Home, exported: ExportedObject, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = Credentials(
        access_key_id=home.cloud.access_key_id, access_key_secret="wr0ng-secret", security_token="t0ken"
    )
    with pytest.raises(CloudRefused) as caught:
        home.download(exported, credentials=lambda: wrong)
    shown = "".join(map(str, (caught.value, caught.value.__cause__, caught.value.__context__))) + caplog.text
    assert "wr0ng-secret" not in shown
    assert "t0ken" not in shown


def test_token_that_expires_on_the_way_is_renewed(
    home: Home, exported: ExportedObject, raw: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    asked = 0

    def renew() -> Credentials:
        """Hand out a token that has expired, until it has been asked a few times."""
        nonlocal asked
        asked += 1
        found = home.cloud.credentials()
        return found if asked > 6 else replace(found, security_token="old-t0ken")

    home.cloud.variants = Variants(security_token="new-t0ken")
    disk = home.download(exported, credentials=renew)
    assert disk.path.read_bytes() == raw.read_bytes()
    assert "t0ken" not in caplog.text
    assert "t0ken" not in (home.workspace.path / "journal.json").read_text()


def test_token_that_stays_expired_is_refused(home: Home, exported: ExportedObject) -> None:
    home.cloud.variants = Variants(security_token="t0ken", security_token_expired=True)
    with pytest.raises(CloudRefused, match="Token") as caught:
        home.download(exported)
    assert not caught.value.transient


def test_proxy_of_the_environment_is_not_asked_for_this_machine(
    home: Home, exported: ExportedObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    disk = home.download(exported)
    assert disk.crc64 == exported.crc64


def test_stop_ends_a_download_that_can_be_gone_on_with(home: Home, exported: ExportedObject, raw: Path) -> None:
    home.cloud.variants = Variants(bytes_per_second=200_000)
    stop = threading.Event()

    def stop_after_a_while(done: int, total: int) -> None:
        if done > total // 4:
            stop.set()

    with pytest.raises(Interrupted):
        home.download(exported, progress=stop_after_a_while, stop=stop)
    home.cloud.variants = Variants()
    before = len(home.ranges)
    disk = home.download(exported)
    assert disk.path.read_bytes() == raw.read_bytes()
    assert len(home.ranges) - before <= 28


def test_stop_does_not_wait_for_a_cloud_that_is_silent(home: Home, exported: ExportedObject) -> None:
    home.cloud.variants = Variants(stall_gets=1000)
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(Interrupted):  # and not CloudUnavailable, as after the time that reading may take
        home.download(exported, replace(QUICK, read_timeout=60), stop=stop)


def test_progress_only_grows_and_ends_at_the_total(home: Home, exported: ExportedObject) -> None:
    home.cloud.variants = Variants(bytes_per_second=1_000_000, truncate_gets=4)
    seen: list[int] = []
    home.download(exported, progress=lambda done, _: seen.append(done))
    assert seen == sorted(seen)
    assert len(set(seen)) > 2
    assert seen[-1] == SIZE


def test_several_disks_come_home_at_once(home: Home, raw: Path, tmp_path: Path) -> None:
    other = write_raw(tmp_path / "other.raw", SIZE, seed=99)
    objects = [
        put_disk(home.cloud, raw),
        put_disk(home.cloud, pack_tar(other), key="m-bp1test_data_xvdb.raw.tar.gz", packing=Packing.TAR_GZIP),
    ]

    def fetch(exported: ExportedObject) -> bytes:
        return home.download(exported).path.read_bytes()

    with ThreadPoolExecutor() as pool:
        assert list(pool.map(fetch, objects)) == [raw.read_bytes(), other.read_bytes()]
    assert home.left_behind == []
