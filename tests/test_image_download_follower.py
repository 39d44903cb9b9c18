"""A packed object is unpacked while it comes, and what was made ahead counts only once the object is proven."""

from __future__ import annotations

import errno
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.server import EmulatedCloud, Variants
from image_download import crc64, unpack
from image_download.follower import ComingFile, Follower
from image_download.part_map import ObjectIdentity
from image_download.part_store import PartStore, open_part_store
from migration.errors import CorruptData, Interrupted, NoSpace
from migration.exported_object import ExportedObject, Packing
from migration.progress import Stop
from tests.conftest import RawMaker
from tests.image_download_fixtures import KIB, MIB, Home, home, pack_tar, put_disk

__all__ = ["home"]

PART = 64 * KIB
CONTENT = bytes(range(256)) * (4 * PART // 256) + b"the end"
IDENTITY = ObjectIdentity(bucket="b", key="k", etag="E", size=len(CONTENT), crc64=None)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PartStore]:
    with open_part_store(tmp_path / "object", IDENTITY, PART) as opened:
        yield opened


def write_part(store: PartStore, part: int) -> None:
    with store.open_writer() as writer:
        writer.start(part)
        while writer.position < writer.end:
            space = writer.space()
            space[:] = CONTENT[writer.position : writer.position + len(space)]
            writer.advance(len(space))
        writer.finish()


def read_all(coming: ComingFile, stop: Stop) -> bytes:  # noqa: ARG001  # `coming` has it
    return coming.readall() or b""


def test_file_that_comes_in_any_order_is_read_in_its_own(store: PartStore) -> None:
    write_part(store, 2)
    with Follower(store, read_all) as follower:
        for part in (1, 4, 0, 3):
            write_part(store, part)
        assert follower.wait(None) == CONTENT
        assert follower.file.is_read
        assert follower.file.crc64 == crc64.extend(crc64.EMPTY, CONTENT)


def test_nothing_is_read_beyond_a_gap(store: PartStore) -> None:
    write_part(store, 0)
    write_part(store, 2)
    coming = ComingFile(store, threading.Event())
    assert coming.peek(10) == CONTENT[:10]
    assert coming.read(10 * PART) == CONTENT[:PART]
    assert not coming.is_read
    coming.close()


def test_follower_ends_with_its_block_though_nothing_comes(store: PartStore) -> None:
    with Follower(store, read_all) as follower:
        pass
    assert follower.wait(None) is None


def test_waiting_for_the_follower_can_be_stopped(store: PartStore) -> None:
    stop = threading.Event()
    stop.set()
    with Follower(store, read_all) as follower, pytest.raises(Interrupted):
        follower.wait(stop)


@pytest.fixture
def packed(emulated_cloud: EmulatedCloud, make_raw: RawMaker) -> ExportedObject:
    raw = make_raw("system.raw", 24 * MIB, seed=3)
    return put_disk(emulated_cloud, pack_tar(raw), key="m-bp1test_system.raw.tar.gz", packing=Packing.TAR_GZIP)


def test_disk_grows_while_its_archive_comes(home: Home, packed: ExportedObject, tmp_path: Path) -> None:
    home.cloud.variants = Variants(bytes_per_second=400_000)
    partial = home.workspace.disks / "system.raw.partial"
    grown: list[int] = []

    def watch(done: int, total: int) -> None:
        if done < total and partial.exists():
            grown.append(partial.stat().st_blocks)

    disk = home.download(packed, progress=watch)
    assert any(grown), "nothing was unpacked before all had come"
    assert disk.path.read_bytes() == (tmp_path / "system.raw").read_bytes()
    assert home.left_behind == []


def test_damaged_archive_is_judged_once_all_of_it_has_come(
    home: Home, emulated_cloud: EmulatedCloud, make_raw: RawMaker, caplog: pytest.LogCaptureFixture
) -> None:
    archive = bytearray(pack_tar(make_raw("system.raw", 24 * MIB, seed=3)))
    archive[len(archive) // 3] ^= 0xFF
    damaged = put_disk(
        emulated_cloud, bytes(archive), key="m-bp1test_system.raw.tar.gz", packing=Packing.TAR_GZIP
    )  # fmt: skip
    with pytest.raises(CorruptData, match="the gzip stream is damaged"):
        home.download(damaged)
    assert "fetching the rest" in caplog.text
    assert [path.name for path in home.workspace.disks.iterdir()] == []
    before = len(home.ranges)
    with pytest.raises(CorruptData, match="the gzip stream is damaged"):
        home.download(damaged)
    assert len(home.ranges) == before, "it came as it is in OSS: nothing is fetched again"


def test_full_disk_is_noticed_before_all_has_come(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "system.raw").write_bytes(random.Random(1).randbytes(4 * MIB))
    packed = put_disk(
        home.cloud, pack_tar(tmp_path / "system.raw"), key="m-bp1test_system.raw.tar.gz", packing=Packing.TAR_GZIP
    )
    home.cloud.variants = Variants(bytes_per_second=200_000)

    def full(*_: object) -> None:
        # A disk that is full for one of two files cannot be had: the system's answer is replaced.
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(unpack, "write_sparsely", full)
        with pytest.raises(NoSpace):
            home.download(packed)
    assert len(home.ranges) < packed.size // PART // 2
    home.cloud.variants = Variants()
    assert home.download(packed).virtual_size == 4 * MIB
