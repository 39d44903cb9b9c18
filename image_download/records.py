"""Knows what the journal says of a download, and whether a file is still the one that was recorded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from image_download.part_map import ObjectIdentity
from migration.disk import Disk
from migration.exported_object import ExportedObject
from migration.storage import Fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRecord:
    """A packed object that lies complete and proven in the workspace."""

    object: ObjectIdentity
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskRecord:
    """A finished disk: what it came from, and the CRC-64 of its file (for RAW, that of the disk too)."""

    object: ObjectIdentity
    fingerprint: Fingerprint
    file_crc64: int
    disk: Disk


DISK_STEP = "download:"  # what the journal's names of finished disks begin with


def object_step(exported: ExportedObject) -> str:
    """Return the journal's name for the packed object of a disk."""
    return f"object:{exported.stem}"


def disk_step(exported: ExportedObject) -> str:
    """Return the journal's name for the finished disk."""
    return f"{DISK_STEP}{exported.stem}"


def parts_beside(disk: Path) -> Path:
    """Return where the CRC-64 of each part of a finished disk is kept, if it came as it is."""
    return disk.with_name(f".{disk.name}.parts")


def find_identity(exported: ExportedObject) -> ObjectIdentity:
    """Return what makes this object the one it is."""
    return ObjectIdentity(
        bucket=exported.bucket, key=exported.key, etag=exported.etag, size=exported.size, crc64=exported.crc64
    )
