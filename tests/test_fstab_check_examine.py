"""Real guests on real disks, looked at through a real appliance."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from fstab_check.codes import Code
from fstab_check.examine import examine_guest
from fstab_check.layout import GuestFilesystem
from fstab_check.root import MAX_FSTAB, find_roots, mount_root, parse_pretty_name, read_fstab
from fstab_check.survey import survey_guest
from migration.appliance import open_guest
from migration.disk import Disk, DiskRole
from migration.errors import GuestError, InvalidInput
from migration.run import run
from migration.target import Target
from migration.verdict import Outcome, Verdict
from tests.fstab_check_disks import (
    MIB,
    building_appliance,
    disk_of,
    empty_disk,
    make_cpio,
    make_ext4,
    make_partitioned,
    make_tree,
    make_xfs,
)
from tests.fstab_check_fixtures import oddities

A, B, C, D = (digit * 8 + "-" + "-".join([digit * 4] * 3) + "-" + digit * 12 for digit in "1234")


def codes_of(verdict: Verdict) -> list[tuple[str, int | None]]:
    return [(finding.code, finding.line) for finding in oddities(verdict)]


LVM_FSTAB = f"""\
/dev/mapper/sys--vg-root / ext4 defaults 0 1
UUID={A} /boot ext4 defaults 0 2
/dev/data-vg/store /store ext4 defaults 0 0
UUID={C} /mirror ext4 defaults 0 0
/dev/mapper/secret /secret ext4 defaults 0 0
"""

BTRFS_FSTAB = f"UUID={D} / btrfs subvol=@ 0 0\nPARTLABEL=part\\0402 /old ext4 defaults 0 0\n"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Make, in one launch, the disks that only a kernel can make: LVM, RAID, btrfs subvolumes, Windows."""
    folder = tmp_path_factory.mktemp("built")
    boot = make_ext4(folder / "boot.img", uuid=A, label="boot")
    disks = {
        "lvm-system": make_partitioned(folder / "lvm-system.raw", [boot, 48]),
        "lvm-data-1": empty_disk(folder / "lvm-data-1.raw", 24),
        "lvm-data-2": empty_disk(folder / "lvm-data-2.raw", 24),
        "mirror-1": empty_disk(folder / "mirror-1.raw", 24),
        "mirror-2": empty_disk(folder / "mirror-2.raw", 24),
        "btrfs": make_partitioned(folder / "btrfs.raw", [128], label="gpt"),
        "windows": make_partitioned(folder / "windows.raw", [16]),
    }
    with building_appliance(*disks.values()) as g:
        g.pvcreate("/dev/sda2")
        g.vgcreate("sys-vg", ["/dev/sda2"])
        g.lvcreate("root", "sys-vg", 32)
        g.mkfs("ext4", "/dev/sys-vg/root")
        g.mount("/dev/sys-vg/root", "/")
        for path in ("/etc", "/bin", "/boot", "/store", "/mirror"):
            g.mkdir(path)
        g.write("/etc/fstab", LVM_FSTAB.encode())
        g.umount_all()

        g.pvcreate("/dev/sdb")
        g.pvcreate("/dev/sdc")
        g.vgcreate("data-vg", ["/dev/sdb", "/dev/sdc"])
        g.lvcreate("store", "data-vg", 36)  # larger than one of the two
        g.mkfs("ext4", "/dev/data-vg/store")

        g.md_create("mirror", ["/dev/sdd", "/dev/sde"], level="raid1")
        g.pvcreate("/dev/md/mirror")
        g.vgcreate("safe-vg", ["/dev/md/mirror"])
        g.lvcreate("safe", "safe-vg", 12)
        g.mke2fs("/dev/safe-vg/safe", uuid=C, fstype="ext4")

        g.mkfs_btrfs(["/dev/sdf1"])
        g.set_uuid("/dev/sdf1", D)
        g.mount("/dev/sdf1", "/")
        g.btrfs_subvolume_create("/home")
        g.btrfs_subvolume_create("/@")
        for path in ("/@/etc", "/@/usr", "/@/old"):
            g.mkdir(path)
        g.write("/@/etc/fstab", BTRFS_FSTAB.encode())
        g.umount_all()

        g.mkfs("ntfs", "/dev/sdg1")
        g.mount("/dev/sdg1", "/")
        g.mkdir_p("/Windows/System32")
    return disks


@pytest.mark.slow
def test_examine_finds_the_root_on_lvm_and_follows_every_kind_of_volume(built: dict[str, Path], tmp_path: Path) -> None:
    # No appliance is needed for what makes blkid say crypto_LUKS: the magic, the version and a UUID.
    luks = empty_disk(tmp_path / "luks.raw", 8)
    with luks.open("r+b") as stream:
        stream.write(b"LUKS\xba\xbe\x00\x01".ljust(168, b"\0") + D.encode())
    disks = [
        disk_of(built["lvm-system"], "xvda"),
        disk_of(built["lvm-data-1"], "xvdb"),  # and lvm-data-2, which would be xvdc, is left behind
        disk_of(built["mirror-1"], "xvdd"),
        disk_of(built["mirror-2"], "xvde"),
        disk_of(luks, "xvdf"),
    ]
    verdict = examine_guest(disks, expected_devices=["xvda", "xvdb", "xvdc", "xvdd", "xvde", "xvdf"])
    assert verdict.root == "xvda2:lvm sys-vg/root"
    assert verdict.operating_system == ""
    assert [(entry.device, entry.partition, entry.filesystem) for entry in verdict.chain] == [
        ("xvda", 2, "ext4"),
        ("xvda", 1, "ext4"),
        ("xvdb", None, None),
        ("xvdd", None, "ext4"),
        (None, None, None),
    ]
    assert verdict.chain[3].resolved == "lvm safe-vg/safe on xvdd+xvde"
    assert codes_of(verdict) == [
        (Code.VOLUME_INCOMPLETE, 3),
        (Code.MAPPING_UNEXAMINED, 5),
        (Code.MOUNTPOINT_MISSING, 5),
        (Code.BOOT_CONFIG_UNEXAMINED, None),
        (Code.DISK_NOT_GIVEN, None),
    ]
    assert verdict.errors[0].evidence == (
        "group data-vg lies on xvdb, and 1 more that are not there; "
        "it may be on xvdc, which the image has and was not given"
    )


@pytest.mark.slow
def test_examine_finds_the_root_in_a_btrfs_subvolume_before_an_old_copy(built: dict[str, Path], tmp_path: Path) -> None:
    old = make_ext4(tmp_path / "old.img", uuid=A, tree=make_tree(tmp_path / "tree", {"etc/fstab": "garbage\n"}))
    data = make_partitioned(tmp_path / "data.raw", [1, old], label="gpt")
    # The order in which disks are given says nothing; their names do.
    verdict = examine_guest([disk_of(data, "xvdb"), disk_of(built["btrfs"], "xvda")])
    assert verdict.root == "xvda1:subvol @"
    assert codes_of(verdict) == [(Code.ROOT_AMBIGUOUS, None), (Code.BOOT_CONFIG_UNEXAMINED, None)]
    assert oddities(verdict)[0].evidence == "also: xvdb2"
    assert [(entry.device, entry.partition) for entry in verdict.chain] == [("xvda", 1), ("xvdb", 2)]


@pytest.mark.slow
def test_examine_says_that_windows_has_no_fstab(built: dict[str, Path]) -> None:
    with pytest.raises(GuestError, match="Windows image: there is no /etc/fstab; Windows lies on xvda1"):
        examine_guest([disk_of(built["windows"], "xvda")])


@pytest.mark.slow
def test_examine_is_clean_for_a_server_as_the_cloud_makes_them(tmp_path: Path) -> None:
    fstab = (
        f"# 系统盘\nUUID={A} /                       ext4    defaults        1 1\n"
        f"/dev/vdb1 /data ext4 defaults 0 0\nUUID={C} /srv xfs defaults,nofail 0 0\n"
        "tmpfs /tmp tmpfs size=64m 0 0\n/swapfile none swap sw 0 0\n/data/www /var/www none bind 0 0\n"
    )
    grub = f"menuentry x {{\n  linux /boot/vmlinuz-5.10 root=UUID={A} ro console=ttyS0\n}}\n"
    boot = {
        "boot/grub2/grub.cfg": grub, "boot/vmlinuz-5.10": "",
        "lib/modules/5.10/modules.builtin": "kernel/drivers/virtio/virtio_pci.ko\nkernel/drivers/scsi/sd_mod.ko\n",
        "boot/initramfs-5.10.img": make_cpio("lib/virtio_blk.ko", "lib/virtio_scsi.ko.xz").decode(),
    }  # fmt: skip
    tree = make_tree(tmp_path / "tree", {"etc/fstab": fstab, "swapfile": "", "data/.keep": "", "srv/.keep": "", **boot})
    root = make_ext4(tmp_path / "root.img", uuid=A, label="root", tree=tree)
    data = make_ext4(tmp_path / "data.img", uuid=B)
    disks = [
        disk_of(make_partitioned(tmp_path / "system.raw", [root]), "xvda"),
        disk_of(make_partitioned(tmp_path / "data_xvdb.raw", [data], label="gpt"), "xvdb"),
        disk_of(make_xfs(tmp_path / "data_xvdc.raw", uuid=C), "xvdc"),
    ]
    before = [disk.path.read_bytes() for disk in disks]
    verdict = examine_guest(disks)
    assert verdict.is_clean, verdict.findings
    assert verdict.root == "xvda1"
    assert verdict.operating_system == 'Test Linux 9 ("Nine")'
    assert codes_of(verdict) == [
        (Code.DEVICE_NAME, 3),
        (Code.MOUNTPOINT_MISSING, 5),
        (Code.FILE_UNEXAMINED, 7),
        (Code.MOUNTPOINT_MISSING, 7),
        (Code.DRIVER_MISSING, None),
    ]
    fates = {forecast.target: forecast.lines for forecast in verdict.forecasts}
    # Not BOOTS: a bind mount's source lies on another mount, where nobody looked.
    assert [line.outcome for line in fates[Target.VIRTIO]] == [Outcome.MOUNTED] * 6 + [Outcome.UNKNOWN]
    assert [line.outcome for line in fates[Target.SCSI]][:3] == [Outcome.MOUNTED, Outcome.MOUNTED, Outcome.EMERGENCY]
    assert fates[Target.SATA][0].outcome is Outcome.EMERGENCY
    assert fates[Target.VIRTIO][3].device == "/dev/vdc"
    assert [(entry.device, entry.partition, entry.filesystem, entry.uuid) for entry in verdict.chain[:3]] == [
        ("xvda", 1, "ext4", A),
        ("xvdb", 1, "ext4", B),
        ("xvdc", None, "xfs", C),
    ]
    assert [disk.path.read_bytes() for disk in disks] == before  # the original is never edited


@pytest.mark.slow
def test_what_leads_nowhere_is_not_taken_for_what_lies_beside_it(tmp_path: Path) -> None:
    """A swap file that is a dangling symlink, and the menu that an earlier boot loader left under /boot."""
    files = {
        "etc/fstab": f"UUID={A} / ext4 defaults 0 1\nUUID={B} /boot ext4 nofail 0 0\n/swapfile none swap sw 0 0\n",
        "boot/grub2/grub.cfg": f"menuentry x {{\n  linux /boot/vmlinuz root=UUID={A} ro\n}}\n",
    }
    tree = make_tree(tmp_path / "tree", files)
    (tree / "swapfile").symlink_to("/mnt/old/swapfile")
    verdict = examine_guest([disk_of(make_ext4(tmp_path / "system.raw", uuid=A, tree=tree), "xvda")])
    kernel, _, _, swap = verdict.forecasts[0].lines
    assert (kernel.outcome, swap.outcome) == (Outcome.UNKNOWN, Outcome.IGNORED)
    [finding] = [one for one in verdict.findings if one.code == Code.BOOT_CONFIG_UNEXAMINED]
    assert (
        finding.evidence
        == "/boot: what is mounted there could not be looked at: line 2 of fstab does not lead to a file system"
    )


def hostile_disks(folder: Path) -> list[Disk]:
    """Make a root file system without a partition table for each trick with /etc/fstab."""
    trees = {name: make_tree(folder / name, {}) for name in ("link", "escape", "fifo", "directory", "missing", "node")}
    (trees["link"] / "conf").mkdir()
    (trees["link"] / "conf/fstab").write_text("tmpfs /tmp tmpfs\n")
    (trees["link"] / "etc").rename(trees["link"] / "real-etc")
    (trees["link"] / "etc").symlink_to("/real-etc")
    (trees["link"] / "real-etc/fstab").symlink_to("/conf/fstab")
    (trees["escape"] / "etc/fstab").symlink_to("../../../../../../proc/version")
    os.mkfifo(trees["fifo"] / "etc/fstab")
    (trees["directory"] / "etc/fstab").mkdir()
    trees["huge"] = make_tree(folder / "huge", {"etc/fstab": "tmpfs /tmp tmpfs defaults 0 0\n" * 350_000})
    disks = []
    for number, (name, tree) in enumerate(trees.items()):
        image = make_ext4(folder / f"{name}.raw", uuid=A[:-2] + f"{number:02}", label=name, tree=tree, mib=24)
        disks.append(disk_of(image, f"xvd{chr(ord('a') + number)}"))
    run(["debugfs", "-w", "-f", "-", folder / "node.raw"], stdin="cd /etc\nmknod fstab b 8 0\n")
    broken = make_ext4(folder / "broken.raw", uuid=B, label="broken", mib=24)
    with broken.open("r+b") as stream:
        stream.seek(4096)  # behind the superblock, which goes on saying ext4
        stream.write(os.urandom(2 * MIB))
    # A RAW disk that begins like a qcow2 with a file of this machine behind it: probing would open that file.
    secret = folder / "secret"
    secret.write_text("a file of this machine".ljust(MIB), encoding="utf-8")
    disguised = folder / "disguised.raw"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", secret, disguised])
    return [*disks, disk_of(broken, "xvdh"), disk_of(disguised, "xvdi")]


@pytest.mark.slow
def test_hostile_disks_show_nothing_but_what_is_inside_them(tmp_path: Path) -> None:
    disks = hostile_disks(tmp_path)
    found: dict[str, tuple[str, bytes]] = {}
    with open_guest(disks) as g:
        survey = survey_guest(g, disks)
        survey, roots = find_roots(g, survey)
        for root in roots:
            mount_root(g, survey, root)
            file = read_fstab(g)
            assert root.volume.content is not None
            found[root.volume.content.label] = (file.failure or "", file.content)
            g.umount_all()
        assert bytes(g.pread_device("/dev/sdi", 4, 0)) == b"QFI\xfb"
    assert roots[0].volume.name == "xvda"  # the system disk's
    assert [root.has_fstab for root in roots][-1] is False
    assert len(found.pop("huge")[1]) in range(MAX_FSTAB - 100, MAX_FSTAB + 1)
    assert found == {
        "link": ("", b"tmpfs /tmp tmpfs\n"),
        "escape": (Code.FSTAB_UNREADABLE, b""),
        "fifo": (Code.FSTAB_UNREADABLE, b""),
        "directory": (Code.FSTAB_UNREADABLE, b""),
        "node": (Code.FSTAB_UNREADABLE, b""),
        "missing": (Code.FSTAB_MISSING, b""),
    }
    broken = survey.layout.disk(7)
    assert broken is not None
    assert broken.content is not None
    assert broken.content.unmountable
    # It is seen all the same.
    assert replace(broken.content, unmountable="") == GuestFilesystem(type="ext4", uuid=B, label="broken")
    assert survey.layout.disks[0].role is DiskRole.SYSTEM


@pytest.mark.parametrize(
    ("device", "message"),
    [
        pytest.param("xvda", "two disks are given as xvda", id="twice"),
        pytest.param("vda", "two disks are given as xvda", id="twice-by-two-names"),
        pytest.param("xvdb1", "'xvdb1' is not a disk name", id="partition"),
        pytest.param("disk", "'disk' is not a disk name", id="word"),
    ],
)
def test_examine_refuses_disks_it_cannot_tell_apart(device: str, message: str, tmp_path: Path) -> None:
    path = empty_disk(tmp_path / "disk.raw", 1)
    with pytest.raises(InvalidInput, match=message):
        examine_guest([disk_of(path, "xvda"), disk_of(path, device)])


def test_examine_refuses_no_disks_at_all() -> None:
    with pytest.raises(InvalidInput, match="no disk"):
        examine_guest([])


@pytest.mark.parametrize(
    ("text", "name"),
    [
        pytest.param(
            'ID=x\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n', "Debian GNU/Linux 12 (bookworm)", id="quotes"
        ),
        pytest.param("PRETTY_NAME='CentOS 7'\r\n", "CentOS 7", id="single-quotes-and-crlf"),
        pytest.param("PRETTY_NAME=Alpine\n", "Alpine", id="no-quotes"),
        pytest.param('PRETTY_NAME="a \\"b\\" \\$c"\n', 'a "b" $c', id="escapes"),
        pytest.param("NAME=x\nOLD_PRETTY_NAME=y\n", "", id="none"),
    ],
)
def test_parse_pretty_name_reads_os_release(text: str, name: str) -> None:
    assert parse_pretty_name(text) == name
