"""Knows what the journal says of a download, and whether a file is still the one that was recorded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from image_download.part_map import ObjectIdentity
from migration.disk import Disk
from migration.exported_object import ExportedObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """Changes whenever someone writes to a file. `size` is bytes."""

    size: int
    mtime_ns: int


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


def object_step(exported: ExportedObject) -> str:
    """Return the journal's name for the packed object of a disk."""
    return f"object:{exported.stem}"


def disk_step(exported: ExportedObject) -> str:
    """Return the journal's name for the finished disk."""
    return f"download:{exported.stem}"


def find_identity(exported: ExportedObject) -> ObjectIdentity:
    """Return what makes this object the one it is."""
    return ObjectIdentity(
        bucket=exported.bucket, key=exported.key, etag=exported.etag, size=exported.size, crc64=exported.crc64
    )


def find_fingerprint(path: Path) -> Fingerprint | None:
    """Return the fingerprint of the file at `path`, None where there is no file."""
    return fingerprint_of(path) if path.is_file() else None


def fingerprint_of(path: Path) -> Fingerprint:
    """Return the fingerprint of a file that is known to be there."""
    status = path.stat()
    return Fingerprint(size=status.st_size, mtime_ns=status.st_mtime_ns)
