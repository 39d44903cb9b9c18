"""Finds out from a disk whether it starts by BIOS or by UEFI, and the UEFI that QEMU runs.

A few sectors are read: partition table, and in an EFI system partition the way to \\EFI\\BOOT\\BOOTX64.EFI,
which is what a firmware starts that has never seen the disk, as every one has at the other side.
"""

from __future__ import annotations

import re
import shutil
import struct
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from migration.disk import DiskFormat
from migration.errors import ToolMissing
from migration.run import run
from private_cloud.machine import Firmware, FirmwareFiles

# Returns so many bytes at an offset; fewer, or none, past the end of the disk.
Read = Callable[[int, int], bytes]

SECTOR = 512
ESP = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
BIOS_BOOT = uuid.UUID("21686148-6449-6e6f-744e-656564454649")
_MBR_ESP, _MBR_GPT = 0xEF, 0xEE

LOADER = (b"EFI        ", b"BOOT       ", b"BOOTX64 EFI")  # as FAT spells names: 8 and 3 characters
_LONGEST_CHAIN = 64  # clusters of a folder that are looked through
_MOST_PARTITIONS = 128

# Where distributions keep OVMF, without Secure Boot; the variables lie beside the program.
OVMF = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
)


def find_firmware(read: Read) -> Firmware:
    """Return what the disk is made for, judging by what is on it; BIOS where nothing speaks for UEFI."""
    partitions = list(_partitions(read))
    systems = [start for kind, start in partitions if kind == ESP]
    if any(_has_loader(read, start * SECTOR) for start in systems):
        return Firmware.UEFI
    is_gpt = read(SECTOR, 8) == b"EFI PART"
    # Without a BIOS boot partition GRUB has no room on a GPT disk: a UEFI that knew the loader's name started it.
    if systems and is_gpt and all(kind != BIOS_BOOT for kind, _ in partitions):
        return Firmware.UEFI
    return Firmware.BIOS


def reader_of_layer(layer: Path) -> Read:
    """Return how to read what a guest sees of a qcow2 file of ours."""
    return reader_of_image(layer, DiskFormat.QCOW2)


def reader_of_image(image: Path, disk_format: DiskFormat) -> Read:
    """Return how to read what a guest sees of an image."""

    def read(offset: int, size: int) -> bytes:
        told = run(["qemu-io", "-r", "-f", disk_format, "-c", f"read -v {offset} {size}", image], ok=(0, 1))
        # A row is an offset, `00000200:`, up to 16 bytes in hexadecimal, and the same as text.
        rows = re.findall(r"^[0-9a-f]{8,}:  ((?:[0-9a-f]{2} )+)", told, re.MULTILINE)
        return bytes.fromhex("".join(rows))

    return read


def find_ovmf(scratch: Path) -> FirmwareFiles:
    """Return a UEFI with empty variables of its own in `scratch`, or raise `ToolMissing`."""
    for code, variables in OVMF:
        if Path(code).exists() and Path(variables).exists():
            own = Path(shutil.copyfile(variables, scratch / "uefi-variables"))
            return FirmwareFiles(code=Path(code), variables=own)
    raise ToolMissing("OVMF, the UEFI for QEMU, is not installed on this machine", "apt-get install ovmf")


def _partitions(read: Read) -> Iterator[tuple[uuid.UUID, int]]:
    """Yield type and first sector of each partition; an MBR's EFI system partition comes as a GPT's."""
    table = read(0, SECTOR)
    if len(table) < SECTOR or table[510:] != b"\x55\xaa":
        return
    for number in range(4):
        entry = table[446 + 16 * number :][:16]
        if entry[4] == _MBR_ESP:
            yield ESP, int.from_bytes(entry[8:12], "little")
        elif entry[4] == _MBR_GPT:
            yield from _gpt_partitions(read)


def _gpt_partitions(read: Read) -> Iterator[tuple[uuid.UUID, int]]:
    header = read(SECTOR, SECTOR)
    if len(header) < SECTOR or header[:8] != b"EFI PART":
        return
    first, count, size = struct.unpack_from("<QII", header, 72)
    if not 128 <= size <= 4096 or first >= 1 << 40:
        return
    entries = read(first * SECTOR, min(count, _MOST_PARTITIONS) * size)
    for offset in range(0, len(entries) - size + 1, size):
        kind = uuid.UUID(bytes_le=entries[offset : offset + 16])
        (start,) = struct.unpack_from("<Q", entries, offset + 32)
        if kind.int and start < 1 << 40:
            yield kind, start


@dataclass(frozen=True, slots=True)
class _Fat:
    """A FAT file system, in bytes from the start of the disk (source: Microsoft's FAT specification of 2000)."""

    read: Read
    table: int
    entry_bits: int  # 12, 16 or 32 for each cluster
    fixed_root: tuple[int, int]  # offset and size; size 0 where the root folder is a chain as any other
    root_cluster: int
    data: int
    cluster: int

    def root(self) -> bytes:
        offset, size = self.fixed_root
        return self.read(offset, size) if size else self.folder(self.root_cluster)

    def folder(self, first: int) -> bytes:
        found, cluster = b"", first
        for _ in range(_LONGEST_CHAIN):
            if not 2 <= cluster < 0x0FFFFFF0:
                break
            found += self.read(self.data + (cluster - 2) * self.cluster, self.cluster)
            cluster = self._next(cluster)
        return found

    def _next(self, cluster: int) -> int:
        """Return the cluster that follows, something out of range at the end."""
        # qemu-io reads whole sectors only, and an entry of 12 bits may lie across two.
        offset = self.table + cluster * self.entry_bits // 8
        start = offset // SECTOR * SECTOR
        sectors = self.read(start, 2 * SECTOR)
        value = int.from_bytes(sectors[offset - start :][:4], "little")
        if self.entry_bits == 12:
            value = value >> 4 & 0xFFF if cluster % 2 else value & 0xFFF
            return value if value < 0xFF0 else 0
        if self.entry_bits == 16:
            value &= 0xFFFF
            return value if value < 0xFFF0 else 0
        return value & 0x0FFFFFFF


def _open_fat(read: Read, start: int) -> _Fat | None:
    boot = read(start, SECTOR)
    if len(boot) < SECTOR or boot[510:] != b"\x55\xaa":
        return None
    sector, per_cluster, reserved, tables, root_entries, sectors16 = struct.unpack_from("<HBHBHH", boot, 11)
    (table16,) = struct.unpack_from("<H", boot, 22)
    sectors32, table32 = struct.unpack_from("<I", boot, 32)[0], struct.unpack_from("<I", boot, 36)[0]
    (root_cluster,) = struct.unpack_from("<I", boot, 44)
    if sector not in {512, 1024, 2048, 4096} or per_cluster not in {1, 2, 4, 8, 16, 32, 64, 128} or not tables:
        return None
    root = start + (reserved + tables * (table16 or table32)) * sector
    root_size = (root_entries * 32 + sector - 1) // sector * sector
    clusters = ((sectors16 or sectors32) * sector - (root + root_size - start)) // (per_cluster * sector)
    return _Fat(
        read=read,
        table=start + reserved * sector,
        entry_bits=32 if not table16 else 16 if clusters >= 4085 else 12,
        fixed_root=(root, root_size),
        root_cluster=root_cluster,
        data=root + root_size,
        cluster=per_cluster * sector,
    )


def _has_loader(read: Read, start: int) -> bool:
    """Return whether the FAT file system at `start` holds the loader that every firmware looks for."""
    fat = _open_fat(read, start)
    if fat is None:
        return False
    folder = fat.root()
    for name in LOADER:
        entries = (folder[at : at + 32] for at in range(0, len(folder) - 31, 32))
        entry = next((entry for entry in entries if entry[:11] == name and not entry[11] & 0x08), None)
        if entry is None:
            return False
        if name is LOADER[-1]:
            return True
        high, low = struct.unpack_from("<H", entry, 20)[0], struct.unpack_from("<H", entry, 26)[0]
        folder = fat.folder((high << 16 if fat.entry_bits == 32 else 0) | low)
    return False
