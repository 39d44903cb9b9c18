"""A layer over a disk shows that disk, in the format we were told, and no other file."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from migration.disk import DiskFormat
from migration.errors import GuestError, NoSpace
from migration.overlay import make_overlay
from migration.run import run
from tests.conftest import ToolMaker
from tests.fstab_check_disks import MIB, disk_of


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "a,b=c:d.raw"  # what QEMU's own option language would stumble over
    path.write_bytes(b"guest".ljust(MIB, b"\0"))
    return path


def create(*words: str | Path) -> None:
    run(["qemu-img", "create", "-q", *words])


@pytest.mark.parametrize("folder", [".", "elsewhere"])
def test_overlay_names_its_disk_and_the_format_it_was_told(folder: str, raw: Path, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    overlay = make_overlay(disk_of(raw, "xvda"), tmp_path / folder / "overlay.qcow2")
    info = json.loads(run(["qemu-img", "info", "-f", "qcow2", "--output", "json", overlay]))
    named = (f"./{raw.name}" if folder == "." else str(raw), "raw")
    assert (info["backing-filename"], info["backing-filename-format"]) == named
    assert info["virtual-size"] == MIB


def test_overlay_takes_a_layer_of_ours_over_the_disk_it_was_told(raw: Path, tmp_path: Path) -> None:
    layer = make_overlay(disk_of(raw, "xvda"), tmp_path / "layer.qcow2")
    disk = replace(disk_of(layer, "xvda", DiskFormat.QCOW2), base=raw)
    assert make_overlay(disk, tmp_path / "overlay.qcow2").exists()
    with pytest.raises(GuestError, match="not complete in itself"):
        make_overlay(replace(disk, base=tmp_path / "another.raw"), tmp_path / "overlay.qcow2")


def test_overlay_refuses_a_layer_over_what_does_not_stand_alone(raw: Path, tmp_path: Path) -> None:
    base, layer = tmp_path / "base.qcow2", tmp_path / "layer.qcow2"
    create("-f", "qcow2", "-F", "raw", "-b", raw, base)
    create("-f", "qcow2", "-F", "qcow2", "-b", base, layer)
    disk = replace(disk_of(layer, "xvda", DiskFormat.QCOW2), base=base)
    with pytest.raises(GuestError, match=r"base\.qcow2 is not complete in itself"):
        make_overlay(disk, tmp_path / "overlay.qcow2")


def test_overlay_of_a_raw_disk_does_not_believe_a_disguise(tmp_path: Path, raw: Path) -> None:
    disguised = tmp_path / "disguised.raw"
    create("-f", "qcow2", "-F", "raw", "-b", raw, disguised)
    overlay = make_overlay(disk_of(disguised, "xvda"), tmp_path / "overlay.qcow2")
    run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", overlay, tmp_path / "seen.raw"])
    assert (tmp_path / "seen.raw").read_bytes()[: len(disguised.read_bytes())] == disguised.read_bytes()


@pytest.mark.parametrize(
    "format_", [DiskFormat.QCOW2, DiskFormat.VMDK, DiskFormat.VPC, DiskFormat.VHDX, DiskFormat.VDI]
)
def test_overlay_takes_an_image_that_is_complete_in_itself(format_: DiskFormat, tmp_path: Path) -> None:
    image = tmp_path / "image"
    create("-f", format_, image, "8M")
    assert make_overlay(disk_of(image, "xvda", format_), tmp_path / "overlay.qcow2").exists()


def test_overlay_refuses_an_image_with_a_backing_file(tmp_path: Path, raw: Path) -> None:
    image = tmp_path / "image.qcow2"
    create("-f", "qcow2", "-F", "raw", "-b", raw, image)
    with pytest.raises(GuestError, match=r"image\.qcow2 is not complete in itself: it names .*a,b=c:d\.raw"):
        make_overlay(disk_of(image, "xvda", DiskFormat.QCOW2), tmp_path / "overlay.qcow2")


def test_overlay_refuses_an_image_with_its_data_elsewhere(tmp_path: Path) -> None:
    image = tmp_path / "image.qcow2"
    create("-f", "qcow2", "-o", f"data_file={tmp_path / 'elsewhere'},data_file_raw=on", image, "8M")
    with pytest.raises(GuestError, match=r"it names .*elsewhere"):
        make_overlay(disk_of(image, "xvda", DiskFormat.QCOW2), tmp_path / "overlay.qcow2")


def test_overlay_refuses_a_vmdk_that_describes_other_files(tmp_path: Path) -> None:
    image = tmp_path / "image.vmdk"
    create("-f", "vmdk", "-o", "subformat=monolithicFlat", image, "8M")
    with pytest.raises(GuestError, match=r"it names .*image-flat"):
        make_overlay(disk_of(image, "xvda", DiskFormat.VMDK), tmp_path / "overlay.qcow2")


def test_overlay_says_which_file_is_not_in_the_format_it_was_told(tmp_path: Path, raw: Path) -> None:
    with pytest.raises(GuestError, match=r"a,b=c:d\.raw cannot be opened as qcow2: .*not in qcow2 format"):
        make_overlay(disk_of(raw, "xvda", DiskFormat.QCOW2), tmp_path / "overlay.qcow2")


def test_overlay_without_room_blames_the_folder_it_is_in_and_not_the_disk(
    raw: Path, tmp_path: Path, fake_tool: ToolMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tool(
        "qemu-img", 'echo "qemu-img: x.qcow2: Could not write refcount table: No space left on device" >&2; exit 1'
    )
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with pytest.raises(NoSpace) as refused:
        make_overlay(disk_of(raw, "xvda"), temporary / "ferry-guest-1" / "overlay.qcow2")
    assert refused.value.message.startswith(f"{temporary}: no space is left in this folder for temporary files")
    assert "TMPDIR=" in refused.value.remedy
    with pytest.raises(NoSpace) as refused:
        make_overlay(disk_of(raw, "xvda"), tmp_path / "overlay.qcow2")
    assert refused.value.message.startswith(f"{tmp_path}: no space is left here")
    assert "TMPDIR" not in refused.value.remedy
