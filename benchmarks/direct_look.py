"""Answers what `fstab_check` asks an appliance by reading RAW files with dissect.extfs, dissect.xfs and dissect.fat.

It stands in for `guestfs.GuestFS`, so that the same code reads the same facts both ways and they can be compared
field by field. Identities come from libblkid (`blkid -p`), tables from libfdisk (`sfdisk --json`); neither needs root.
Whatever is not ext2/3/4, xfs or vfat on a disk or partition, is marked unclean or has a feature that is not listed
here ends the look with `NeedsAppliance`. Not a part of Ferry: see "Reading without an appliance" in
docs/architecture.md for what came of it.
"""

from __future__ import annotations

import json
import os
import stat
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from migration.errors import CommandFailed
from migration.run import run
from migration.served_disk import ReadableDisk

SECTOR = 512
MAX_LINKS = 40  # as Linux follows
_MEMBERS_AND_OTHERS = "only ext2, ext3, ext4, xfs, vfat and swap are read directly"

# The kernel's fs/ext4/ext4.h: FILETYPE, EXTENTS, 64BIT, FLEX_BG, CSUM_SEED. Left out on purpose: RECOVER (a journal to
# replay, which every mounted file system has), INLINE_DATA (dissect.extfs 3.15 cuts such a file after 60 bytes, and
# takes such a directory for an empty one).
_EXT_INCOMPAT = 0x2 | 0x40 | 0x80 | 0x200 | 0x2000
_EXT_RO_COMPAT = 0x1 | 0x2 | 0x8 | 0x10 | 0x20 | 0x40 | 0x400
# The kernel's fs/xfs/libxfs/xfs_format.h: FTYPE, SPINODES, BIGTIME, NREXT64.
_XFS_INCOMPAT = 0x1 | 0x2 | 0x8 | 0x20


class NeedsAppliance(Exception):
    """Something was met that is not read this way; what it was is the argument."""


class DirectGuest:
    """Reads the disks; the methods are those of `guestfs.GuestFS`, as far as looking needs them."""

    def __init__(self, disks: Sequence[ReadableDisk]) -> None:
        self._places: dict[str, tuple[Path, int, int]] = {}  # file, offset, size
        self._entries: dict[str, dict[str, str]] = {}
        self._mounts: dict[str, Any] = {}
        for number, disk in enumerate(disks):
            path = getattr(disk, "path", None)
            if path is None or disk.format != "raw":
                raise NeedsAppliance(f"{disk.name} is no RAW file")
            self._add_disk(f"/dev/sd{chr(ord('a') + number)}", path)

    def _add_disk(self, device: str, path: Path) -> None:
        self._places[device] = path, 0, path.stat().st_size
        if "PTTYPE" not in self.blkid(device) or self.blkid(device).get("TYPE"):
            return
        table = json.loads(run(["sfdisk", "--json", path]))["partitiontable"]
        if table.get("sectorsize", SECTOR) != SECTOR or table["label"] not in {"dos", "gpt"}:
            raise NeedsAppliance(f"a table of kind {table['label']}")
        for partition in table.get("partitions", []):
            number = int(partition["node"].removeprefix(str(path)).lstrip("p"))
            name = f"{device}{number}"
            if table["label"] == "dos" and partition["type"] in {"5", "f", "85"}:
                raise NeedsAppliance("an extended partition")
            self._places[name] = path, partition["start"] * SECTOR, partition["size"] * SECTOR
            uuid = partition.get("uuid") or f"{table['id'].removeprefix('0x')}-{number:02x}"
            entry = {"PART_ENTRY_UUID": uuid.lower()}
            if "name" in partition:
                entry["PART_ENTRY_NAME"] = partition["name"]
            self._entries[name] = entry

    # What lies where

    def list_devices(self) -> list[str]:
        return [name for name in self._places if not name[-1].isdecimal()]

    def list_partitions(self) -> list[str]:
        return [name for name in self._places if name[-1].isdecimal()]

    def blkid(self, device: str) -> dict[str, str]:
        path, offset, size = self._places[device]
        try:
            told = run(["blkid", "-p", "-o", "export", "--offset", str(offset), "--size", str(size), path])
        except CommandFailed as failed:
            if failed.returncode != 2:  # nothing was recognised
                raise NeedsAppliance(f"blkid: {failed}") from failed
            told = ""
        facts = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
        return facts | self._entries.get(device, {})

    def pread_device(self, device: str, count: int, offset: int) -> bytes:
        path, start, _ = self._places[device]
        with path.open("rb") as stream:
            stream.seek(start + offset)
            return stream.read(count)

    def blockdev_getsize64(self, device: str) -> int:
        return self._places[device][2]

    def lvs(self) -> list[str]:
        return []  # a member of a group or an array ends the look when it is mounted, or here

    def vgs(self) -> list[str]:
        return []

    def list_md_devices(self) -> list[str]:
        raise NeedsAppliance(_MEMBERS_AND_OTHERS)

    def ping_daemon(self) -> None:
        """There is none that could have died."""

    # Mounts

    def mount_options(self, _options: str, device: str, mountpoint: str) -> None:
        self._mounts[mountpoint] = self._open(device)

    def umount(self, mountpoint: str) -> None:
        del self._mounts[mountpoint]

    def umount_all(self) -> None:
        self._mounts.clear()

    def statvfs(self, _path: str) -> dict[str, int]:
        sector, few, many = struct.unpack("<H6xH11xI", self._fat_head[0x0B:0x24])
        return {"blocks": few or many, "frsize": sector}

    def _open(self, device: str) -> Any:
        from dissect.extfs import ExtFS  # noqa: PLC0415  # 0.4 s, a part of what is measured
        from dissect.fat import FATFS  # noqa: PLC0415
        from dissect.util.stream import RangeStream  # noqa: PLC0415
        from dissect.xfs import XFS  # noqa: PLC0415

        path, offset, size = self._places[device]
        kind, head = self.blkid(device).get("TYPE", ""), self.pread_device(device, 4096, 0)
        stream = RangeStream(path.open("rb"), offset, size)
        if kind in {"ext2", "ext3", "ext4"}:
            _check_ext(head, size)
            return ExtFS(stream).root
        if kind == "xfs":
            _check_xfs(head, size)
            return XFS(stream).root
        if kind == "vfat":
            self._fat_head = head
            return _FatNode(FATFS(stream).root)
        raise NeedsAppliance(f"{kind or 'nothing known'}: {_MEMBERS_AND_OTHERS}")

    # Paths; a missing one is an answer, anything odd is the appliance's business

    def _find(self, path: str, *, follow: bool = True) -> tuple[str, Any] | None:
        """Return where `path` leads, without symlinks, and what is there."""
        todo, done, links = [part for part in path.split("/") if part], [""], 0
        node = self._mounts["/"]
        nodes = [node]
        while todo:
            part = todo.pop(0)
            if part == ".":
                continue
            if part == "..":
                done, nodes = (done[:-1] or [""]) if len(done) > 1 else done, nodes[:-1] if len(nodes) > 1 else nodes
                continue
            node = _child(nodes[-1], part)
            if node is None:
                return None
            if stat.S_ISLNK(node.filetype) and (todo or follow):
                links += 1
                if links > MAX_LINKS:
                    raise RuntimeError(f"{path}: Too many levels of symbolic links")
                todo = [step for step in node.link.split("/") if step] + todo
                if node.link.startswith("/"):
                    done, nodes = [""], nodes[:1]
                continue
            done.append(part)
            nodes.append(self._mounts.get("/".join(done), node))
        return "/".join(done) or "/", nodes[-1]

    def _is(self, path: str, kind: int, *, follow: bool = True) -> bool:
        found = self._find(path, follow=follow)
        return found is not None and stat.S_IFMT(found[1].filetype) == kind

    def is_dir(self, path: str, followsymlinks: bool = False) -> bool:
        return self._is(path, stat.S_IFDIR, follow=followsymlinks)

    def is_file(self, path: str, followsymlinks: bool = False) -> bool:
        return self._is(path, stat.S_IFREG, follow=followsymlinks)

    def is_symlink(self, path: str) -> bool:
        return self._is(path, stat.S_IFLNK, follow=False)

    def exists(self, path: str) -> bool:
        return self._find(path, follow=False) is not None  # as libguestfs 1.48: a dangling symlink exists

    def realpath(self, path: str) -> str:
        return self._there(path)[0]

    def readlink(self, path: str) -> str:
        found = self._find(path, follow=False)
        return str(found[1].link) if found else ""

    def ls(self, path: str) -> list[str]:
        return sorted(name for name in _names(self._there(path)[1]) if name not in {".", ".."})

    def ls0(self, path: str, _target: str) -> None:
        # A directory that dissect cannot make sense of is empty to it.
        node = self._there(path)[1]
        if not isinstance(node, _FatNode) and "." not in _names(node):
            raise NeedsAppliance("a root directory without itself in it")

    def pread(self, path: str, count: int, offset: int) -> bytes:
        with self._there(path)[1].open() as stream:
            stream.seek(offset)
            return bytes(stream.read(count))

    def filesize(self, path: str) -> int:
        return int(self._there(path)[1].size)

    def download(self, path: str, target: str) -> None:
        stream = self._there(path)[1].open()
        with Path(target).open("wb") as copy:
            while piece := stream.read(1024 * 1024):
                copy.write(piece)

    def _there(self, path: str) -> tuple[str, Any]:
        found = self._find(path)
        if found is None:
            raise RuntimeError(f"{path}: {os.strerror(2)}")
        return found


class _FatNode:
    """A FAT entry with the words that the other two readers have."""

    def __init__(self, entry: Any) -> None:
        self._entry = entry
        self.filename = entry.name
        self.filetype = stat.S_IFDIR if entry.is_directory() else stat.S_IFREG
        self.size = 0 if self.filetype == stat.S_IFDIR else entry.size
        self.open = entry.open

    def iterdir(self) -> list[_FatNode]:
        return [_FatNode(entry) for entry in self._entry.iterdir() if not entry.is_volume_id()]


def _names(node: Any) -> list[str]:
    return [entry.filename for entry in node.iterdir()]


def _child(node: Any, name: str) -> Any:
    if not stat.S_ISDIR(node.filetype):
        return None
    is_fat = isinstance(node, _FatNode)
    wanted = name.casefold() if is_fat else name
    for entry in node.iterdir():
        if (entry.filename.casefold() if is_fat else entry.filename) == wanted:
            return entry
    return None


def _check_ext(head: bytes, size: int) -> None:
    """Refuse what a mount would refuse or replay, as far as the superblock tells (the kernel's ext4/super.rst)."""
    superblock = head[1024:2048]
    blocks, log_size = struct.unpack_from("<I", superblock, 4)[0], struct.unpack_from("<I", superblock, 24)[0]
    state = struct.unpack_from("<H", superblock, 58)[0]
    incompat, ro_compat = struct.unpack_from("<II", superblock, 96)
    if incompat & 0x80:
        blocks |= struct.unpack_from("<I", superblock, 0x150)[0] << 32
    if incompat & ~_EXT_INCOMPAT or ro_compat & ~_EXT_RO_COMPAT:
        raise NeedsAppliance(f"ext4 with features {incompat:#x} {ro_compat:#x}")
    if state != 1 or blocks * (1024 << log_size) > size:
        raise NeedsAppliance("an ext4 that was not left clean, or is cut off")


def _check_xfs(head: bytes, size: int) -> None:
    """Refuse versions and features that are not known (xfs_format.h, `struct xfs_dsb`); its log is not looked into."""
    block, blocks = struct.unpack_from(">IQ", head, 4)
    version, incompat = struct.unpack_from(">H", head, 100)[0] & 0xF, struct.unpack_from(">I", head, 216)[0]
    if version != 5 or incompat & ~_XFS_INCOMPAT or block * blocks > size:
        raise NeedsAppliance("an xfs with unknown features, or cut off")
