"""Makes file systems whose superblocks read well while what lies behind them is gone, and sound ones that look odd."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Collection
from pathlib import Path

from migration.run import run
from tests.fstab_check_disks import make_ext4, make_xfs
from tests.fstab_check_hostile_disks import blank, patch

_EXT4_BLOCK = 1024  # bytes, as mke2fs chooses for a small one; descriptors are in block 2
_XFS_SECTOR = 512  # the AG's headers are in sectors 1 to 3; inode 128, the root, has the address of sector 128 in them
_BTRFS_SUPER = 0x10000
_BTRFS_NODE = 16384


def uuid_of(number: int) -> str:
    return f"aaaaaaaa-0000-4000-8000-{number:012}"


FAMILIES = ("ext4", "xfs", "btrfs", "vfat")


def damaged_filesystems(folder: Path, families: Collection[str] = FAMILIES) -> dict[str, Path]:
    """Make a file system for each damage; blkid sees all of them as they should be."""
    return _make(folder, _DAMAGES, 0, families)


def sound_filesystems(folder: Path, families: Collection[str] = FAMILIES) -> dict[str, Path]:
    """Make file systems that are only odd: a journal that is to be replayed, names that lead in circles."""
    return _make(folder, _ODDITIES, len(_DAMAGES), families)


def _make(
    folder: Path, changes: dict[str, Callable[[Path], None]], first: int, families: Collection[str]
) -> dict[str, Path]:  # fmt: skip
    images = {}
    for number, (name, change) in enumerate(changes.items(), start=first):
        if name.partition("-")[0] not in families:
            continue
        image = folder / f"{name}.raw"
        _MAKERS[name.partition("-")[0]](image, uuid_of(number))
        change(image)
        images[name] = image
    return images


def _make_btrfs(image: Path, uuid: str) -> None:
    run(["mkfs.btrfs", "-q", "-U", uuid, blank(image, 128)])


def _make_vfat(image: Path, uuid: str) -> None:
    run(["mkfs.vfat", "-i", f"{int(uuid[-8:]):08x}", blank(image, 40)])


def _make_circle(image: Path) -> None:
    run(["debugfs", "-w", "-R", "symlink etc etc", image])


_MAKERS: dict[str, Callable[[Path, str], object]] = {
    "ext4": lambda image, uuid: make_ext4(image, uuid=uuid),
    "xfs": lambda image, uuid: make_xfs(image, uuid=uuid),
    "btrfs": _make_btrfs,
    "vfat": _make_vfat,
}


def _cut(image: Path) -> None:
    os.truncate(image, image.stat().st_size * 5 // 8)


def _debugfs(image: Path, command: str) -> str:
    return run(["debugfs", "-R", command, image])


def _zero_root_inode(image: Path) -> None:
    place = re.search(r"block (\d+), offset (0x[0-9a-f]+)", _debugfs(image, "imap <2>"))
    assert place is not None
    patch(image, int(place[1]) * _EXT4_BLOCK + int(place[2], 16), bytes(256))


def _spoil_root_directory(image: Path) -> None:
    patch(image, int(_debugfs(image, "blocks <2>").split()[0]) * _EXT4_BLOCK, b"\xff" * _EXT4_BLOCK)


def _spoil_btrfs_tree(field: int) -> Callable[[Path], None]:
    """Return what overwrites the copies of the tree whose logical address is at `field` of the superblock."""

    def spoil(image: Path) -> None:
        content = image.read_bytes()
        address = content[_BTRFS_SUPER + field :][:8]
        places = [
            place
            for place in range(2 * _BTRFS_SUPER, len(content), _BTRFS_NODE // 4)
            if content[place + 0x30 : place + 0x38] == address  # a node begins with checksum, UUID and its own address
        ]
        assert places
        for place in places:
            patch(image, place, b"\xee" * _BTRFS_NODE)

    return spoil


def _leave_journal(image: Path) -> None:
    """Leave a transaction in the journal, as a disk has it that was exported while it was mounted."""
    block = image.with_suffix(".block")
    block.write_bytes(b"replayed".ljust(_EXT4_BLOCK, b"\0"))
    # The last block of the file system, in which nothing lies.
    last = image.stat().st_size // _EXT4_BLOCK - 1
    run(["debugfs", "-w", "-f", "-", image], stdin=f"journal_open\njournal_write -b {last} {block}\njournal_close\n")
    flags = struct.unpack_from("<I", image.read_bytes(), 1024 + 0x60)[0]
    assert flags & 4  # needs_recovery


_DAMAGES: dict[str, Callable[[Path], None]] = {
    "ext4-descriptors": lambda image: patch(image, 2 * _EXT4_BLOCK, bytes(_EXT4_BLOCK)),
    "ext4-root-inode": _zero_root_inode,
    "ext4-root-directory": _spoil_root_directory,
    "ext4-cut": _cut,
    "xfs-ag-headers": lambda image: patch(image, _XFS_SECTOR, bytes(3 * _XFS_SECTOR)),
    "xfs-root-inode": lambda image: patch(image, 128 * _XFS_SECTOR, bytes(8 * _XFS_SECTOR)),
    "xfs-cut": _cut,
    "btrfs-chunk-tree": _spoil_btrfs_tree(0x58),
    "btrfs-root-tree": _spoil_btrfs_tree(0x50),
    "btrfs-cut": _cut,
    "vfat-cut": _cut,
}

_ODDITIES: dict[str, Callable[[Path], None]] = {
    "ext4-journal": _leave_journal,
    "ext4-circle": _make_circle,
    "vfat-sound": lambda _image: None,
}
