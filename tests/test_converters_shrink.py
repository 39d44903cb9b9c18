from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from converters.convert import convert_disk, convert_file
from converters.extents import count_data
from converters.qemu_img import ImageFile
from converters.shrink import Shrink, shrink_disks, shrink_in_workspace
from converters.trim import TrimmedFilesystem, TrimSpoilt, trim_filesystems
from migration.appliance import open_guest
from migration.disk import Disk, DiskFormat
from migration.errors import GuestError, Interrupted, NoSpace
from migration.overlay import make_overlay
from migration.run import run
from migration.workspace import Workspace, open_workspace
from tests.fstab_check_disks import MIB, disk_of, make_partitioned

UUID = "5e1f0a52-7c8e-4f5e-9a43-d1c6f9b0b001"
KEPT = hashlib.shake_128(b"kept").digest(3 * MIB)


def rubbish(path: Path, mib: int) -> Path:
    """Make a file in which nothing is a hole, as a file system has become whose files were deleted."""
    source = random.Random(path.name)
    path.write_bytes(b"".join(source.randbytes(MIB) for _ in range(mib)))
    return path


def make_system(folder: Path) -> Disk:
    tree = folder / "tree"
    tree.mkdir()
    (tree / "kept").write_bytes(KEPT)
    ext4, unclean, vfat = rubbish(folder / "ext4", 48), rubbish(folder / "unclean", 16), rubbish(folder / "vfat", 40)
    run(["mke2fs", "-q", "-t", "ext4", "-E", "nodiscard", "-U", UUID, "-d", tree, ext4])
    run(["mke2fs", "-q", "-t", "ext4", "-E", "nodiscard", unclean])
    run(["debugfs", "-w", "-R", "ssv state 2", unclean])  # EXT2_ERROR_FS: the kernel has seen it damaged
    run(["mkfs.vfat", vfat])
    return disk_of(make_partitioned(folder / "system.raw", [ext4, unclean, vfat]), "xvda")


def make_data(folder: Path) -> tuple[Disk, Disk]:
    xfs, btrfs = rubbish(folder / "data_xvdb.raw", 320), rubbish(folder / "data_xvdc.raw", 128)
    run(["mkfs.xfs", "-q", "-K", "-f", xfs])
    run(["mkfs.btrfs", "-q", "-K", "-f", btrfs])
    return disk_of(xfs, "xvdb"), disk_of(btrfs, "xvdc")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
def test_free_space_is_left_out_and_files_are_not(tmp_path: Path) -> None:
    disks = (make_system(tmp_path), *make_data(tmp_path))
    before = [digest(disk.path) for disk in disks]
    with open_workspace(tmp_path / "w") as space:
        shrink = shrink_in_workspace(space, disks)

        assert {(one.volume, one.type) for one in shrink.filesystems if not one.why_not} == {
            ("xvda1", "ext4"), ("xvda3", "vfat"), ("xvdb", "xfs"), ("xvdc", "btrfs"),
        }  # fmt: skip
        [alone] = shrink.left_alone
        assert (alone.volume, "not clean" in alone.why_not) == ("xvda2", True)
        assert shrink.before > 540 * MIB
        # What is left: the unclean file system whole, the kept file, the tables of the others, and their logs.
        assert 16 * MIB + len(KEPT) < shrink.after < 150 * MIB
        assert "left out" in str(shrink)
        assert [digest(disk.path) for disk in disks] == before, "the downloaded disks are only read"

        assert shrink_in_workspace(space, disks) == shrink
        images = [convert_disk(space, disk, DiskFormat.QCOW2) for disk in shrink.disks]
        assert images[0].path == space.images / "system.qcow2"
        assert "system.trimmed.qcow2 (a layer over system.raw)" in images[0].proof
        assert sum(image.file_size for image in images) < shrink.after + 8 * MIB
    made = [replace(disk, path=image.path, format=DiskFormat.QCOW2) for disk, image in zip(disks, images, strict=True)]
    with open_guest(made) as g:
        g.mount("/dev/sda1", "/")
        assert g.checksum("sha256", "/kept") == hashlib.sha256(KEPT).hexdigest()
        g.umount_all()
        assert all(state == 0 for state in (g.fsck("ext4", "/dev/sda1"), g.fsck("vfat", "/dev/sda3")))
        assert g.xfs_repair("/dev/sdb", nomodify=True) == 0
        g.btrfs_fsck("/dev/sdc")


@pytest.mark.exhaustive
@pytest.mark.slow
def test_repair_survives_in_what_is_made_of_its_layer(tmp_path: Path) -> None:
    system = make_system(tmp_path)
    layer = tmp_path / "system.repaired.qcow2"
    with open_guest([system], layers={"xvda": layer}) as g:
        g.mount("/dev/sda1", "/")
        g.write("/repaired", "yes")
        g.umount_all()
        g.shutdown()
    repaired = replace(system, path=layer, format=DiskFormat.QCOW2, base=system.path, crc64=None)
    (tmp_path / "elsewhere").mkdir()
    [trimmed] = shrink_disks([repaired], tmp_path / "elsewhere").disks
    assert (trimmed.path, trimmed.base) == (tmp_path / "elsewhere/system.trimmed.qcow2", system.path)
    image = convert_file(trimmed, tmp_path / "elsewhere", DiskFormat.VMDK, compress=True)
    assert image.file_size < 40 * MIB
    raw = convert_file(trimmed, tmp_path / "elsewhere", DiskFormat.RAW)
    with open_guest([disk_of(raw.path, "xvda")]) as g:
        g.mount("/dev/sda1", "/")
        assert g.read_file("/repaired") == b"yes"
        assert g.checksum("sha256", "/kept") == hashlib.sha256(KEPT).hexdigest()


class Appliance:
    """Answers as libguestfs does, for guests that are hard to make; `states` is what tune2fs says, time after time."""

    def __init__(self, filesystems: dict[str, str], states: list[str] = []) -> None:  # noqa: B006  # copied
        self.filesystems, self.states, self.trimmed = filesystems, list(states), list[str]()
        self._mounted = ""

    def list_filesystems(self) -> dict[str, str]:
        return self.filesystems

    def tune2fs_l(self, _path: str) -> dict[str, str]:
        return {"Filesystem state": self.states.pop(0)} if self.states else {}

    def mount_options(self, options: str, path: str, point: str) -> None:
        assert "rw" in options.split(",")
        assert point == "/"
        if "unmountable" in path:
            raise RuntimeError("mount: wrong fs type\nand more")
        self._mounted = path

    def fstrim(self, point: str) -> None:
        assert point == "/"
        self.trimmed.append(self._mounted)

    def umount_all(self) -> None:
        self._mounted = ""

    def ping_daemon(self) -> None:
        pass

    def is_whole_device(self, path: str) -> bool:
        return not path[-1].isdecimal()

    def part_to_dev(self, path: str) -> str:
        return path.rstrip("0123456789")

    def part_to_partnum(self, path: str) -> int:
        return int(path.removeprefix(self.part_to_dev(path)))

    def device_index(self, path: str) -> int:
        if not path.startswith("/dev/sd"):
            raise RuntimeError("device not found")
        return ord(path[-1]) - ord("a")


def judge(appliance: Appliance) -> dict[str, str]:
    found = trim_filesystems(appliance, ["xvda", "xvdb"])
    return {one.volume: one.why_not for one in found}


def test_volumes_are_called_as_the_cloud_calls_them() -> None:
    appliance = Appliance(
        {"/dev/sda2": "xfs", "/dev/sdb": "btrfs", "btrfsvol:/dev/sdb/@": "btrfs", "/dev/vg0/r": "xfs"}
    )
    assert judge(appliance) == {"xvda2": "", "xvdb": "", "vg0/r": ""}
    assert appliance.trimmed == ["/dev/sda2", "/dev/sdb", "/dev/vg0/r"]


def test_sleeping_guest_is_left_alone_as_a_whole() -> None:
    appliance = Appliance({"/dev/sda1": "xfs", "/dev/sda2": "swsuspend", "/dev/sdb": "vfat"})
    assert all("suspended" in why_not for why_not in judge(appliance).values())
    assert appliance.trimmed == []


@pytest.mark.parametrize(
    ("path", "kind", "states", "said"),
    [
        pytest.param("/dev/sda1", "ntfs", [], "ntfs is not trimmed", id="ntfs"),
        pytest.param("/dev/sda1", "crypto_LUKS", [], "encrypted", id="luks"),
        pytest.param("/dev/md127", "xfs", [], "RAID", id="raid"),
        pytest.param("/dev/sda1", "ext4", ["clean with errors"], r"not clean (clean with errors)", id="damaged ext4"),
        pytest.param("/dev/sda1", "ext2", ["not clean"], "not clean", id="ext2 in use"),
        pytest.param("/dev/sda1", "ext3", [], "not clean (unknown)", id="ext3 that says nothing"),
        pytest.param("/dev/unmountable/x", "xfs", [], "mount: wrong fs type", id="unmountable"),
        pytest.param("/dev/sda1", "evil\x1b[31m", [], r"evil\x1b[31m is not trimmed", id="control characters"),
    ],
)  # fmt: skip
def test_doubtful_file_system_is_left_alone(path: str, kind: str, states: list[str], said: str) -> None:
    appliance = Appliance({path: kind}, states)
    [why_not] = judge(appliance).values()
    assert said in why_not
    assert appliance.trimmed == []


@pytest.mark.parametrize("kind", ["swap", "unknown", "", "LVM2_member", "linux_raid_member"])
def test_what_is_no_file_system_is_passed_over(kind: str) -> None:
    assert judge(Appliance({"/dev/sda1": kind})) == {}


def test_damage_that_shows_while_trimming_spoils_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrimSpoilt, match="damaged"):
        judge(Appliance({"/dev/sda1": "ext4"}, ["clean", "clean with errors"]))
    disk = disk_of(rubbish(tmp_path / "system.raw", 1), "xvda")

    @contextmanager
    def spoilt(disks: Any, *, layers: dict[str, Path], **_: Any) -> Iterator[Appliance]:
        make_overlay(disks[0], layers["xvda"])
        yield Appliance({"/dev/sda": "ext4"}, ["clean", "clean with errors"])

    monkeypatch.setattr("converters.shrink.open_guest", spoilt)
    (tmp_path / "layers").mkdir()
    shrink = shrink_disks([disk], tmp_path / "layers")
    assert (shrink.disks, "damaged" in shrink.why_not) == ((disk,), True)
    assert list((tmp_path / "layers").iterdir()) == []


def test_disks_that_cannot_be_looked_into_are_converted_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = disk_of(rubbish(tmp_path / "system.raw", 1), "xvda")

    @contextmanager
    def refuse(*disks: Any, **_: Any) -> Iterator[None]:
        if disks:
            raise GuestError("no appliance", "remedy")
        yield

    monkeypatch.setattr("converters.shrink.open_guest", refuse)
    with open_workspace(tmp_path / "w") as space:
        shrink = shrink_in_workspace(space, [disk])
        assert (shrink.disks, "no appliance" in shrink.why_not) == ((disk,), True)
        assert "no appliance" in str(shrink)
        assert space.journal.steps() == [], "it is tried again the next time"


def test_stop_is_no_reason_to_convert(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        shrink_disks([disk_of(rubbish(tmp_path / "system.raw", 1), "xvda")], tmp_path, stop=stop)


def test_folder_without_room_is_refused_at_once(tmp_path: Path) -> None:
    disk = replace(disk_of(rubbish(tmp_path / "system.raw", 1), "xvda"), virtual_size=1 << 62)
    with pytest.raises(NoSpace, match="leaving out"):
        shrink_disks([disk], tmp_path)


def record(space: Workspace, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Have `shrink_in_workspace` make layers without an appliance; return where they lay, growing with each call."""
    made: list[Path] = []

    def shrink(disks: Any, folder: Path, **_: Any) -> Shrink:
        layer = make_overlay(disks[0], folder / "system.trimmed.qcow2")
        made.append(layer)
        trimmed = replace(disks[0], path=layer, format=DiskFormat.QCOW2, base=disks[0].path)
        return Shrink(disks=(trimmed,), filesystems=(TrimmedFilesystem(volume="xvda", type="xfs"),), before=2, after=1)

    monkeypatch.setattr("converters.shrink.shrink_disks", shrink)
    shrink_in_workspace(space, [disk])
    return made


def test_layers_are_made_anew_when_disk_or_layer_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = disk_of(rubbish(tmp_path / "system.raw", 1), "xvda")
    with open_workspace(tmp_path / "w") as space:
        made = record(space, disk, monkeypatch)
        shrink_in_workspace(space, [disk])
        assert len(made) == 1
        made[0].unlink()
        shrink_in_workspace(space, [disk])
        assert len(made) == 2
        with disk.path.open("r+b") as file:
            file.write(b"x")
        shrink_in_workspace(space, [disk])
        assert len(made) == 3


def test_data_is_counted_without_holes_and_zeros(tmp_path: Path) -> None:
    path = rubbish(tmp_path / "system.raw", 2)
    with path.open("r+b") as file:
        file.truncate(8 * MIB)
    assert count_data(ImageFile(path=path, format=DiskFormat.RAW)) == 2 * MIB
