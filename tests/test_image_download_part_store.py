"""Parts that came are known after a kill; parts that may not have reached storage are not relied on after a crash."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from image_download import crc64, part_map
from image_download.part_map import KnownParts, ObjectIdentity, PartMap, read_part_map
from image_download.part_store import PartStore, open_part_store
from tests.image_download_fixtures import KIB

PART = 64 * KIB
CONTENT = random.Random(7).randbytes(PART) + bytes(PART) + random.Random(8).randbytes(PART + 700)
IDENTITY = ObjectIdentity(bucket="b", key="k", etag="E", size=len(CONTENT), crc64=None)


def write_part(store: PartStore, part: int, content: bytes = CONTENT) -> None:
    """Put one part into the store, in pieces as a network brings them."""
    start, _ = store.bounds(part)
    with store.open_writer() as writer:
        writer.start(part)
        while writer.position < writer.end:
            piece = content[writer.position : min(writer.position + 5000, writer.end)]
            writer.space()[: len(piece)] = piece
            writer.advance(len(piece))
        assert writer.position > start
        writer.finish()


def test_store_that_has_all_parts_holds_the_object(tmp_path: Path) -> None:
    with open_part_store(tmp_path / "disk.raw", IDENTITY, PART) as store:
        for part in (3, 0, 2, 1):
            write_part(store, part)
        check = store.check()
        store.publish(tmp_path / "disk.raw")
    assert check.bad_parts == ()
    assert check.crc64 == crc64.extend(crc64.EMPTY, CONTENT)
    assert (tmp_path / "disk.raw").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["disk.raw"]


def test_store_goes_on_where_it_was_left(tmp_path: Path) -> None:
    with open_part_store(tmp_path / "disk.raw", IDENTITY, PART) as store:
        write_part(store, 2)
        assert store.missing_parts() == [0, 1, 3]
    with open_part_store(tmp_path / "disk.raw", IDENTITY, 2 * PART) as store:
        assert store.part_size == PART  # what is there was cut so
        assert store.missing_parts() == [0, 1, 3]
        assert store.present_bytes == PART


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(replace(IDENTITY, etag="F"), id="etag"),
        pytest.param(replace(IDENTITY, size=len(CONTENT) - 1), id="size"),
        pytest.param(replace(IDENTITY, key="other"), id="key"),
        pytest.param(replace(IDENTITY, crc64=5), id="crc"),
    ],
)
def test_store_starts_anew_for_another_object(
    tmp_path: Path, other: ObjectIdentity, caplog: pytest.LogCaptureFixture
) -> None:
    with open_part_store(tmp_path / "disk.raw", IDENTITY, PART) as store:
        write_part(store, 0)
    with open_part_store(tmp_path / "disk.raw", other, PART) as store:
        assert 0 in store.missing_parts()
        assert store.present_bytes == 0
    assert "another object" in caplog.text


def test_store_starts_anew_when_its_file_was_cut_off(tmp_path: Path) -> None:
    with open_part_store(tmp_path / "disk.raw", IDENTITY, PART) as store:
        write_part(store, 0)
    (tmp_path / "disk.raw.partial").write_bytes(b"short")
    with open_part_store(tmp_path / "disk.raw", IDENTITY, PART) as store:
        assert store.present_bytes == 0


def test_check_names_the_parts_that_storage_did_not_keep(tmp_path: Path) -> None:
    with open_part_store(tmp_path / "disk.raw", IDENTITY, PART) as store:
        for part in range(4):
            write_part(store, part)
        with store.path.open("r+b") as file:
            file.seek(PART + 10)  # where zeros belong
            file.write(b"!")
            file.seek(3 * PART)
            file.write(b"!")
        assert store.check().bad_parts == (1, 3)
        store.forget([1, 3])
        write_part(store, 1)
        write_part(store, 3)
        assert store.check().bad_parts == ()
        assert store.path.read_bytes() == CONTENT


def test_parts_of_a_late_thread_are_not_written_to_a_closed_map(tmp_path: Path) -> None:
    with open_part_store(tmp_path / "disk.raw", IDENTITY, PART) as store:
        pass
    store.complete(0, 1)
    store.settle()
    with open_part_store(tmp_path / "disk.raw", IDENTITY, PART) as store:
        assert store.missing_parts() == [0, 1, 2, 3]


def make_map(path: Path) -> None:
    """Write a map with parts 0 and 1 synced, part 2 only handed to the kernel."""
    written = PartMap(path, IDENTITY, KnownParts(part_size=PART, crcs={0: 10}))
    written.add(1, 11)
    written.mark_synced(written.lines)
    written.add(2, 12)
    written.close()


def test_map_counts_every_part_after_a_kill(tmp_path: Path) -> None:
    make_map(tmp_path / "map")
    assert read_part_map(tmp_path / "map", IDENTITY) == KnownParts(part_size=PART, crcs={0: 10, 1: 11, 2: 12})


def test_map_counts_only_synced_parts_after_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_map(tmp_path / "map")
    # Patched because a test cannot reboot: the kernel gives itself a new id when it starts.
    boot_id = tmp_path / "boot_id"
    boot_id.write_text("another boot\n")
    monkeypatch.setattr(part_map, "_BOOT_ID", boot_id)
    assert read_part_map(tmp_path / "map", IDENTITY) == KnownParts(part_size=PART, crcs={0: 10, 1: 11})


@pytest.mark.parametrize(
    ("ending", "parts"),
    [
        pytest.param(b"3 00000000000", {0, 1, 2}, id="line cut off"),
        pytest.param(b"\0" * 100, {0, 1, 2}, id="zeros of a crash"),
        pytest.param(b"3 zz\n", {0, 1, 2}, id="no number"),
        pytest.param(b"99 000000000000000a\n", {0, 1, 2}, id="part beyond the end"),
        pytest.param(b"3 000000000000000d\n", {0, 1, 2, 3}, id="whole line"),
    ],
)
def test_map_is_read_up_to_what_is_damaged(tmp_path: Path, ending: bytes, parts: set[int]) -> None:
    make_map(tmp_path / "map")
    with (tmp_path / "map").open("ab") as file:
        file.write(ending)
    known = read_part_map(tmp_path / "map", IDENTITY)
    assert known is not None
    assert set(known.crcs) == parts


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xfe{}\n", id="no JSON"),
        pytest.param(b"[1]\n", id="another JSON"),
        pytest.param(b'{"version": 99}\n', id="another version"),
    ],
)
def test_map_that_cannot_be_read_is_no_map(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "map").write_bytes(content)
    assert read_part_map(tmp_path / "map", IDENTITY) is None
