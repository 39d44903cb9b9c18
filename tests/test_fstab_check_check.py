"""Every finding is made when it should be, weighs what the boot makes of it, and points to its line."""

from __future__ import annotations

from dataclasses import replace

import pytest
from _pytest.mark.structures import ParameterSet

from fstab_check.check import MAX_ENTRIES, check_guest
from fstab_check.codes import Code
from fstab_check.drivers import KernelDrivers
from fstab_check.facts import FstabFile, PathKind, RootFilesystem
from fstab_check.guest_config import GuestConfig
from fstab_check.layout import (
    GuestDisk,
    GuestLayout,
    LogicalVolume,
    RaidArray,
    VolumeGroup,
    volume_of_partition,
    with_unmountable,
)
from fstab_check.line_check import can_mount
from fstab_check.unit_files import Units
from migration.device import DeviceName
from migration.disk import DiskRole
from migration.verdict import Outcome, Severity
from tests.fstab_check_fixtures import (
    DATA_LINE,
    DATA_UUID,
    GOOD_FSTAB,
    LAYOUT,
    ROOT_LINE,
    ROOT_UUID,
    SWAP_UUID,
    WANTED,
    XFS_LINE,
    XFS_UUID,
    XVDA,
    XVDB,
    XVDC,
    autofs_config,
    cloud_config,
    config_of,
    data_disk,
    filesystem,
    finding,
    judge,
    lvm_and_md,
    make_guest,
    mount_text,
    oddities,
    partition,
    system_disk,
    unit,
    with_disks,
)

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO

LUKS = with_disks(data_disk(3, content=filesystem("crypto_LUKS", "luks-uuid")))
SWAP = with_disks(data_disk(3, content=filesystem("swap", SWAP_UUID, "swap1")))
PV = filesystem("LVM2_member", "pv-uuid")
GROUP = VolumeGroup(
    name="vg-0",
    members=(DeviceName(3), DeviceName(4)),
    volumes=(LogicalVolume(name="data", content=filesystem("ext4", "lv-uuid")),),
)
LVM = replace(with_disks(data_disk(3, content=PV), data_disk(4, content=PV)), groups=(GROUP,))
BROKEN_LVM = replace(
    with_disks(data_disk(3, content=PV)), groups=(replace(GROUP, members=(DeviceName(3),), missing_members=1),)
)
ARRAY = RaidArray(
    uuid="ab12", name="host:0", members=(DeviceName(3), DeviceName(4)), content=filesystem("xfs", "md-uuid")
)
MEMBER = filesystem("linux_raid_member", "ab12", "host:0")
RAID = replace(with_disks(data_disk(3, content=MEMBER), data_disk(4, content=MEMBER)), arrays=(ARRAY,))
BTRFS = with_disks(
    data_disk(3, content=filesystem("btrfs", "bt", sub="1")), data_disk(4, content=filesystem("btrfs", "bt", sub="2"))
)
COPY = with_disks(data_disk(3, content=filesystem("ext4", DATA_UUID)))
UNMOUNTABLE = with_unmountable(LAYOUT, {"xvdb1": "Structure needs cleaning."})
BROKEN = with_disks(GuestDisk(name=DeviceName(3), role=DiskRole.DATA, unexamined="Input/output error"))
GAP = with_disks(data_disk(4, partition(1, filesystem("ext4", "e"))))  # and no xvdd before it
VIRTIO_KERNEL = KernelDrivers(release="6.1", modules=frozenset({"virtio_pci", "virtio_blk"}))
UNREAD_KERNEL = KernelDrivers(release="6.1", unexamined="packed by lz4")
OLD_ROOT = RootFilesystem(volume=volume_of_partition(XVDB, XVDB.partitions[0]))
REAL_ROOT = RootFilesystem(volume=volume_of_partition(XVDA, XVDA.partitions[0]))

OVERRIDE = config_of(unit("data.mount", mount_text("/dev/vdz1", "/data")))
FORMATTING = cloud_config("fs_setup:\n- {device: vdb1, partition: none}\n")
ALIYUN = cloud_config("datasource_list: [AliYun]")
LV_LINE, MD_LINE = "/dev/vg-0/data /d ext4", "/dev/md0 /d xfs"
ONLY_LOOPS = 'devices { filter = [ "a|loop|", "r|.*|" ] }'
LOST_LINE = "LABEL=none /d ext4 nofail"
SERVICE = unit("a.service", "[Unit]\nRequiresMountsFor=/d/a", pulled_in_by=WANTED)
NEEDS_UNIT = "tmpfs /t tmpfs x-systemd.requires=a.service"
NO_UNITS = GuestConfig(units=Units(all_names=frozenset({"b.service"})))
EMPTY_UNIT = config_of(unit("data.mount", "[Mount]\nWhere=/data\n"))


def line(name: str, code: Code, severity: Severity, text: str, number: int | None = 4, **facts: object) -> ParameterSet:
    """Return a row in which one line more, the fourth, has something wrong with it."""
    return pytest.param(code, severity, number, GOOD_FSTAB + text + "\n", facts, id=name)


def whole(name: str, code: Code, severity: Severity, number: int | None, text: str, **facts: object) -> ParameterSet:
    """Return a row with a whole file, and the line that the finding points to."""
    return pytest.param(code, severity, number, text, facts, id=name)


SUBVOLUMES = with_disks(
    data_disk(3, content=replace(filesystem("btrfs", "b" * 8), subvolumes=frozenset({(256, "@data")})))
)

# One row for each code at least; a test below sees to it.
ROWS = [
    line("subvolume", Code.SUBVOLUME_MISSING, ERROR, f"UUID={'b' * 8} /b btrfs subvol=@no 0 0", layout=SUBVOLUMES),
    whole("no-fstab", Code.FSTAB_MISSING, ERROR, None, "", file=FstabFile(failure=Code.FSTAB_MISSING, evidence="x")),
    whole(
        "fifo", Code.FSTAB_UNREADABLE, ERROR, None, "", file=FstabFile(failure=Code.FSTAB_UNREADABLE, evidence="a fifo")
    ),
    whole(
        "huge",
        Code.FSTAB_TOO_LARGE,
        WARNING,
        None,
        GOOD_FSTAB,
        file=FstabFile(failure=Code.FSTAB_TOO_LARGE, evidence="x"),
    ),
    whole("many-lines", Code.FSTAB_TOO_LARGE, WARNING, None, GOOD_FSTAB + "tmpfs /tmp tmpfs\n" * MAX_ENTRIES),
    line("crlf", Code.FSTAB_CRLF, WARNING, "tmpfs /tmp tmpfs defaults\r"),
    line("encoding", Code.FSTAB_ENCODING, INFO, "tmpfs /\\377 tmpfs"),
    line("control-characters", Code.FSTAB_CONTROL_CHARACTERS, WARNING, "tmpfs /\x1b[2J tmpfs"),
    line("two-fields", Code.LINE_INCOMPLETE, WARNING, "tmpfs /tmp"),
    line("late-comment", Code.LINE_NUMBER_INVALID, WARNING, "tmpfs /tmp tmpfs defaults # tmp"),
    line("nul", Code.LINE_BROKEN, WARNING, "tmpfs\0 /tmp tmpfs"),
    line("endless-line", Code.LINE_BROKEN, WARNING, "tmpfs /tmp tmpfs " + "o" * 20_000),
    line("odd-escape", Code.LINE_READ_DIFFERENTLY, WARNING, "tmpfs /a\\043b tmpfs"),
    line("missing-disk", Code.DEVICE_NOT_EXPORTED, ERROR, "/dev/vdd1 /d ext4 defaults 0 0"),
    line("missing-disk-nofail", Code.DEVICE_NOT_EXPORTED, WARNING, "/dev/vdd1 /d ext4 nofail 0 0"),
    line("missing-disk-noauto", Code.DEVICE_NOT_EXPORTED, INFO, "/dev/vdd1 /d ext4 noauto 0 0"),
    line("missing-disk-netdev", Code.DEVICE_NOT_EXPORTED, WARNING, "/dev/vdd1 /d ext4 _netdev 0 0"),
    line(
        "missing-disk-automount", Code.DEVICE_NOT_EXPORTED, WARNING, "/dev/vdd1 /d ext4 noauto,x-systemd.automount 0 0"
    ),
    line("missing-swap", Code.DEVICE_NOT_EXPORTED, WARNING, "/dev/vdd1 none swap sw 0 0"),
    whole("kernel-name", Code.DEVICE_NAME, INFO, 2, ROOT_LINE + "/dev/vdb1 /data ext4 defaults 0 0\n" + XFS_LINE),
    line("gap-before-disk", Code.DEVICE_NAME_SHIFTS, ERROR, "/dev/vde1 /e ext4 defaults 0 0", layout=GAP),
    line("gap-before-disk-noauto", Code.DEVICE_NAME_SHIFTS, WARNING, "/dev/vde1 /e ext4 noauto 0 0", layout=GAP),
    line("no-such-partition", Code.PARTITION_MISSING, ERROR, "/dev/vdb3 /d ext4 defaults 0 0"),
    line("partition-of-a-whole-disk-file-system", Code.PARTITION_MISSING, ERROR, "/dev/vdc1 /d xfs defaults 0 0"),
    line("disk-for-partition", Code.WHOLE_DISK_PARTITIONED, ERROR, "/dev/vdb /d ext4 defaults 0 0"),
    line("empty-partition", Code.FILESYSTEM_MISSING, ERROR, "/dev/vdb2 /d ext4 defaults 0 0"),
    line("physical-volume", Code.FILESYSTEM_MISSING, ERROR, "/dev/vdd /d ext4 defaults 0 0", layout=LVM),
    line("uuid-of-nothing", Code.TAG_UNMATCHED, ERROR, "UUID=9999 /d ext4 defaults 0 0"),
    line("empty-label", Code.TAG_UNMATCHED, ERROR, "LABEL= /d ext4 defaults 0 0"),
    line("uuid-of-a-physical-volume", Code.TAG_UNMATCHED, ERROR, "UUID=pv-uuid /d ext4 defaults 0 0", layout=LVM),
    whole("cloned-disk", Code.TAG_AMBIGUOUS, ERROR, 2, GOOD_FSTAB, layout=COPY),
    line("upper-case", Code.TAG_CASE, ERROR, "UUID=LV-UUID /d ext4 defaults 0 0", layout=LVM),
    line("by-id", Code.CLOUD_DISK_ID, ERROR, "/dev/disk/by-id/virtio-bp1d4foh3ef8bntl-part1 /d ext4 defaults 0 0"),
    line("by-path", Code.CLOUD_DISK_PATH, WARNING, "/dev/disk/by-path/pci-0000:00:06.0 /d ext4 nofail 0 0"),
    line("no-such-group", Code.VOLUME_MISSING, ERROR, "/dev/mapper/vg--0-data /d ext4 defaults 0 0"),
    line("no-such-volume", Code.VOLUME_MISSING, ERROR, "/dev/vg-0/other /d ext4 defaults 0 0", layout=LVM),
    line(
        "missing-physical-volume",
        Code.VOLUME_INCOMPLETE,
        ERROR,
        "/dev/vg-0/data /d ext4 defaults 0 0",
        layout=BROKEN_LVM,
    ),
    line(
        "array-that-does-not-start",
        Code.VOLUME_INCOMPLETE,
        ERROR,
        "/dev/md0 /d xfs defaults 0 0",
        layout=replace(RAID, arrays=(replace(ARRAY, content=None),)),
    ),
    line("no-such-array", Code.ARRAY_MISSING, ERROR, "/dev/md1 /d xfs defaults 0 0", layout=RAID),
    line("luks", Code.MAPPING_UNEXAMINED, WARNING, "/dev/mapper/crypt /d ext4 defaults 0 0", layout=LUKS),
    line("cd-drive", Code.SOURCE_UNKNOWN, ERROR, "/dev/sr0 /d ext4 defaults 0 0"),
    line("word", Code.SOURCE_UNKNOWN, ERROR, "vdb1 /d ext4 defaults 0 0"),
    line("unreadable-disk", Code.SOURCE_UNEXAMINED, WARNING, "/dev/vdd /d ext4 defaults 0 0", layout=BROKEN),
    whole("damaged", Code.FILESYSTEM_UNMOUNTABLE, WARNING, 2, GOOD_FSTAB, layout=UNMOUNTABLE),
    line("swap-file", Code.FILE_MISSING, WARNING, "/swapfile none swap sw 0 0", missing=["/swapfile"]),
    line("bind", Code.FILE_MISSING, ERROR, "/www /d none bind 0 0", missing=["/www"]),
    line("bind-from-another-mount", Code.FILE_UNEXAMINED, INFO, "/data/www /d none bind 0 0"),
    line("nas", Code.NETWORK_MOUNT, WARNING, "x.nas.aliyuncs.com:/ /n nfs hard,_netdev 0 0"),
    line("nas-noauto", Code.NETWORK_MOUNT, INFO, "x.nas.aliyuncs.com:/ /n nfs noauto 0 0"),
    line("bucket-netdev", Code.NETWORK_MOUNT, WARNING, "ossfs#bucket /n fuse _netdev,url=http://x 0 0"),
    line("bucket-that-systemd-takes-for-local", Code.NETWORK_MOUNT, ERROR, "ossfs#bucket /n fuse allow_other 0 0"),
    whole(
        "wrong-type", Code.TYPE_DIFFERS, ERROR, 2, ROOT_LINE + f"UUID={DATA_UUID} /data xfs defaults 0 0\n" + XFS_LINE
    ),
    whole(
        "wrong-type-nofail",
        Code.TYPE_DIFFERS,
        WARNING,
        2,
        ROOT_LINE + f"UUID={DATA_UUID} /data xfs nofail 0 0\n" + XFS_LINE,
    ),
    whole("no-directory", Code.MOUNTPOINT_MISSING, INFO, 2, GOOD_FSTAB, missing=["/data"]),
    line("relative", Code.MOUNTPOINT_INVALID, WARNING, "tmpfs tmp tmpfs"),
    whole("file-for-directory", Code.MOUNTPOINT_INVALID, ERROR, 2, GOOD_FSTAB, paths={"/data": PathKind.FILE}),
    line("duplicate", Code.MOUNTPOINT_DUPLICATE, WARNING, "tmpfs //data/ tmpfs"),
    line("also-elsewhere", Code.FILESYSTEM_TWICE, WARNING, f"UUID={DATA_UUID} /d ext4 defaults 0 0"),
    line("child-first", Code.MOUNTPOINT_ORDER, INFO, "tmpfs /t/a tmpfs\ntmpfs /t tmpfs", number=5),
    line("two-slashes", Code.MOUNTPOINT_SPELLING, INFO, "tmpfs /t//a/ tmpfs"),
    line("dots", Code.MOUNTPOINT_SPELLING, WARNING, "tmpfs /t/../a tmpfs"),
    line("contradiction", Code.OPTION_CONFLICT, INFO, "tmpfs /t tmpfs ro,size=1m,rw"),
    line("slip", Code.OPTION_MISSPELT, WARNING, "tmpfs /t tmpfs default"),
    line("slip-nobody-waits-for", Code.OPTION_MISSPELT, INFO, "tmpfs /t tmpfs noauto,noatimes"),
    whole("removed", Code.OPTION_REMOVED, INFO, 3, ROOT_LINE + DATA_LINE + f"UUID={XFS_UUID} /srv xfs nobarrier 0 0\n"),
    line("no-time", Code.OPTION_IGNORED, INFO, "tmpfs /t tmpfs x-systemd.mount-timeout=soon"),
    line("no-option-of-systemd", Code.OPTION_IGNORED, INFO, "tmpfs /t tmpfs x-systemd.timeout=5"),
    whole(
        "root-with-nofail", Code.OPTION_IGNORED, INFO, 1, f"UUID={ROOT_UUID} / ext4 nofail 0 1\n" + DATA_LINE + XFS_LINE
    ),
    line("no-end", Code.DEVICE_TIMEOUT_ENDLESS, WARNING, "UUID=9 /d ext4 x-systemd.device-timeout=0 0 0"),
    whole(
        "no-end-should-it-be-missing",
        Code.DEVICE_TIMEOUT_ENDLESS,
        INFO,
        2,
        ROOT_LINE + f"UUID={DATA_UUID} /data ext4 x-systemd.device-timeout=infinity 0 2\n" + XFS_LINE,
    ),
    line("needs-a-mount", Code.DEPENDENCY_UNKNOWN, WARNING, "tmpfs /t tmpfs x-systemd.requires=/nas"),
    line("needs-a-mount-unit", Code.DEPENDENCY_UNKNOWN, WARNING, "tmpfs /t tmpfs x-systemd.requires=a-b\\x2dc.mount"),
    line(
        "needs-no-such-unit",
        Code.DEPENDENCY_UNKNOWN,
        WARNING,
        "tmpfs /t tmpfs x-systemd.requires=a.service",
        config=NO_UNITS,
    ),
    whole("symlink", Code.MOUNTPOINT_SYMLINK, INFO, 2, GOOD_FSTAB, config=config_of(links={"/data": "/mnt/data"})),
    whole(
        "hangs-on-data",
        Code.DATA_WITHOUT_NOFAIL,
        INFO,
        2,
        ROOT_LINE + DATA_LINE + XFS_LINE.replace("defaults", "nofail"),
    ),
    line("needs-a-service", Code.DEPENDENCY_UNKNOWN, INFO, "tmpfs /t tmpfs x-systemd.requires=cloud.service"),
    whole(
        "fsck-of-xfs", Code.FSCK_POINTLESS, INFO, 3, ROOT_LINE + DATA_LINE + f"UUID={XFS_UUID} /srv xfs defaults 0 2\n"
    ),
    line("fsck-of-memory", Code.FSCK_POINTLESS, INFO, "tmpfs /t tmpfs defaults 0 2"),
    whole(
        "fsck-as-if-root",
        Code.FSCK_ORDER,
        INFO,
        2,
        ROOT_LINE + f"UUID={DATA_UUID} /data ext4 defaults 0 1\n" + XFS_LINE,
    ),
    whole("no-fsck-of-root", Code.FSCK_ROOT_OFF, INFO, 1, f"UUID={ROOT_UUID} / ext4\n" + DATA_LINE + XFS_LINE),
    whole(
        "disks-mixed-up",
        Code.ROOT_ON_DATA_DISK,
        WARNING,
        None,
        f"UUID={DATA_UUID} / ext4\n" + XFS_LINE,
        roots=(OLD_ROOT,),
    ),
    whole("no-root-line", Code.ROOT_ENTRY_MISSING, WARNING, None, DATA_LINE + XFS_LINE),
    whole("other-root", Code.ROOT_ENTRY_DIFFERS, ERROR, 1, f"UUID={DATA_UUID} / ext4\n" + XFS_LINE),
    whole("two-roots", Code.ROOT_AMBIGUOUS, INFO, None, GOOD_FSTAB, roots=(REAL_ROOT, OLD_ROOT)),
    whole("root-by-name", Code.ROOT_ARGUMENT_NAME, INFO, 1, GOOD_FSTAB, root_argument="/dev/vda1"),
    whole("root-nowhere", Code.ROOT_ARGUMENT_UNMATCHED, ERROR, 1, GOOD_FSTAB, root_argument="UUID=dead"),
    whole("root-elsewhere", Code.ROOT_ARGUMENT_DIFFERS, ERROR, 1, GOOD_FSTAB, root_argument=f"UUID={DATA_UUID}"),
    whole("no-boot-loader", Code.BOOT_CONFIG_UNEXAMINED, INFO, None, GOOD_FSTAB, root_argument=""),
    whole("no-driver", Code.DRIVER_MISSING, INFO, None, GOOD_FSTAB, kernels=(VIRTIO_KERNEL,)),
    whole("odd-initramfs", Code.DRIVER_UNEXAMINED, INFO, None, GOOD_FSTAB, kernels=(UNREAD_KERNEL,)),
    # The other files have tests of their own.
    whole("override", Code.MOUNT_UNIT_OVERRIDES, WARNING, 2, GOOD_FSTAB, config=OVERRIDE),
    whole("mask", Code.MOUNT_UNIT_MASKED, ERROR, 2, GOOD_FSTAB, config=config_of(unit("data.mount", None))),
    whole("native-unit", Code.MOUNT_UNIT_SOURCE, ERROR, 5, GOOD_FSTAB, config=OVERRIDE),
    whole("empty-unit", Code.MOUNT_UNIT_UNEXAMINED, WARNING, None, GOOD_FSTAB, config=EMPTY_UNIT),
    whole(
        "cloud-format",
        Code.CLOUD_INIT_FORMATS,
        ERROR,
        2,
        GOOD_FSTAB,
        config=FORMATTING,
    ),
    whole("cloud-mount", Code.CLOUD_INIT_MOUNT, WARNING, 2, GOOD_FSTAB, config=cloud_config("mounts:\n- [vdz, /z]\n")),
    line("cloud-line", Code.CLOUD_INIT_LINE, INFO, "tmpfs /t tmpfs comment=cloudconfig", config=cloud_config("")),
    whole(
        "cloud-source",
        Code.CLOUD_INIT_DATASOURCE,
        INFO,
        1,
        GOOD_FSTAB,
        config=ALIYUN,
    ),
    line("filter", Code.LVM_FILTER, ERROR, LV_LINE, number=1, layout=LVM, config=lvm_and_md(ONLY_LOOPS)),
    line(
        "listed", Code.LVM_DEVICES_FILE, WARNING, LV_LINE, number=None, layout=LVM, config=lvm_and_md(devices_file="")
    ),
    line("md-disks", Code.MD_DEVICES, WARNING, MD_LINE, number=1, layout=RAID, config=lvm_and_md(md_conf="DEVICE x")),
    line("md-name", Code.MD_NAME, WARNING, MD_LINE, number=None, layout=RAID, config=lvm_and_md(hostname="other")),
    whole("md-gone", Code.MD_ARRAY_ABSENT, WARNING, 1, GOOD_FSTAB, config=lvm_and_md(md_conf="ARRAY /dev/md9 UUID=9")),
    whole("auto-disk", Code.AUTOFS_DEVICE, WARNING, 1, GOOD_FSTAB, config=autofs_config("d -fstype=ext4 :/dev/vdz1")),
    whole("auto-server", Code.AUTOFS_NETWORK, WARNING, 2, GOOD_FSTAB, config=autofs_config("", "n nas.example:/x")),
    line("service", Code.SERVICE_NEEDS_MOUNT, WARNING, LOST_LINE, number=2, config=config_of(SERVICE)),
    whole("unread-file", Code.CONFIG_UNEXAMINED, WARNING, None, GOOD_FSTAB, config=config_of(unread={"/x": "a fifo"})),
    whole("forgotten-disk", Code.DISK_UNREFERENCED, WARNING, None, ROOT_LINE + DATA_LINE),
    whole("forgotten-encrypted-disk", Code.DISK_UNREFERENCED, WARNING, None, GOOD_FSTAB, layout=LUKS),
    whole("blank-disk", Code.DISK_BLANK, INFO, None, GOOD_FSTAB, layout=with_disks(data_disk(3))),
    whole("unreadable", Code.DISK_UNEXAMINED, WARNING, None, GOOD_FSTAB, layout=BROKEN),
    whole(
        "disk-left-behind", Code.DISK_NOT_GIVEN, WARNING, None, GOOD_FSTAB, expected=["xvda", "xvdb", "xvdc", "xvdd"]
    ),
    whole(
        "forgotten-partition",
        Code.FILESYSTEM_UNREFERENCED,
        INFO,
        None,
        GOOD_FSTAB,
        layout=with_disks(replace(XVDB, partitions=(XVDB.partitions[0], partition(2, filesystem("ext4", "x"))))),
    ),
]


@pytest.mark.parametrize(("code", "severity", "line_number", "text", "facts"), ROWS)
def test_check_finds(
    code: Code, severity: Severity, line_number: int | None, text: str, facts: dict[str, object]
) -> None:
    found = finding(judge(text, **facts), code)
    assert (found.severity, found.line) == (severity, line_number)
    assert found.message
    assert found.evidence
    assert found.remedy


def test_check_has_a_row_here_for_every_code() -> None:
    assert {row.values[0] for row in ROWS} == set(Code)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(GOOD_FSTAB, id="vendor-style"),
        pytest.param(
            ROOT_LINE + "/dev/vdb1 /data ext4 defaults 0 0\n/dev/vdc /srv xfs defaults 0 0\n", id="virtio-names"
        ),
        pytest.param(
            ROOT_LINE + "/dev/xvdb1 /data ext4 defaults 0 0\n/dev/sdc /srv xfs defaults 0 0\n", id="other-names"
        ),
        pytest.param("/dev/nvme0n1p1 / ext4\n/dev/nvme1n1p1 /data ext4\n/dev/nvme2n1 /srv xfs\n", id="nvme-names"),
        pytest.param("LABEL=rootfs / ext4\nLABEL=data /data ext4\nLABEL=big /srv xfs\n", id="labels"),
        pytest.param(
            "PARTUUID=1234abcd-01 / ext4\nPARTLABEL=data\\040one /data ext4\nLABEL=big /srv xfs\n", id="partition-tags"
        ),
        pytest.param(f'UUID="{ROOT_UUID}" / ext4\n' + DATA_LINE + XFS_LINE, id="quotes"),
        pytest.param("/dev/root / ext4\n" + DATA_LINE + XFS_LINE, id="dev-root"),
        pytest.param(
            f"/dev/disk/by-uuid/{ROOT_UUID} / ext4\n/dev/disk/by-partuuid/aaaa-bbbb /data ext4\n"
            "/dev/disk/by-label/big /srv auto\n",
            id="udev-links",
        ),
        pytest.param(
            GOOD_FSTAB + "tmpfs /tmp tmpfs size=1g\nproc /proc proc\n/srv/a /data/b none bind\n/swapfile none swap sw\n"
            "# /dev/vdd1 /old ext4 defaults 0 0\n/disk.img /loop ext4 loop,ro 0 0\n",
            id="no-disk-needed",
        ),
    ],
)
def test_check_is_clean_for(text: str) -> None:
    assert judge(text).is_clean, judge(text).findings


@pytest.mark.parametrize(
    ("layout", "text"),
    [
        pytest.param(LVM, "/dev/vg-0/data /d ext4\n", id="volume-group-over-two-disks"),
        pytest.param(LVM, "/dev/mapper/vg--0-data /d ext4\n", id="volume-by-mapper-name"),
        pytest.param(LVM, "UUID=lv-uuid /d ext4\n", id="volume-by-uuid"),
        pytest.param(RAID, "/dev/md0 /d xfs\n", id="array"),
        pytest.param(RAID, "/dev/md/0 /d xfs\n", id="array-by-name"),
        pytest.param(RAID, "/dev/disk/by-id/md-uuid-ab:12 /d xfs\n", id="array-by-uuid"),
        pytest.param(RAID, "UUID=md-uuid /d xfs\n", id="array-by-the-uuid-of-what-it-holds"),
        pytest.param(BTRFS, "UUID=bt /d btrfs\n", id="btrfs-over-two-disks"),
        pytest.param(SWAP, f"UUID={SWAP_UUID} none swap sw\n", id="swap"),
        pytest.param(SWAP, "/dev/vdd swap swap defaults\n", id="swap-by-name"),
        pytest.param(LUKS, "/dev/mapper/crypt /d ext4 noauto\n", id="encrypted-disk-that-a-line-may-open"),
        pytest.param(SWAP, f"UUID={SWAP_UUID} none swap noauto\n", id="noauto-is-a-use-too"),
    ],
)
def test_disks_are_in_use_when(layout: GuestLayout, text: str) -> None:
    verdict = judge(GOOD_FSTAB + text, layout=layout)
    assert verdict.is_clean, verdict.findings
    assert Code.DISK_UNREFERENCED not in {finding.code for finding in verdict.findings}


def test_disk_is_not_in_use_when_only_its_volume_group_is_there() -> None:
    verdict = judge(GOOD_FSTAB, layout=LVM)
    assert [found.device for found in verdict.findings if found.code == Code.DISK_UNREFERENCED] == ["xvdd", "xvde"]


def test_root_on_a_data_disk_uses_it() -> None:
    layout = GuestLayout(disks=(system_disk(partition(1, filesystem("vfat", "AB-CD"))), XVDB))
    root = RootFilesystem(volume=volume_of_partition(XVDB, XVDB.partitions[0]))
    tag = f"UUID={DATA_UUID}"
    verdict = judge(f"{tag} / ext4 defaults 0 1\n", layout=layout, roots=(root,), root_argument=tag)
    assert [finding.code for finding in verdict.findings] == [Code.ROOT_ON_DATA_DISK]


@pytest.mark.parametrize(
    ("written", "found", "mounts"),
    [
        ("ext4", "ext4", True),
        ("auto", "xfs", True),
        ("", "xfs", True),
        ("ext4", "ext3", True),
        ("ext4", "ext2", True),
        ("ext3", "ext4", False),
        ("ext2", "ext4", False),
        ("ext3", "ext2", False),
        ("ext2", "ext3", True),
        ("ext4,xfs", "xfs", True),
        ("xfs", "ext4", False),
        ("btrfs", "ext4", False),
        ("msdos", "vfat", True),
        ("ntfs-3g", "ntfs", True),
        ("swap", "swap", True),
        ("swap", "ext4", False),
        ("auto", "swap", False),
        ("ext4", "swap", False),
    ],
)
def test_can_mount_knows_which_driver_takes_what(written: str, found: str, mounts: bool) -> None:
    assert can_mount(written, found) is mounts


def test_missing_disk_is_named_and_said_to_belong_to_the_image() -> None:
    verdict = judge(GOOD_FSTAB + "/dev/vdd1 /d ext4 defaults 0 0\n", expected=["xvda", "xvdb", "xvdc", "xvdd"])
    found = finding(verdict, Code.DEVICE_NOT_EXPORTED)
    assert found.message.startswith("/dev/vdd1 is on xvdd, which was not exported: the boot ends in emergency mode")
    assert "the image has xvdd" in found.evidence
    assert found.device == "xvdd"
    assert Code.DISK_NOT_GIVEN not in {other.code for other in verdict.findings}  # once is enough


def test_tag_that_matches_nothing_hints_at_the_disk_that_was_left_behind() -> None:
    verdict = judge(GOOD_FSTAB + "UUID=9999 /d ext4 defaults 0 0\n", expected=["xvda", "xvdb", "xvdc", "xvdd"])
    assert "it may be on xvdd" in finding(verdict, Code.TAG_UNMATCHED).evidence


def test_root_line_cannot_be_excused_by_nofail() -> None:
    verdict = judge("UUID=9999 / ext4 nofail 0 0\n" + DATA_LINE + XFS_LINE)
    assert finding(verdict, Code.TAG_UNMATCHED).severity is ERROR


def test_braces_in_a_source_are_only_text() -> None:
    verdict = judge(GOOD_FSTAB + "LABEL={disk}{0} /d ext4 defaults 0 0\n")
    assert "LABEL={disk}{0}" in finding(verdict, Code.TAG_UNMATCHED).message


def test_mount_points_below_other_mounts_are_not_looked_for_on_the_root() -> None:
    guest = make_guest(GOOD_FSTAB + "tmpfs /data/sub tmpfs\ntmpfs /database tmpfs\n")
    assert set(guest.paths) == {"/", "/data", "/srv", "/database"}


def test_findings_come_in_the_order_of_the_file_then_of_the_disks() -> None:
    verdict = judge(
        "tmpfs x tmpfs\n" + ROOT_LINE + "UUID=9999 /d ext4\n" + DATA_LINE, layout=with_disks(data_disk(3)),
    )  # fmt: skip
    places = [(found.line, found.device) for found in oddities(verdict)]
    assert places == [(1, None), (3, None), (None, "xvdc"), (None, "xvdd")]


def test_chain_says_where_every_line_leads() -> None:
    verdict = judge(
        ROOT_LINE + "/dev/vdb1 /data ext4\n" + "/dev/vg-0/data /d ext4\nUUID=9 /x ext4\ntmpfs /t tmpfs\n", layout=LVM
    )
    assert [
        (entry.line, entry.device, entry.partition, entry.filesystem, entry.resolved) for entry in verdict.chain
    ] == [
        (1, "xvda", 1, "ext4", "xvda1"),
        (2, "xvdb", 1, "ext4", "xvdb1"),
        (3, "xvdd", None, "ext4", "lvm vg-0/data on xvdd+xvde"),
        (4, None, None, None, "leads nowhere (tag-unmatched)"),
        (5, None, None, None, "no disk needed"),
    ]


def test_check_of_a_guest_without_data_disks_is_clean() -> None:
    verdict = judge(ROOT_LINE, layout=GuestLayout(disks=(XVDA,)))
    assert verdict.findings == ()
    assert verdict.root == "xvda1"


def test_hostile_file_is_judged_in_bounds() -> None:
    verdict = judge("UUID=x /y ext4\n" * (20 * MAX_ENTRIES))
    assert len(verdict.chain) == MAX_ENTRIES
    assert len(verdict.findings) < 3 * MAX_ENTRIES


def test_everything_in_a_verdict_is_printable_whatever_the_guest_wrote() -> None:
    nasty = "\x1b]0;owned\x07\u202e\x9b"
    content = (
        f"LABEL={nasty} /{nasty} ext{nasty} {nasty} 0 0\n{nasty} {nasty}\n//{nasty} /n cifs\n".encode()
        + b"\xff /\xff\n"
    )
    disk = data_disk(
        3, partition(1, filesystem(nasty, nasty, nasty), label=nasty), partition(2, filesystem("ext4", nasty))
    )
    guest = make_guest(content, layout=with_disks(disk, XVDC))
    verdict = check_guest(replace(guest, roots=(replace(guest.root, operating_system=nasty, subvolume=nasty),)))
    texts = [verdict.root, verdict.operating_system]
    for found in verdict.findings:
        texts += [found.message, found.evidence, found.remedy]
    for entry in verdict.chain:
        texts += [entry.source, entry.mountpoint, entry.fstype, entry.options, entry.resolved, entry.filesystem or ""]
    assert all(text.isprintable() for text in texts)
    assert any("\\x1b]0;owned" in text for text in texts)


def test_remedy_does_not_name_what_the_line_has() -> None:
    for options, is_advised in (("defaults", True), ("defaults,nofail", False)):
        verdict = judge(GOOD_FSTAB + f"UUID=dead /gone ext4 {options} 0 0\n")
        assert ("nofail" in finding(verdict, Code.TAG_UNMATCHED).remedy) == is_advised


@pytest.mark.parametrize(
    ("options", "is_missing"),
    [
        ("subvol=@data", False), ("subvol=/@data/", False), ("subvolid=256", False), ("subvolid=5", False),
        ("subvol=/", False), ("subvol=@none", True), ("subvolid=300", True), ("subvolid=x", True), ("defaults", False),
    ],
)  # fmt: skip
def test_subvolume_that_a_btrfs_has_not_is_missed(options: str, *, is_missing: bool) -> None:
    verdict = judge(GOOD_FSTAB + f"UUID={'b' * 8} /b btrfs {options} 0 0\n", layout=SUBVOLUMES)
    assert (Code.SUBVOLUME_MISSING in {found.code for found in verdict.findings}) == is_missing
    assert all((forecast.outcome is Outcome.EMERGENCY) == is_missing for forecast in verdict.forecasts)


def test_subvolumes_that_nobody_listed_are_not_missed() -> None:
    layout = with_disks(data_disk(3, content=filesystem("btrfs", "b" * 8)))
    verdict = judge(GOOD_FSTAB + f"UUID={'b' * 8} /b btrfs subvol=@none 0 0\n", layout=layout)
    assert verdict.is_clean
