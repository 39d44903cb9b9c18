"""The first field is understood in every way that people, installers and the cloud's documents write it."""

from __future__ import annotations

import pytest

from fstab_check.fstab import parse_fstab
from fstab_check.resolve import split_mapper_name
from fstab_check.sources import Source, SourceKind, parse_source, waits_for_network
from migration.device import DeviceName


def source_of(text: str, fstype: str = "ext4", options: str = "defaults") -> Source:
    (entry,) = parse_fstab(f"{text} /mnt {fstype} {options} 0 0\n".encode()).entries
    return parse_source(entry)


@pytest.mark.parametrize(
    ("text", "device"),
    [
        pytest.param("/dev/vdb1", DeviceName(1, 1), id="virtio"),
        pytest.param("/dev/xvdb1", DeviceName(1, 1), id="xen"),
        pytest.param("/dev/sdb1", DeviceName(1, 1), id="scsi"),
        pytest.param("/dev/hdb1", DeviceName(1, 1), id="ide"),
        pytest.param("/dev/nvme1n1p1", DeviceName(1, 1), id="nvme"),
        pytest.param("/dev/nvme1n1", DeviceName(1), id="nvme-whole"),
        pytest.param("/dev/vdc", DeviceName(2), id="virtio-whole"),
    ],
)
def test_kernel_name_is_a_position(text: str, device: DeviceName) -> None:
    assert source_of(text) == Source(kind=SourceKind.DEVICE, value=text, device=device)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        pytest.param("UUID=ab-cd", SourceKind.UUID, "ab-cd", id="uuid"),
        pytest.param('UUID="ab-cd"', SourceKind.UUID, "ab-cd", id="uuid-in-quotes"),
        pytest.param("UUID='ab-cd'", SourceKind.UUID, "ab-cd", id="uuid-in-single-quotes"),
        pytest.param(r"LABEL=my\040data", SourceKind.LABEL, "my data", id="label-with-a-blank"),
        pytest.param(r'LABEL="my\040data"', SourceKind.LABEL, "my data", id="label-in-quotes"),
        pytest.param("LABEL=/data", SourceKind.LABEL, "/data", id="label-like-a-path"),
        pytest.param("PARTUUID=1234abcd-01", SourceKind.PARTUUID, "1234abcd-01", id="partuuid"),
        pytest.param("PARTLABEL=data", SourceKind.PARTLABEL, "data", id="partlabel"),
        pytest.param("ID=virtio-bp1abc", SourceKind.DISK_ID, "virtio-bp1abc", id="id-tag"),
        pytest.param("uuid=ab-cd", SourceKind.UNKNOWN, "uuid=ab-cd", id="tags-are-upper-case"),
        pytest.param("/dev/disk/by-uuid/ab-cd", SourceKind.UUID, "ab-cd", id="by-uuid"),
        pytest.param(r"/dev/disk/by-label/my\134x20data", SourceKind.LABEL, "my data", id="by-label-escaped"),
        pytest.param("/dev/disk/by-partuuid/1234abcd-01", SourceKind.PARTUUID, "1234abcd-01", id="by-partuuid"),
        pytest.param("/dev/disk/by-partlabel/data", SourceKind.PARTLABEL, "data", id="by-partlabel"),
        pytest.param(
            "/dev/disk/by-id/virtio-bp1d4foh3ef8bntl-part1", SourceKind.DISK_ID, "virtio-bp1d4foh3ef8bntl-part1",
            id="by-id",
        ),
        pytest.param("/dev/disk/by-id/dm-name-vg-lv", SourceKind.MAPPER, "vg-lv", id="by-id-of-a-volume"),
        pytest.param("/dev/disk/by-id/md-uuid-1:2:3:4", SourceKind.ARRAY, "1:2:3:4", id="by-id-of-an-array"),
        pytest.param(
            "/dev/disk/by-path/pci-0000:00:06.0", SourceKind.DISK_PATH, "pci-0000:00:06.0", id="by-path"
        ),
        pytest.param("/dev/mapper/vg-lv", SourceKind.MAPPER, "vg-lv", id="mapper"),
        pytest.param("/dev/vg/lv", SourceKind.MAPPER, "vg/lv", id="group-and-volume"),
        pytest.param("/dev/md0", SourceKind.ARRAY, "md0", id="array"),
        pytest.param("/dev/md/data", SourceKind.ARRAY, "md/data", id="named-array"),
        pytest.param("/dev/root", SourceKind.ROOT, "/dev/root", id="root"),
        pytest.param("/dev/sr0", SourceKind.UNKNOWN, "/dev/sr0", id="cd-drive"),
        pytest.param("/dev/zram0", SourceKind.PSEUDO, "/dev/zram0", id="compressed-memory"),
        pytest.param("/swapfile", SourceKind.FILE, "/swapfile", id="swap-file"),
        pytest.param("vdb1", SourceKind.UNKNOWN, "vdb1", id="bare-word"),
    ],
)  # fmt: skip
def test_source_is_understood(text: str, kind: SourceKind, value: str) -> None:
    source = source_of(text)
    assert (source.kind, source.value) == (kind, value)


@pytest.mark.parametrize(
    ("text", "fstype", "options", "kind"),
    [
        pytest.param("tmpfs", "tmpfs", "defaults", SourceKind.PSEUDO, id="tmpfs"),
        pytest.param("proc", "proc", "defaults", SourceKind.PSEUDO, id="proc"),
        pytest.param("overlay", "overlay", "lowerdir=/a", SourceKind.PSEUDO, id="overlay"),
        pytest.param("/data/www", "none", "bind", SourceKind.FILE, id="bind"),
        pytest.param("/disk.img", "ext4", "loop", SourceKind.FILE, id="loop"),
        pytest.param("/data/a:/b", "none", "bind", SourceKind.FILE, id="bind-with-a-colon"),
        pytest.param("0123.cn-hangzhou.nas.aliyuncs.com:/", "nfs", "vers=4", SourceKind.NETWORK, id="nas"),
        pytest.param("0123.cn-hangzhou.nas.aliyuncs.com:/", "nfs4", "hard", SourceKind.NETWORK, id="nas-v4"),
        pytest.param("//0123.nas.aliyuncs.com/myshare", "cifs", "_netdev", SourceKind.NETWORK, id="smb"),
        pytest.param("ossfs#bucket", "fuse", "_netdev,url=http://x", SourceKind.NETWORK, id="bucket"),
        pytest.param("bucket", "fuse.ossfs", "allow_other", SourceKind.NETWORK, id="bucket-by-type"),
        pytest.param("user@host:/srv", "fuse.sshfs", "defaults", SourceKind.NETWORK, id="sshfs"),
        pytest.param("host:/srv", "auto", "defaults", SourceKind.NETWORK, id="server-of-any-type"),
        pytest.param("/dev/vdb1", "ocfs2", "_netdev", SourceKind.DEVICE, id="cluster-type-on-a-disk"),
        pytest.param("/dev/vdb1", "ext4", "_netdev", SourceKind.DEVICE, id="netdev-on-a-disk"),
    ],
)
def test_type_and_options_tell_disks_from_files_and_servers(
    text: str, fstype: str, options: str, kind: SourceKind
) -> None:
    assert source_of(text, fstype, options).kind is kind


@pytest.mark.parametrize(
    ("fstype", "options", "waits"),
    [
        pytest.param("nfs", "hard", True, id="nfs"),
        pytest.param("fuse.sshfs", "defaults", True, id="sshfs"),
        pytest.param("fuse", "allow_other", False, id="fuse-is-local-to-systemd"),
        pytest.param("fuse", "_netdev", True, id="fuse-with-netdev"),
        pytest.param("ext4", "defaults", False, id="ext4"),
    ],
)
def test_network_mounts_are_those_systemd_takes_for_such(fstype: str, options: str, waits: bool) -> None:
    (entry,) = parse_fstab(f"x /mnt {fstype} {options} 0 0\n".encode()).entries
    assert waits_for_network(entry) is waits


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        pytest.param("vg-lv", [("vg", "lv")], id="plain"),
        pytest.param("vg--0-lv--a", [("vg-0", "lv-a")], id="dashes-are-doubled"),
        pytest.param("vg---lv", [("vg-", "lv")], id="group-ends-with-a-dash"),
        pytest.param("a--b----c-d", [("a-b--c", "d")], id="many-dashes"),
        pytest.param("cryptdata", [], id="no-dash"),
        pytest.param("luks--x", [], id="only-a-doubled-dash"),
        pytest.param("vg/lv-a", [("vg", "lv-a")], id="as-a-path"),
    ],
)
def test_mapper_name_is_split_where_lvm_joined_it(name: str, pairs: list[tuple[str, str]]) -> None:
    assert split_mapper_name(name) == pairs
