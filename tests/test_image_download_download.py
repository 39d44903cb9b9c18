"""An object comes home whole, proven and sparse, whatever it is packed in; what is finished is not done again."""

from __future__ import annotations

import gzip
import logging
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from emulator.server import EmulatedCloud, Variants
from image_download import crc64
from image_download.part_store import PartStore
from image_download.settings import DownloadSettings
from migration.disk import DiskFormat, DiskRole
from migration.errors import (
    CorruptData,
    InvalidInput,
    MigrationError,
)
from migration.exported_object import ExportedObject, Packing
from tests.conftest import RawMaker
from tests.image_download_fixtures import (
    MIB,
    QUICK,
    SIZE,
    TAR_FORMATS,
    Home,
    exported,
    home,
    open_home,
    pack_tar,
    put_disk,
    raw,
)

__all__ = ["exported", "home", "raw"]


def test_raw_object_becomes_a_proven_sparse_disk(home: Home, exported: ExportedObject, raw: Path) -> None:
    disk = home.download(exported)
    assert disk.path == home.workspace.disks / "system.raw"
    assert disk.path.read_bytes() == raw.read_bytes()
    assert (disk.role, disk.device, disk.format) == (DiskRole.SYSTEM, "xvda", DiskFormat.RAW)
    assert (disk.virtual_size, disk.crc64) == (SIZE, exported.crc64)
    assert disk.proof.startswith(f"CRC-64 {exported.crc64}")
    assert disk.path.stat().st_blocks * 512 <= SIZE / 2
    assert len(home.ranges) == 32
    assert home.left_behind == []


@pytest.mark.parametrize("options", TAR_FORMATS.values(), ids=TAR_FORMATS.keys())
def test_packed_object_becomes_the_same_disk(home: Home, raw: Path, options: list[str]) -> None:
    key = "test_m-bp1test_data_xvdb.raw.tar.gz"
    exported = put_disk(
        home.cloud, pack_tar(raw, *options), key=key, packing=Packing.TAR_GZIP, disk_size=SIZE
    )  # fmt: skip
    disk = home.download(exported)
    assert disk.path == home.workspace.disks / "data_xvdb.raw"
    assert disk.path.read_bytes() == raw.read_bytes()
    assert disk.crc64 == crc64.extend(crc64.EMPTY, raw.read_bytes())
    assert disk.path.stat().st_blocks * 512 <= SIZE / 2
    assert home.left_behind == []


def test_packed_object_is_kept_where_that_is_asked_for(home: Home, raw: Path) -> None:
    content = gzip.compress(raw.read_bytes())
    exported = put_disk(home.cloud, content, key="m-bp1test_system.raw.gz", packing=Packing.GZIP)
    settings = replace(QUICK, keep_objects=True)
    home.download(exported, settings)
    assert home.left_behind == ["system.raw.gz"]
    assert (home.workspace.objects / "system.raw.gz").read_bytes() == content
    # The disk is made from it again, for nothing.
    (home.workspace.disks / "system.raw").unlink()
    before = len(home.ranges)
    home.download(exported, settings)
    assert (home.workspace.disks / "system.raw").read_bytes() == raw.read_bytes()
    assert len(home.ranges) == before


def test_qcow2_object_keeps_its_format(home: Home, raw: Path) -> None:
    image = raw.with_suffix(".qcow2")
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, image], check=True)
    exported = put_disk(
        home.cloud, image, key="m-bp1test_system.qcow2", disk_format=DiskFormat.QCOW2, disk_size=SIZE
    )  # fmt: skip
    disk = home.download(exported)
    assert disk.path == home.workspace.disks / "system.qcow2"
    assert disk.path.read_bytes() == image.read_bytes()
    assert (disk.format, disk.virtual_size, disk.crc64) == (DiskFormat.QCOW2, SIZE, None)


def test_image_that_refers_to_another_file_is_refused(home: Home, raw: Path) -> None:
    image = raw.with_suffix(".qcow2")
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(raw), "-F", "raw", str(image)]
    subprocess.run(argv, check=True)
    exported = put_disk(home.cloud, image, key="m-bp1test_system.qcow2", disk_format=DiskFormat.QCOW2)
    with pytest.raises(CorruptData, match="refers to another file"):
        home.download(exported)


def test_bytes_overrule_the_name_where_the_length_says_that_it_is_no_disk(
    home: Home, raw: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exported = put_disk(home.cloud, pack_tar(raw), disk_size=SIZE)
    disk = home.download(exported)
    assert disk.path.read_bytes() == raw.read_bytes()
    assert "it is a gzip stream" in caplog.text


@pytest.mark.parametrize("known", [True, False])
def test_guest_cannot_make_its_bare_disk_be_unpacked(home: Home, known: bool) -> None:
    content = gzip.compress(b"a tape that was written to a bare disk").ljust(MIB, b"\0")
    exported = put_disk(home.cloud, content, disk_size=MIB if known else None)
    disk = home.download(exported)
    assert disk.path.read_bytes() == content


def test_object_that_is_not_packed_whatever_its_name_says_is_the_disk(
    home: Home, raw: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exported = put_disk(home.cloud, raw, key="m-bp1test_system.raw.tar.gz", packing=Packing.TAR_GZIP)
    disk = home.download(exported)
    assert disk.path.read_bytes() == raw.read_bytes()
    assert "it is not packed" in caplog.text


def test_disk_of_another_size_than_the_image_tells_is_refused_and_kept(home: Home, raw: Path) -> None:
    exported = put_disk(home.cloud, raw, disk_size=SIZE + MIB)
    with pytest.raises(CorruptData, match=str(SIZE + MIB)):
        home.download(exported)
    before = len(home.ranges)
    settings = replace(QUICK, accept_other_size=True)
    disk = home.download(exported, settings)
    assert disk.virtual_size == SIZE
    assert len(home.ranges) == before


def test_empty_object_is_no_disk(home: Home) -> None:
    with pytest.raises(CorruptData, match="empty"):
        home.download(put_disk(home.cloud, b""))


# --- asking the journal first


def test_finished_disk_is_returned_without_asking_the_cloud(home: Home, exported: ExportedObject) -> None:
    first = home.download(exported)
    before = len(home.cloud.calls)
    seen: list[tuple[int, int]] = []
    again = home.download(exported, progress=lambda done, total: seen.append((done, total)))
    assert again == first
    assert len(home.cloud.calls) == before
    assert seen == [(SIZE, SIZE)]


def test_finished_disk_is_found_after_the_workspace_was_moved(
    tmp_path: Path, emulated_cloud: EmulatedCloud, exported: ExportedObject
) -> None:
    with open_home(emulated_cloud, tmp_path / "here") as home:
        home.download(exported)
    before = len(emulated_cloud.calls)
    (tmp_path / "here").rename(tmp_path / "there")
    with open_home(emulated_cloud, tmp_path / "there") as home:
        disk = home.download(exported)
    assert disk.path == tmp_path / "there" / "disks" / "system.raw"
    assert len(emulated_cloud.calls) == before


def test_disk_that_was_only_touched_is_read_again_and_not_downloaded(home: Home, exported: ExportedObject) -> None:
    disk = home.download(exported)
    before = len(home.cloud.calls)
    os.utime(disk.path)
    home.download(exported)
    assert len(home.cloud.calls) == before


def change(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"changed")


def change_secretly(path: Path) -> None:
    """Change a file and set its time of modification back, as some tools do."""
    before = path.stat()
    change(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        pytest.param(change_secretly, "downloading what was changed again", id="changed secretly"),
        pytest.param(Path.unlink, "downloading it again", id="gone"),
        pytest.param(change, "downloading what was changed again", id="changed"),
    ],
)
def test_disk_that_is_not_as_it_was_is_downloaded_again(
    home: Home,
    exported: ExportedObject,
    raw: Path,
    harm: Callable[[Path], None],
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    disk = home.download(exported)
    harm(disk.path)
    disk = home.download(exported)
    assert disk.path.read_bytes() == raw.read_bytes()
    assert said in caplog.text


def test_disk_without_a_record_is_adopted_if_it_equals_the_object(
    home: Home, exported: ExportedObject, raw: Path
) -> None:
    shutil.copy(raw, home.workspace.disks / "system.raw")
    (home.workspace.objects / "system.raw.parts").write_text("left by a killed process\n")
    disk = home.download(exported)
    assert disk.crc64 == exported.crc64
    assert home.cloud.calls == []
    assert home.left_behind == []


def test_object_that_was_exported_anew_is_downloaded_anew(
    home: Home, exported: ExportedObject, make_raw: RawMaker
) -> None:
    home.download(exported)
    newer = make_raw("newer.raw", SIZE, seed=12)
    exported = put_disk(home.cloud, newer, disk_size=SIZE)
    disk = home.download(exported)
    assert disk.path.read_bytes() == newer.read_bytes()


# --- proof


def test_object_whose_bytes_were_harmed_on_the_way_is_never_finished(
    home: Home, exported: ExportedObject, raw: Path
) -> None:
    home.cloud.variants = Variants(corrupt_gets=1)
    with pytest.raises(CorruptData, match="CRC-64") as caught:
        home.download(exported)
    assert "run again" in caught.value.remedy
    assert not (home.workspace.disks / "system.raw").exists()
    disk = home.download(exported)
    assert disk.path.read_bytes() == raw.read_bytes()


@pytest.mark.parametrize("rounds", [pytest.param(1, id="once"), pytest.param(99, id="always")])
def test_parts_that_storage_did_not_keep_are_fetched_again(
    home: Home, exported: ExportedObject, raw: Path,
    monkeypatch: pytest.MonkeyPatch, rounds: int,
) -> None:  # fmt: skip
    check = PartStore.check
    left = [rounds]

    def harm_then_check(self: PartStore, *arguments: object) -> object:
        """Change two parts in the file between the last write and the proof, as failing storage does."""
        if left[0]:
            left[0] -= 1
            with self.path.open("r+b") as file:
                for part in (3, 17):
                    file.seek(self.bounds(part)[0] + 100)
                    file.write(b"\xff\x01")
        return check(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(PartStore, "check", harm_then_check)
    if rounds > 1:
        with pytest.raises(CorruptData, match="does not keep"):
            home.download(exported)
        assert not (home.workspace.disks / "system.raw").exists()
        return
    disk = home.download(exported)
    assert disk.path.read_bytes() == raw.read_bytes()
    part = QUICK.part_size
    expected = sorted(f"bytes={number * part}-{(number + 1) * part - 1}" for number in (3, 17))
    assert sorted(home.ranges[32:]) == expected


def test_object_without_a_crc_is_said_to_be_unknown(
    home: Home, exported: ExportedObject, raw: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    home.cloud.variants = Variants(no_crc=True)
    exported = replace(exported, crc64=None)
    disk = home.download(exported)
    assert disk.proof.startswith("UNKNOWN")
    assert disk.crc64 == crc64.extend(crc64.EMPTY, raw.read_bytes())
    assert any(record.levelno == logging.WARNING and "UNKNOWN" in record.message for record in caplog.records)


def test_damaged_archive_is_refused_and_leaves_no_disk(home: Home, raw: Path) -> None:
    exported = put_disk(
        home.cloud, pack_tar(raw)[:-100], key="m-bp1test_system.raw.tar.gz", packing=Packing.TAR_GZIP
    )  # fmt: skip
    with pytest.raises(CorruptData, match="cut off"):
        home.download(exported)
    assert list(home.workspace.disks.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"connections": 0}, id="no connections"),
        pytest.param({"connections": 1000}, id="too many connections"),
        pytest.param({"part_size": 1}, id="tiny parts"),
        pytest.param({"part_size": 65537}, id="odd parts"),
        pytest.param({"idle_timeout": 0}, id="no patience"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidInput):
        DownloadSettings(**wrong)  # type: ignore[arg-type]


def test_storage_that_fails_is_an_error_for_the_operator(home: Home, exported: ExportedObject) -> None:
    home.workspace.objects.rmdir()
    home.workspace.objects.write_text("a file where a folder should be")
    with pytest.raises(MigrationError, match="objects"):
        home.download(exported)
