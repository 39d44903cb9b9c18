"""A layer with a repair in it is believed only over the disk beside it, whatever its header says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from migration.disk import REPAIRED_SUFFIX, Disk
from migration.disk_file import base_of_layer, find_disks, find_disks_in
from migration.errors import InvalidInput
from migration.qcow2_header import Qcow2Header, read_qcow2_header
from migration.run import run

MIB = 1024**2


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "disks" / "system.raw"
    path.parent.mkdir()
    path.write_bytes(b"\0" * MIB)
    return path


def make_layer(layer: Path, backing: str | Path) -> Path:
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", backing, layer])
    return layer


def test_layer_is_found_with_the_disk_under_it_also_when_both_were_moved(raw: Path, tmp_path: Path) -> None:
    make_layer(raw.with_name(f"system{REPAIRED_SUFFIX}"), "./system.raw")
    moved = raw.parent.rename(tmp_path / "moved")
    [disk] = find_disks([str(moved / f"system{REPAIRED_SUFFIX}")])
    assert (disk.device, disk.base, disk.virtual_size) == ("xvda", moved / "system.raw", MIB)


def test_folder_holds_the_disks_and_not_their_layers(raw: Path) -> None:
    make_layer(raw.with_name(f"system{REPAIRED_SUFFIX}"), "./system.raw")
    disks: tuple[Disk, ...] = find_disks_in(raw.parent)
    assert [(disk.path, disk.base) for disk in disks] == [(raw, None)]


@pytest.mark.parametrize(
    "backing", ["/etc/hostname", "../outside/system.raw", "./other.raw"], ids=["elsewhere", "above", "another-disk"]
)
def test_layer_over_another_file_is_refused(backing: str, raw: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    for path in (tmp_path / "outside/system.raw", raw.with_name("other.raw")):
        path.write_bytes(b"\0" * MIB)
    layer = make_layer(raw.with_name(f"system{REPAIRED_SUFFIX}"), "./system.raw")
    run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", backing, layer])
    with pytest.raises(InvalidInput, match="no layer"):
        find_disks([str(layer)])


def test_layer_over_a_disk_that_changed_is_refused(raw: Path) -> None:
    layer = make_layer(raw.with_name(f"system{REPAIRED_SUFFIX}"), "./system.raw")
    os.utime(raw, ns=(0, layer.stat().st_mtime_ns + 1))
    with pytest.raises(InvalidInput, match="was written to after"):
        find_disks([str(layer)])
    raw.unlink()
    with pytest.raises(InvalidInput, match="is gone"):
        find_disks([str(layer)])


def test_name_of_a_layer_makes_none(raw: Path) -> None:
    alone = raw.with_name(f"system{REPAIRED_SUFFIX}")
    run(["qemu-img", "create", "-q", "-f", "qcow2", alone, "1M"])
    with pytest.raises(InvalidInput, match="no layer with a repair in it"):
        find_disks([str(alone)])


def test_header_says_what_an_image_refers_to(raw: Path, tmp_path: Path) -> None:
    layer = make_layer(tmp_path / "layer.qcow2", raw)
    assert read_qcow2_header(layer) == Qcow2Header(backing=str(raw), backing_format="raw")
    assert base_of_layer(layer) == raw
    old = tmp_path / "old.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "compat=0.10", "-F", "raw", "-b", raw, old])
    assert read_qcow2_header(old) == Qcow2Header(backing=str(raw), backing_format="raw")
    alone = tmp_path / "alone.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", alone, "1M"])
    header = read_qcow2_header(alone)
    assert header is not None
    assert header.stands_alone
    data = tmp_path / "data.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path / 'd'},data_file_raw=on", data, "1M"])
    header = read_qcow2_header(data)
    assert header is not None
    assert not header.stands_alone
    assert base_of_layer(data) is None
    assert read_qcow2_header(raw) is None


def test_header_that_points_nowhere_is_a_reference_all_the_same(tmp_path: Path) -> None:
    broken = tmp_path / "broken.qcow2"
    broken.write_bytes(
        b"QFI\xfb" + (3).to_bytes(4, "big") + (1 << 40).to_bytes(8, "big") + b"\0\0\0\x05" + b"\xff" * 90
    )
    header = read_qcow2_header(broken)
    assert header is not None
    assert not header.stands_alone
