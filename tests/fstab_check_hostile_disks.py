"""Makes disks that somebody means ill with: tables that lie, superblocks that are damaged or boast, names that bite."""

from __future__ import annotations

import os
import random
import struct
import uuid
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from migration.run import run
from tests.fstab_check_disks import MIB, make_ext4, make_tree

SECTOR = 512
LINUX_DATA = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
ESCAPE = "\x1b]0;owned\x07\x1b[2J"  # sets a terminal's title, then clears it


@dataclass(frozen=True, slots=True, kw_only=True)
class GptEntry:
    first: int  # sector
    last: int
    name: str = ""


def blank(path: Path, mib: int) -> Path:
    with path.open("wb") as stream:
        stream.truncate(mib * MIB)
    return path


def patch(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(data)


def write_gpt(
    disk: Path, entries: Sequence[GptEntry], *, entry_count: int = 0, entry_size: int = 128, backup_at: int = 0
) -> None:  # fmt: skip
    """Write a primary GPT with right checksums, whatever it claims; no backup lies where it says one does."""
    sectors = disk.stat().st_size // SECTOR
    table = b"".join(
        LINUX_DATA.bytes_le + uuid.uuid5(LINUX_DATA, str(number)).bytes_le
        + struct.pack("<QQQ", entry.first, entry.last, 0) + entry.name.encode("utf-16-le")[:72].ljust(72, b"\0")
        for number, entry in enumerate(entries)
    )  # fmt: skip
    table = table.ljust(128 * 128, b"\0")
    header = struct.pack(
        "<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, 1, backup_at or sectors - 1, 34, sectors - 34,
        LINUX_DATA.bytes_le, 2, entry_count or max(128, len(entries)), entry_size, zlib.crc32(table),
    )  # fmt: skip
    header = header[:16] + struct.pack("<I", zlib.crc32(header)) + header[20:]
    patch(disk, 0, _protective_mbr(sectors))
    patch(disk, SECTOR, header)
    patch(disk, 2 * SECTOR, table)


def _protective_mbr(sectors: int) -> bytes:
    entry = struct.pack("<BBBBBBBBII", 0, 0, 2, 0, 0xEE, 255, 255, 255, 1, min(sectors - 1, 2**32 - 1))
    return b"\0" * 446 + entry + b"\0" * 48 + b"\x55\xaa"


def lying_tables(folder: Path) -> dict[str, Path]:
    """Make a small disk for each way in which a partition table can lie."""
    disks = {name: blank(folder / f"{name}.raw", 8) for name in (
        "count-bomb", "size-bomb", "overlapping", "backwards", "beyond-the-end", "lost-backup", "protective-only",
        "biting-names",
    )}  # fmt: skip
    whole = GptEntry(first=2048, last=8191)
    write_gpt(disks["count-bomb"], [whole], entry_count=2**32 - 1)
    write_gpt(disks["size-bomb"], [whole], entry_size=2**31)
    write_gpt(disks["overlapping"], [whole, GptEntry(first=3000, last=9000), whole])
    write_gpt(disks["backwards"], [GptEntry(first=9000, last=2048)])
    write_gpt(disks["beyond-the-end"], [GptEntry(first=2048, last=2**63)])
    write_gpt(disks["lost-backup"], [whole], backup_at=2**62)
    patch(disks["protective-only"], 0, _protective_mbr(16384))
    write_gpt(disks["biting-names"], [GptEntry(first=2048, last=8191, name=f"{ESCAPE}\u202e\n\ud7ff")])
    return disks


def crowded_table(path: Path, count: int) -> Path:
    """Make a disk with a GPT of so many partitions, one sector each."""
    blank(path, 8)
    write_gpt(path, [GptEntry(first=4096 + number, last=4096 + number) for number in range(count)])
    return path


def bad_filesystems(folder: Path) -> dict[str, Path]:
    """Make file systems whose superblocks are damaged, or tell of sizes that nobody has."""
    source = random.Random(7)
    images = {}
    for number, (name, spoil) in enumerate(_SPOILT.items()):
        image = folder / f"{name}.raw"
        if name.startswith("xfs"):
            blank(image, 320)
            run(["mkfs.xfs", "-q", image])
        elif name.startswith("btrfs"):
            blank(image, 128)
            run(["mkfs.btrfs", "-q", image])
        else:
            make_ext4(image, uuid=str(uuid.UUID(int=number)), label=ESCAPE[:16] if name == "ext4-biting-label" else "")
        spoil(image, source)
        images[name] = image
    return images


def _flip(start: int, size: int, count: int) -> Callable[[Path, random.Random], None]:
    def spoil(image: Path, source: random.Random) -> None:
        with image.open("r+b") as stream:
            stream.seek(start)
            content = bytearray(stream.read(size))
            for _ in range(count):
                content[source.randrange(size)] ^= 1 << source.randrange(8)
            stream.seek(start)
            stream.write(content)

    return spoil


def _boast_ext4(image: Path, _source: random.Random) -> None:
    # debugfs writes the checksum anew: 2^44 blocks of a KiB or more are 16 PiB and up.
    run(["debugfs", "-w", "-R", "set_super_value blocks_count 0xfffffffffff", image])


def _boast_xfs(image: Path, _source: random.Random) -> None:
    run(["xfs_db", "-x", "-c", "sb 0", "-c", "write -d dblocks 0xfffffffffffff", image])


_SPOILT: dict[str, Callable[[Path, random.Random], None]] = {
    "ext4-superblock": _flip(1024 + 4, 300, 8),
    "ext4-checksum": lambda image, _source: patch(image, 1024 + 0x3FC, b"\xde\xad\xbe\xef"),
    "ext4-descriptors": _flip(2048, 1024, 200),
    "ext4-boast": _boast_ext4,
    "ext4-biting-label": lambda _image, _source: None,
    "xfs-superblock": _flip(8, 200, 8),
    "xfs-checksum": lambda image, _source: patch(image, 224, b"\xde\xad\xbe\xef"),
    "xfs-boast": _boast_xfs,
    "btrfs-superblock": _flip(0x10000 + 0x48, 400, 8),
    "btrfs-checksum": lambda image, _source: patch(image, 0x10000, b"\xde\xad\xbe\xef"),
    "btrfs-chunks": _flip(0x10000 + 0x32B, 200, 20),
}


def bad_trees(folder: Path, secret: Path) -> dict[str, Path]:
    """Make root file systems that try to lead the reader of /etc/fstab astray; `secret` is a file of this machine."""
    names = (
        "huge", "etc-absolute", "etc-relative", "etc-loop", "etc-outside", "fstab-loop", "fstab-outside", "fstab-self",
        "fstab-dangling", "fifo", "socket", "character", "block", "directory", "deep-links", "long-links",
        "big-release",
    )  # fmt: skip
    trees = {name: make_tree(folder / name, {}) for name in names}
    (trees["huge"] / "etc/fstab").write_bytes(b"UUID=x /y ext4 defaults 0 0\n" * 375_000)  # 10 MiB
    for name, target in (("etc-absolute", "/real-etc"), ("etc-relative", "../../../real-etc"), ("etc-loop", "etc")):
        (trees[name] / "etc").rename(trees[name] / "real-etc")
        (trees[name] / "real-etc/fstab").write_text("tmpfs /inside tmpfs\n")
        (trees[name] / "etc").symlink_to(target)
    (trees["etc-outside"] / "etc").rename(trees["etc-outside"] / "real-etc")
    (trees["etc-outside"] / "etc").symlink_to(f"../../../../../../{secret.parent}")
    (trees["fstab-loop"] / "etc/fstab").symlink_to("fstab")
    (trees["fstab-outside"] / "etc/fstab").symlink_to(secret)
    (trees["fstab-self"] / "etc/fstab").symlink_to("/proc/self/root/etc/fstab")
    (trees["fstab-dangling"] / "etc/fstab").symlink_to(f"/{ESCAPE}")
    os.mkfifo(trees["fifo"] / "etc/fstab")
    (trees["directory"] / "etc/fstab").mkdir()
    # Forty links in a row are what a kernel follows; each of these leads through the one before.
    _link_chain(trees["deep-links"], 60)
    deep = trees["long-links"] / "etc"
    for _ in range(45):  # a link of an ext4 with small blocks has up to 1023 bytes
        deep /= "d" * 20
    deep.mkdir(parents=True)
    (deep / "fstab").write_text("tmpfs /deep tmpfs\n")
    (trees["long-links"] / "etc/fstab").symlink_to(deep.relative_to(trees["long-links"] / "etc") / "fstab")
    release = trees["big-release"] / "usr/lib/os-release"
    with release.open("wb") as stream:
        stream.write(b"PRETTY_NAME=" + b" " * 60_000 + b"x\n")
        stream.truncate(1024 * MIB)
    images = {}
    for number, (name, tree) in enumerate(trees.items()):
        images[name] = make_ext4(
            folder / f"{name}.raw", uuid=str(uuid.UUID(int=number + 1)), label=name, tree=tree, mib=24
        )
    for name, node in (("socket", "0140777"), ("character", "c 1 0"), ("block", "b 8 0")):
        _make_node(images[name], node)
    return images


def _link_chain(tree: Path, length: int) -> None:
    (tree / "link-0").mkdir()
    (tree / "link-0/fstab").write_text("tmpfs /chained tmpfs\n")
    for number in range(1, length):
        (tree / f"link-{number}").symlink_to(f"link-{number - 1}")
    (tree / "etc/fstab").symlink_to(f"/link-{length - 1}/fstab")


def _make_node(image: Path, node: str) -> None:
    if node.startswith("0"):  # no program makes a socket in an image: a file with another mode
        commands = f"cd /etc\nwrite /dev/null fstab\nset_inode_field fstab mode {node}\n"
    else:
        commands = f"cd /etc\nmknod fstab {node}\n"
    run(["debugfs", "-w", "-f", "-", image], stdin=commands)
