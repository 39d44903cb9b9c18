"""A guest's disks are read in the bucket: little of them, and never anything but the truth."""

from __future__ import annotations

import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from emulator.server import EmulatedCloud, Variants
from image_download.ranged_source import open_source
from image_download.remote_disk import BLOCK, BlockCache, Breakdown, RemoteDisk
from image_download.remote_view import RemoteView, open_remote_disks
from migration.errors import CloudRefused, CloudUnavailable, GuestError, Interrupted, SourceChanged
from migration.exported_object import ExportedObject, Packing
from migration.served_disk import ServedDisk
from tests.conftest import RawMaker
from tests.image_download_fixtures import KIB, MIB, QUICK, put_disk

pytestmark = pytest.mark.slow


@pytest.fixture
def raw(make_raw: RawMaker) -> Path:
    return make_raw("system.raw", 6 * MIB + 512, seed=3)


@pytest.fixture
def exported(emulated_cloud: EmulatedCloud, raw: Path) -> ExportedObject:
    return put_disk(emulated_cloud, raw)


@pytest.fixture
def remote(emulated_cloud: EmulatedCloud, exported: ExportedObject) -> Iterator[RemoteDisk]:
    with open_source(exported, emulated_cloud.cloud, emulated_cloud.credentials, QUICK) as source:
        yield RemoteDisk(source, BlockCache(), Breakdown(), QUICK)


def ranges(cloud: EmulatedCloud) -> list[tuple[int, int]]:
    """The ranges asked for so far, in blocks: first and count."""
    found = []
    for method, _, header in cloud.requests:
        if method == "GET":
            first, _, last = header.removeprefix("bytes=").partition("-")
            found.append((int(first) // BLOCK, -(-(int(last) + 1 - int(first)) // BLOCK)))
    return found


def convert(disk: ServedDisk, target: Path) -> int:
    """Read the whole disk with qemu-img; return its exit status."""
    argv = ["qemu-img", "convert", "-f", "raw", "-O", "raw", disk.location, str(target)]
    return subprocess.run(argv, check=False, capture_output=True, timeout=60).returncode


def test_bytes_are_those_of_the_object_and_no_block_is_fetched_twice(
    emulated_cloud: EmulatedCloud, remote: RemoteDisk, raw: Path
) -> None:
    content = raw.read_bytes()
    for offset, length in [(0, 1), (BLOCK - 1, 2), (5 * BLOCK + 7, 3 * BLOCK), (len(content) - 5, 5), (100, BLOCK)]:
        assert remote.read(offset, length) == content[offset : offset + length]
    blocks = [first + place for first, count in ranges(emulated_cloud) for place in range(count)]
    assert sorted(blocks) == [0, 1, 2, 5, 6, 7, 8, 24]  # 2 is read ahead
    assert remote.bytes_read == 7 * BLOCK + 512


def test_reader_that_goes_straight_on_is_read_ahead_for_and_a_jumping_one_is_not(
    emulated_cloud: EmulatedCloud, remote: RemoteDisk
) -> None:
    for offset in range(0, 8 * BLOCK, 64 * KIB):
        remote.read(offset, 64 * KIB)
    for number in (20, 14, 17):
        remote.read(number * BLOCK, 4096)
    assert ranges(emulated_cloud) == [(0, 1), (1, 2), (3, 4), (7, 4), (20, 1), (14, 1), (17, 1)]


def test_memory_is_bounded() -> None:
    cache = BlockCache(limit=3 * BLOCK)
    for number in range(5):
        cache.put("disk", number, bytes(BLOCK))
        cache.get("disk", 0)
    assert [number for number in range(5) if cache.get("disk", number)] == [0, 3, 4]


def test_broken_answers_are_mended_in_silence(emulated_cloud: EmulatedCloud, remote: RemoteDisk, raw: Path) -> None:
    emulated_cloud.variants = Variants(truncate_gets=2, unavailable_gets=2)
    assert remote.read(0, 2 * MIB) == raw.read_bytes()[: 2 * MIB]


def test_disks_are_served_in_a_private_folder_that_is_gone_afterwards(
    emulated_cloud: EmulatedCloud, exported: ExportedObject, raw: Path, tmp_path: Path
) -> None:
    data = put_disk(emulated_cloud, raw, key="m-bp1test_data_xvdb.raw")
    with open_remote_disks([exported, data], emulated_cloud.cloud, emulated_cloud.credentials) as view:
        assert [(disk.device, disk.role, disk.name) for disk in view.disks] == [
            ("xvda", "system", "m-bp1test_system.raw"), ("xvdb", "data", "m-bp1test_data_xvdb.raw"),
        ]  # fmt: skip
        folder = view.disks[0].socket.parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert view.bytes_read <= 2 * BLOCK
        assert view.bytes_total == 2 * exported.size
        assert convert(view.disks[1], tmp_path / "copy.raw") == 0
    assert (tmp_path / "copy.raw").read_bytes()[: exported.size] == raw.read_bytes()
    assert not folder.exists()
    assert not view.disks[0].is_there


def look(cloud: EmulatedCloud, exported: ExportedObject, target: Path, breaks: Variants) -> None:
    """Read the whole disk while the cloud behaves as `breaks` says, and make nothing of a failure to read."""
    settings = replace(QUICK, idle_timeout=0.5)
    with open_remote_disks([exported], cloud.cloud, cloud.credentials, settings=settings) as view:
        cloud.variants = breaks
        if convert(view.disks[0], target) != 0:
            raise GuestError("a riddle of the appliance")


def test_object_replaced_in_the_middle_is_told_as_what_it_is(
    emulated_cloud: EmulatedCloud, exported: ExportedObject, tmp_path: Path
) -> None:
    with pytest.raises(SourceChanged, match="replaced"):
        look(emulated_cloud, exported, tmp_path / "copy.raw", Variants(replace_after_gets=1))


@pytest.mark.parametrize(
    ("breaks", "kind", "said"),
    [
        pytest.param(Variants(denied_actions=frozenset({"oss:GetObject"})), CloudRefused, "AccessDenied", id="denied"),
        pytest.param(Variants(unavailable_gets=10_000), CloudUnavailable, "503", id="unwell for too long"),
        pytest.param(Variants(ignore_ranges=True), CloudUnavailable, "whole object", id="no ranges"),
    ],
)
def test_range_that_fails_is_told_instead_of_the_appliance_s_riddle(
    emulated_cloud: EmulatedCloud, exported: ExportedObject, tmp_path: Path,
    breaks: Variants, kind: type[CloudRefused], said: str,
) -> None:  # fmt: skip
    with pytest.raises(kind, match=said) as caught:
        look(emulated_cloud, exported, tmp_path / "copy.raw", breaks)
    assert emulated_cloud.access_key_secret not in str(caught.value)


def test_failure_that_the_reader_did_not_notice_is_told_all_the_same(
    emulated_cloud: EmulatedCloud, exported: ExportedObject, tmp_path: Path
) -> None:
    def judge_without_looking(view: RemoteView) -> None:
        emulated_cloud.variants = Variants(denied_actions=frozenset({"oss:GetObject"}))
        convert(view.disks[0], tmp_path / "copy.raw")

    with (
        pytest.raises(CloudRefused, match="AccessDenied"),
        open_remote_disks([exported], emulated_cloud.cloud, emulated_cloud.credentials, settings=QUICK) as view,
    ):
        judge_without_looking(view)


def test_archive_is_refused_by_its_name_and_by_its_first_bytes(emulated_cloud: EmulatedCloud) -> None:
    archive = put_disk(
        emulated_cloud, b"\x1f\x8b\x08" + bytes(1000), packing=Packing.TAR_GZIP, key="a_system.raw.tar.gz"
    )
    disguised = put_disk(emulated_cloud, b"\x1f\x8b\x08" + bytes(1000))
    for exported in (archive, disguised):
        with (
            pytest.raises(GuestError, match="cannot be read by range") as caught,
            open_remote_disks([exported], emulated_cloud.cloud, emulated_cloud.credentials, settings=QUICK),
        ):
            pass
        assert "ferry download" in caught.value.remedy


def test_stop_ends_the_first_look_at_once(emulated_cloud: EmulatedCloud, exported: ExportedObject) -> None:
    emulated_cloud.variants = Variants(stall_gets=100)
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    begun = time.monotonic()
    with (
        pytest.raises(Interrupted),
        open_remote_disks([exported], emulated_cloud.cloud, emulated_cloud.credentials, stop=stop),
    ):
        pass
    assert time.monotonic() - begun < 5


def test_leaving_does_not_wait_for_a_range_that_nobody_wants_any_more(
    emulated_cloud: EmulatedCloud, exported: ExportedObject, tmp_path: Path
) -> None:
    left = threading.Event()
    with open_remote_disks([exported], emulated_cloud.cloud, emulated_cloud.credentials) as view:
        emulated_cloud.variants = Variants(stall_gets=100)
        disk = view.disks[0]

        def read() -> None:
            convert(disk, tmp_path / "copy.raw")
            left.set()

        reader = threading.Thread(target=read)
        reader.start()
        time.sleep(1)
        begun = time.monotonic()
    assert time.monotonic() - begun < 3
    assert left.wait(10)
    reader.join()
