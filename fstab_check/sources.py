"""The first field of a line: which way of naming a disk, a file or a server it uses."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fstab_check.fstab import Entry
from migration.device import DeviceName, parse_device_name
from migration.str_enum import StrEnum


class SourceKind(StrEnum):
    """The ways to name what is mounted."""

    DEVICE = "device"  # a kernel name: /dev/vdb1
    UUID = "uuid"
    LABEL = "label"
    PARTUUID = "partuuid"
    PARTLABEL = "partlabel"
    MAPPER = "mapper"  # /dev/mapper/name, /dev/group/volume
    ARRAY = "array"  # /dev/md0, /dev/md/name
    DISK_ID = "disk-id"  # made from the serial number the cloud gave the disk
    DISK_PATH = "disk-path"  # made from the slot the disk was plugged into
    ROOT = "root"  # /dev/root: whatever the kernel mounted as /
    FILE = "file"  # bind mounts, loop images, swap files
    NETWORK = "network"
    PSEUDO = "pseudo"  # proc, tmpfs and their like: no disk behind it
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a line mounts. `value` is the UUID, label, name or path without quotes, prefixes and escapes."""

    kind: SourceKind
    value: str
    device: DeviceName | None = None


TAG_KINDS = (SourceKind.UUID, SourceKind.LABEL, SourceKind.PARTUUID, SourceKind.PARTLABEL)

# What systemd takes for a network file system (`fstype_is_network`): such a mount never stops the boot.
NETWORK_TYPES = frozenset({
    "afs", "ceph", "cifs", "davfs", "gfs", "gfs2", "glusterfs", "lustre", "ncp", "ncpfs",
    "nfs", "nfs4", "ocfs2", "pvfs2", "smb3", "smbfs", "sshfs",
})  # fmt: skip

# Types of a disk behind a network, which systemd nevertheless finds like any other block device.
_BLOCK_NETWORK_TYPES = frozenset({"gfs", "gfs2", "ocfs2"})

# FUSE programs that speak to the network; the first is the cloud's own for its object store.
_NETWORK_PROGRAMS = frozenset({"ossfs", "ossfs2", "s3fs", "goofys", "rclone", "sshfs", "cosfs", "obsfs", "juicefs"})

_PSEUDO_TYPES = frozenset({
    "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs",
    "fusectl", "hugetlbfs", "mqueue", "nfsd", "overlay", "proc", "pstore", "ramfs", "rpc_pipefs", "securityfs",
    "selinuxfs", "sysfs", "tmpfs", "tracefs", "usbfs", "xenfs",
})  # fmt: skip

_TAG = re.compile(r"(?P<tag>UUID|LABEL|PARTUUID|PARTLABEL|ID)=(?P<value>.*)", re.DOTALL)
_UDEV_LINK = re.compile(r"/dev/disk/by-(?P<tag>uuid|label|partuuid|partlabel|id|path|diskseq)/(?P<value>.+)", re.DOTALL)
_TAG_KINDS = {
    "uuid": SourceKind.UUID, "label": SourceKind.LABEL,
    "partuuid": SourceKind.PARTUUID, "partlabel": SourceKind.PARTLABEL,
    "id": SourceKind.DISK_ID, "path": SourceKind.DISK_PATH, "diskseq": SourceKind.DISK_PATH,
}  # fmt: skip
_ARRAY = re.compile(r"/dev/(?P<value>md\d+(?:p\d+)?|md_d\d+|md/.+)")
_VOLUME = re.compile(r"/dev/(?P<group>[A-Za-z0-9+_.][A-Za-z0-9+_.-]*)/(?P<volume>[A-Za-z0-9+_.][A-Za-z0-9+_.-]*)")
_NOT_GROUPS = frozenset({
    "block", "bus", "char", "cpu", "disk", "dri", "fd", "input", "loop", "mapper", "md", "net", "pts", "shm", "snd",
})  # fmt: skip
_REMOTE = re.compile(r"//[^/]|[^/\s]+:/|(?:https?|davs?|nfs|cifs|smb)://")


def parse_source(entry: Entry) -> Source:
    """Return what `entry` mounts; its type and options count, as a path alone may be a bind mount or an image."""
    if is_network(entry):
        return Source(kind=SourceKind.NETWORK, value=entry.source)
    if entry.fstype in _PSEUDO_TYPES or re.fullmatch(r"/dev/zram\d+", entry.source):
        return Source(kind=SourceKind.PSEUDO, value=entry.source)
    return parse_device_text(entry.source)


def parse_device_text(text: str) -> Source:
    """Return what `text` names where no type or option tells more, as on a kernel's command line."""
    if match := _TAG.fullmatch(text):
        return _tagged(match["tag"].lower(), _unquote(match["value"]))
    return _path(text)


def is_network(entry: Entry) -> bool:
    """Return whether a server must answer for this mount to succeed."""
    program = entry.source.partition("#")[0]
    fstype = entry.fstype.removeprefix("fuse.")
    if fstype in _BLOCK_NETWORK_TYPES:
        return False
    if fstype in NETWORK_TYPES or fstype in _NETWORK_PROGRAMS:
        return True
    if entry.fstype == "fuse" and program in _NETWORK_PROGRAMS:
        return True
    return not entry.source.startswith("/dev/") and not entry.is_bind and bool(_REMOTE.match(entry.source))


def waits_for_network(entry: Entry) -> bool:
    """Return whether systemd orders the mount under remote-fs.target, which no boot fails for."""
    return entry.is_netdev or entry.fstype.removeprefix("fuse.") in NETWORK_TYPES


def _tagged(tag: str, value: str) -> Source:
    kind = _TAG_KINDS[tag]
    if kind is SourceKind.DISK_ID:
        # These links are made from what is written on the disks, and so survive the move.
        if value.startswith("dm-name-"):
            return Source(kind=SourceKind.MAPPER, value=value.removeprefix("dm-name-"))
        if value.startswith(("md-name-", "md-uuid-")):
            return Source(kind=SourceKind.ARRAY, value=value[len("md-name-") :])
    return Source(kind=kind, value=value)


def _path(path: str) -> Source:
    if path in {"/dev/root", "rootfs"}:
        return Source(kind=SourceKind.ROOT, value=path)
    if match := _UDEV_LINK.fullmatch(path):
        return _tagged(match["tag"], _decode_udev(match["value"]))
    if path.startswith("/dev/"):
        return _device(path)
    return Source(kind=SourceKind.FILE if path.startswith("/") else SourceKind.UNKNOWN, value=path)


def _device(path: str) -> Source:
    if name := parse_device_name(path):
        return Source(kind=SourceKind.DEVICE, value=path, device=name)
    if path.startswith("/dev/mapper/"):
        return Source(kind=SourceKind.MAPPER, value=path.removeprefix("/dev/mapper/"))
    if match := _ARRAY.fullmatch(path):
        return Source(kind=SourceKind.ARRAY, value=match["value"])
    match = _VOLUME.fullmatch(path)
    if match and match["group"] not in _NOT_GROUPS:
        return Source(kind=SourceKind.MAPPER, value=f"{match['group']}/{match['volume']}")
    return Source(kind=SourceKind.UNKNOWN, value=path)


def _unquote(value: str) -> str:
    """Strip the quotes that `blkid` prints and people copy; systemd and libmount strip them too."""
    return value[1:-1] if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'" else value


def _decode_udev(name: str) -> str:
    r"""Undo udev's `\x20`, which stands for a byte."""
    decoded = re.sub(
        rb"\\x([0-9a-fA-F]{2})",
        lambda match: bytes([int(match[1], 16)]),
        name.encode("utf-8", "surrogateescape"),
    )
    return decoded.decode("utf-8", "surrogateescape")
