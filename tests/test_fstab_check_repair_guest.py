"""Real guests, repaired in layers over real disks: the disks stay, the layers boot, and nothing is half-written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from demo.guest_image import make_demo_guest
from fstab_check.apply_patch import apply_patch
from fstab_check.boot_syntax import GRUBENV_SIZE
from fstab_check.codes import Code
from fstab_check.examine import read_guest
from fstab_check.patch import Change, FilePatch, Patch
from fstab_check.repair_guest import PlannedRepair, apply_repair, plan_guest_repair, undo_repair
from fstab_check.repair_in_workspace import repair_in_workspace
from migration.appliance import open_guest
from migration.disk import Disk
from migration.disk_file import find_disks, find_disks_in
from migration.errors import CorruptData, GuestError, InvalidInput
from migration.run import run
from migration.storage import fingerprint_of
from migration.target import Target
from migration.verdict import Verdict
from migration.workspace import open_workspace
from private_cloud.boot_test import boot_test
from tests.fstab_check_disks import MIB, building_appliance, disk_of, empty_disk, make_ext4, make_partitioned, make_tree
from tests.test_fstab_check_examine import A, B, C

if TYPE_CHECKING:
    import guestfs

pytestmark = pytest.mark.slow

FSTAB = """\
# 系统盘
/dev/vda2   /       ext4  defaults  1 1
/dev/vda1   /boot   ext4  defaults  1 2\r
/dev/vdb1\t/data\text4\tdefaults\t0 0
/dev/vdd1   /gone   xfs   defaults  0 0
f.cn-hangzhou.nas.aliyuncs.com:/ /nas nfs vers=3,nolock 0 0"""

REPAIRED = f"""\
# 系统盘
UUID={A}   /       ext4  defaults  1 1
UUID={B}   /boot   ext4  defaults  1 2\r
UUID={C}\t/data\text4\tdefaults\t0 0
/dev/vdd1   /gone   xfs   defaults,nofail,x-systemd.device-timeout=10s  0 0
# Disabled by Ferry: a server that an offline network does not reach
#f.cn-hangzhou.nas.aliyuncs.com:/ /nas nfs vers=3,nolock 0 0"""

LUKS = "4" * 8 + "-4444-4444-4444-" + "4" * 12
GRUB = "menuentry x {{\n linux /vmlinuz root={0} ro resume=UUID=x\n initrd /initrd\n}}\n"
ENTRY = "title x\nlinux /vmlinuz\ninitrd /initrd\noptions root={0} ro\n"
LABEL = "system_u:object_r:etc_t:s0"


def grubenv(root: str) -> str:
    return f"# GRUB Environment Block\nkernelopts=root={root} ro\n".ljust(GRUBENV_SIZE, "#")


@pytest.fixture
def server(tmp_path: Path) -> tuple[Disk, ...]:
    """A server with a /boot of its own and an encrypted data disk, which knows its disks by kernel names."""
    root = make_tree(
        tmp_path / "root",
        {
            "etc/fstab": FSTAB,
            "etc/crypttab": "secret /dev/vdc none luks\n",
            "etc/default/grub": 'GRUB_CMDLINE_LINUX="root=/dev/vda2"\n',
            "boot/.keep": "",
            "data/.keep": "",
        },
    )
    (root / "etc/fstab").chmod(0o640)
    boot = tmp_path / "boot"
    files = {
        "grub2/grub.cfg": GRUB.format("/dev/vda2"),
        "efi/EFI/centos/grubenv": grubenv("/dev/vda2"),
        "loader/entries/a.conf": ENTRY.format("/dev/vda2"),
    }
    for name, text in files.items():
        (boot / name).parent.mkdir(parents=True, exist_ok=True)
        (boot / name).write_text(text)
    (boot / "grub2/grubenv").symlink_to("../efi/EFI/centos/grubenv")
    root_image = make_ext4(tmp_path / "root.img", uuid=A, tree=root)
    run(["debugfs", "-w", "-R", f"ea_set /etc/fstab security.selinux {LABEL}", root_image])
    images = [make_ext4(tmp_path / "boot.img", uuid=B, tree=boot), root_image]
    folder = tmp_path / "w" / "disks"
    folder.mkdir(parents=True)
    make_partitioned(folder / "system.raw", images)
    make_partitioned(folder / "data_xvdb.raw", [make_ext4(tmp_path / "data.img", uuid=C)], label="gpt")
    with empty_disk(folder / "data_xvdc.raw", 8).open("r+b") as stream:
        stream.write(b"LUKS\xba\xbe\x00\x01".ljust(168, b"\0") + LUKS.encode())
    return find_disks_in(folder)


def digests(disks: Sequence[Disk]) -> list[str]:
    return [hashlib.sha256((disk.base or disk.path).read_bytes()).hexdigest() for disk in disks]


@contextmanager
def inside(disks: Sequence[Disk]) -> Iterator[guestfs.GuestFS]:
    """Open a guest with its root and its /boot mounted."""
    with open_guest(disks) as g:
        read_guest(g, disks)
        if "/dev/sda2" in g.list_partitions():
            g.mount_ro("/dev/sda1", "/boot")
        yield g


@pytest.mark.exhaustive
def test_repair_there_and_back(server: tuple[Disk, ...], tmp_path: Path) -> None:
    before = digests(server)
    with open_workspace(tmp_path / "w") as workspace:
        repair = repair_in_workspace(workspace, server)
        [layer] = repair.layers
        written = fingerprint_of(layer.path)
        again = repair_in_workspace(workspace, server)  # the journal knows it
    assert (again.diff, again.after, again.disks) == (repair.diff, repair.after, repair.disks)
    assert fingerprint_of(layer.path) == written
    with open_workspace(tmp_path / "w") as workspace:
        elsewhere = repair_in_workspace(workspace, server, targets=[Target.XEN])
    assert elsewhere.after is not None
    assert [forecast.target for forecast in elsewhere.after.forecasts] == [Target.XEN]
    assert elsewhere.disks == repair.disks
    assert fingerprint_of(layer.path) == written, "a repair holds on every bus: only the verdict is another"

    assert digests(server) == before
    assert layer.path == server[0].path.with_name("system.repaired.qcow2")
    assert sorted(path.name for path in layer.path.parent.iterdir()) == [
        "data_xvdb.raw", "data_xvdc.raw", "system.raw", "system.repaired.qcow2",
    ]  # fmt: skip
    assert [(finding.code, finding.line) for finding in repair.before.errors] == [(Code.DEVICE_NOT_EXPORTED, 5)]
    assert repair.after is not None
    assert not repair.after.errors
    assert "+#f.cn-hangzhou.nas.aliyuncs.com:/" in repair.diff
    assert {line.file for line in repair.changed} == {
        "/etc/fstab", "/etc/crypttab", "/etc/default/grub", "/boot/grub2/grub.cfg", "/boot/grub2/grubenv",
        "/boot/loader/entries/a.conf",
    }  # fmt: skip
    assert repair.left == ()

    with inside(repair.disks) as g:
        assert bytes(g.read_file("/etc/fstab")).decode() == REPAIRED
        assert bytes(g.read_file("/etc/fstab.ferry-before")).decode() == FSTAB
        assert bytes(g.read_file("/etc/crypttab")).decode() == f"secret UUID={LUKS} none luks\n"
        assert bytes(g.read_file("/boot/grub2/grub.cfg")).decode() == GRUB.format(f"UUID={A}")
        assert bytes(g.read_file("/boot/efi/EFI/centos/grubenv")).decode() == grubenv(f"UUID={A}")
        assert g.is_symlink("/boot/grub2/grubenv")
        assert bytes(g.read_file("/boot/loader/entries/a.conf")).decode() == ENTRY.format(f"UUID={A}")
        one, other = g.statns("/etc/fstab"), g.statns("/etc/fstab.ferry-before")
        assert [one[f"st_{fact}"] for fact in ("mode", "uid", "gid")] == [
            other[f"st_{fact}"] for fact in ("mode", "uid", "gid")
        ]
        assert one["st_mode"] & 0o777 == 0o640
        for path in ("/etc/fstab", "/etc/fstab.ferry-before"):
            assert bytes(g.getxattr(path, "security.selinux")).rstrip(b"\0").decode() == LABEL

    # The layer given as a disk is judged as it was, and there is nothing left to repair.
    disks = find_disks([str(layer.path), *(str(disk.path) for disk in server[1:])])
    second = plan_guest_repair(disks)
    assert second.before == repair.after
    assert second.patch.files == ()
    assert apply_repair(disks, second).layers == disks[:1]

    with pytest.raises(InvalidInput, match=r"system\.repaired\.qcow2 is there already"):
        apply_repair(server, planned(b"a"))
    assert undo_repair(server) == [layer.path]
    assert undo_repair(server) == []
    assert digests(server) == before


def links(tree: Path) -> Path:
    """Have /etc, /etc/fstab and a file that a repair would write lead elsewhere."""
    (tree / "conf").mkdir()
    (tree / "conf/tab").write_text("/dev/vda / ext4 defaults 0 1\n")
    (tree / "etc").rename(tree / "real-etc")
    (tree / "etc").symlink_to("/real-etc")
    (tree / "real-etc/fstab").symlink_to("/conf/tab")
    (tree / "real-etc/default").mkdir()
    (tree / "real-etc/default/grub").write_text("GRUB_CMDLINE_LINUX=root=/dev/vda\n")
    (tree / "real-etc/default/grub.ferry-before").symlink_to("/real-etc/made-by-the-repair")
    return tree


@pytest.mark.exhaustive
def test_repair_writes_through_symlinks_inside_the_guest_and_over_nothing_else(tmp_path: Path) -> None:
    image = make_ext4(tmp_path / "system.raw", uuid=A, tree=links(make_tree(tmp_path / "tree", {})))
    disks = [disk_of(image, "xvda")]
    repair = apply_repair(disks, plan_guest_repair(disks), directory=tmp_path / "out" / "there")
    assert [disk.path for disk in repair.layers] == [tmp_path / "out/there/system.repaired.qcow2"]
    with inside(repair.disks) as g:
        assert bytes(g.read_file("/conf/tab")).decode() == f"UUID={A} / ext4 defaults 0 1\n"
        assert bytes(g.read_file("/real-etc/fstab.ferry-before")).decode() == "/dev/vda / ext4 defaults 0 1\n"
        assert g.is_symlink("/etc/fstab")
        assert bytes(g.read_file("/etc/default/grub")).decode() == f"GRUB_CMDLINE_LINUX=root=UUID={A}\n"
        assert g.is_symlink("/real-etc/default/grub.ferry-before")
        assert not g.exists("/real-etc/made-by-the-repair")
    assert undo_repair(disks) == []  # there is none beside the disk
    assert undo_repair(disks, directory=tmp_path / "out" / "there") == [tmp_path / "out/there/system.repaired.qcow2"]


def planned(content: bytes) -> PlannedRepair:
    """Return a plan to write one line into an /etc/fstab that holds `content`."""
    change = Change(line=1, before=content.splitlines()[0], after=b"# new", reasons=("why",))
    patch = Patch(files=(FilePatch(path="/etc/fstab", before=content, changes=(change,)),))
    verdict = Verdict(root="xvda", operating_system="", findings=(), chain=())
    return PlannedRepair(before=verdict, patch=patch, devices=frozenset({"xvda"}))


TMPFS = "tmpfs /tmp tmpfs\n"


@pytest.mark.exhaustive
def test_full_guest_leaves_no_layer(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", {"etc/fstab": TMPFS})
    (tmp_path / "disks").mkdir()
    image = make_ext4(tmp_path / "disks" / "system.raw", uuid=A, tree=tree)
    with building_appliance(image) as g:
        g.mount("/dev/sda", "/")
        size, number = 8 * MIB, 0
        while size >= 1024:
            try:
                g.fallocate64(f"/filler-{number}", size)
            except RuntimeError:
                size //= 2
            number += 1
    disks = [disk_of(image, "xvda")]
    before = digests(disks)
    with pytest.raises(GuestError, match="the guest's file system is full; nothing was changed"):
        apply_repair(disks, planned(TMPFS.encode()))
    assert [path.name for path in image.parent.iterdir()] == ["system.raw"]
    assert digests(disks) == before


def test_guest_that_is_another_or_immutable_is_not_written_to(tmp_path: Path) -> None:
    image = make_ext4(tmp_path / "system.raw", uuid=A, tree=make_tree(tmp_path / "tree", {"etc/fstab": TMPFS}))
    run(["debugfs", "-w", "-R", "set_inode_field /etc/fstab flags 0x80010", image])  # extents, immutable
    disks = [disk_of(image, "xvda")]
    with open_guest(disks) as g:
        with pytest.raises(CorruptData, match="not what it was when the repair was planned"):
            apply_patch(g, disks, planned(b"another\n").patch, ())
        g.umount_all()
        with pytest.raises(GuestError, match="marked immutable"):
            apply_patch(g, disks, planned(TMPFS.encode()).patch, ())


@pytest.mark.exhaustive
def test_repaired_guest_boots_with_its_disks_in_another_order(tmp_path: Path) -> None:
    server = make_demo_guest(tmp_path)
    repair = apply_repair(server, plan_guest_repair(server))
    system, data, archive = repair.disks
    said = "\n".join(boot_test([system, archive, data]).log)
    assert "/data is mounted from /dev/vdc1, contents proven" in said
    assert "3 of 3 file systems mounted" in said
