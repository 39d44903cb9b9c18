"""Judges what an object really holds: by its first bytes where they may be believed, by its name otherwise.

A guest controls the first bytes of its disk, and may have stored a gzip stream or a qcow2 file at the
beginning of a bare disk. So an object whose length is that of the image's disk, or of a disk at all
(whole MiB), is the disk; bytes overrule a name only where the length says that it cannot be.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from image_download.inflate import MAGIC as GZIP_MAGIC
from image_download.settings import MIB
from migration.disk import DiskFormat
from migration.errors import CommandFailed, CorruptData
from migration.exported_object import ExportedObject, Packing
from migration.run import run

log = logging.getLogger(__name__)

HEAD = 512  # bytes from the beginning of an object that judging it takes

# Source: each format's own specification.
_MAGICS = {b"QFI\xfb": DiskFormat.QCOW2, b"KDMV": DiskFormat.VMDK, b"vhdxfile": DiskFormat.VHDX}


def find_packing(exported: ExportedObject, head: bytes) -> Packing:
    """Return how the disk is packed in an object that begins with `head`.

    `TAR_GZIP` and `GZIP` are told apart only when the stream is read.
    """
    is_gzip = head.startswith(GZIP_MAGIC)
    if exported.packing is Packing.NONE and is_gzip and not _is_length_of_disk(exported):
        return Packing.TAR_GZIP
    if exported.packing is not Packing.NONE and not is_gzip:
        return Packing.NONE
    return exported.packing


def warn_of_packing(exported: ExportedObject, found: Packing) -> None:
    """Say so where the bytes overrule the name."""
    if exported.packing is Packing.NONE and found is not Packing.NONE:
        log.warning("%s: its name says it is not packed, but it is a gzip stream: unpacking it", exported.key)
    elif found is Packing.NONE and exported.packing is not Packing.NONE:
        log.warning("%s: its name says .%s, but it is not packed", exported.key, exported.packing)


def find_format(exported: ExportedObject, path: Path) -> DiskFormat:
    """Return the format of the disk file at `path`, which came out of `exported`."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    found = next((format_ for magic, format_ in _MAGICS.items() if head.startswith(magic)), DiskFormat.RAW)
    size = path.stat().st_size
    known_size = exported.disk_size if exported.disk_size is not None else -1
    if found is exported.format or size == known_size:
        # The length of the image's disk is that of its bare bytes: in any other format there is a header more.
        return DiskFormat.RAW if size == known_size else exported.format
    if exported.format is DiskFormat.RAW and size % MIB:
        log.warning("%s: its name says raw, but it is a %s file", exported.key, found)
        return found
    return exported.format


def find_virtual_size(path: Path, disk_format: DiskFormat) -> int:
    """Return what the guest sees of the disk file at `path`, in bytes.

    Raises `CorruptData` where the file is not of its format, or refers to other files: an export never
    does, and following such a reference could read anything on this machine.
    """
    if disk_format is DiskFormat.RAW:
        return path.stat().st_size
    try:
        info = json.loads(run(["qemu-img", "info", "--output=json", "-f", disk_format, path]))
    except CommandFailed as error:
        raise CorruptData(
            f"{path.name}: qemu-img cannot read it as {disk_format}: {error.message}", "export the image again"
        ) from error
    data_file = info.get("format-specific", {}).get("data", {}).get("data-file")
    if info.get("backing-filename") or data_file:
        raise CorruptData(f"{path.name}: refers to another file", "an exported disk never does: do not use it")
    return int(info["virtual-size"])


def _is_length_of_disk(exported: ExportedObject) -> bool:
    return exported.size % MIB == 0 if exported.disk_size is None else exported.size == exported.disk_size
