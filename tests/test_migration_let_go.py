from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from converters.convert import convert_disk
from migration.artifact import Artifact
from migration.disk import Disk, DiskFormat, DiskRole
from migration.errors import InvalidInput, SourceChanged
from migration.let_go import accept_fingerprint, find_stand_in, find_workspace_disks, let_go
from migration.run import run
from migration.storage import fingerprint_of
from migration.workspace import Workspace, open_workspace

SIZE = 4 << 20
CONTENT = hashlib.shake_128(b"disk").digest(SIZE)


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Workspace]:
    with open_workspace(tmp_path / "w") as workspace:
        yield workspace


@pytest.fixture
def disk(space: Workspace) -> Disk:
    path = space.disks / "data_xvdb.raw"
    path.write_bytes(CONTENT)
    return Disk(device="xvdb", role=DiskRole.DATA, path=path, format=DiskFormat.RAW, virtual_size=SIZE)


@pytest.fixture
def image(space: Workspace, disk: Disk) -> Artifact:
    return convert_disk(space, disk, DiskFormat.QCOW2)


def test_image_stands_in_for_the_disk_in_what_is_converted_later(
    space: Workspace, disk: Disk, image: Artifact, tmp_path: Path
) -> None:
    let_go(space, image, [disk.path])
    assert not disk.path.exists()
    stand_in = find_stand_in(space, "data_xvdb")
    assert stand_in is not None
    assert (stand_in.path, stand_in.format, stand_in.virtual_size) == (image.path, DiskFormat.QCOW2, SIZE)
    assert convert_disk(space, stand_in, DiskFormat.QCOW2) == image, "it is not made of itself"
    vmdk = convert_disk(space, stand_in, DiskFormat.VMDK)
    run(["qemu-img", "convert", "-f", "vmdk", "-O", "raw", vmdk.path, tmp_path / "seen"])
    assert (tmp_path / "seen").read_bytes() == CONTENT


def test_nothing_outside_of_the_workspace_is_removed(
    space: Workspace, disk: Disk, image: Artifact, tmp_path: Path
) -> None:
    theirs = tmp_path / "data_xvdb.raw"
    theirs.write_bytes(CONTENT)
    let_go(space, image, [theirs, image.path, disk.path])
    assert theirs.exists()
    assert image.path.exists()


def test_image_that_was_cut_short_does_not_cost_the_disk(space: Workspace, disk: Disk, image: Artifact) -> None:
    os.truncate(image.path, image.file_size - 1)
    with pytest.raises(SourceChanged, match="its disk is kept"):
        let_go(space, image, [disk.path])
    assert disk.path.exists()


def test_only_a_qcow2_can_stand_in(space: Workspace, disk: Disk, image: Artifact) -> None:
    with pytest.raises(InvalidInput, match="cannot stand in"):
        let_go(space, replace(image, format=DiskFormat.VMDK), [disk.path])
    assert disk.path.exists()


def test_touched_image_is_read_and_a_changed_one_is_none(space: Workspace, disk: Disk, image: Artifact) -> None:
    let_go(space, image, [disk.path])
    os.utime(image.path, (1, 1))
    stand_in = find_stand_in(space, "data_xvdb")
    assert stand_in is not None
    with image.path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    assert find_stand_in(space, "data_xvdb") is None
    with pytest.raises(SourceChanged, match="was changed since"):
        convert_disk(space, stand_in, DiskFormat.QCOW2)
    assert image.path.exists(), "it may be the last copy, bad or not"


def test_image_that_we_touched_ourselves_is_not_read_again(
    space: Workspace, disk: Disk, image: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go(space, image, [disk.path])
    os.utime(image.path, (1, 1))
    accept_fingerprint(space, image.path, fingerprint_of(image.path))

    def read(path: Path) -> str:
        raise AssertionError(f"{path} is read")

    monkeypatch.setattr("migration.let_go.sha256_of_file", read)
    assert find_stand_in(space, "data_xvdb") is not None


def test_stand_in_is_found_where_the_workspace_has_moved(
    space: Workspace, disk: Disk, image: Artifact, tmp_path: Path
) -> None:
    let_go(space, image, [disk.path])
    shutil.copytree(space.path, tmp_path / "moved")
    with open_workspace(tmp_path / "moved") as moved:
        stand_in = find_stand_in(moved, "data_xvdb")
        assert stand_in is not None
        assert stand_in.path == tmp_path / "moved/images/data_xvdb.qcow2"


def test_disk_that_never_went_has_no_stand_in(space: Workspace, image: Artifact) -> None:
    assert image.path.exists()
    assert find_stand_in(space, "data_xvdb") is None


def test_disks_of_a_workspace_are_those_that_are_there_and_what_stands_in_for_the_others(
    space: Workspace, disk: Disk, image: Artifact
) -> None:
    system = space.disks / "system.raw"
    system.write_bytes(CONTENT)
    assert [found.path for found in find_workspace_disks(space)] == [system, disk.path]
    let_go(space, image, [disk.path])
    assert [found.path for found in find_workspace_disks(space)] == [system, image.path]
    system.unlink()
    assert [found.path for found in find_workspace_disks(space)] == [image.path]
    image.path.unlink()
    with pytest.raises(InvalidInput, match="no disks here"):
        find_workspace_disks(space)
