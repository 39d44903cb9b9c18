"""An object in OSS that holds one exported disk, and how the disk is packed in it."""

from __future__ import annotations

from dataclasses import dataclass

from migration.disk import DiskFormat, DiskRole, disk_stem
from migration.str_enum import StrEnum


class Packing(StrEnum):
    """What is around the disk's bytes inside the object."""

    NONE = "none"
    GZIP = "gz"
    TAR_GZIP = "tar.gz"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedObject:
    """One object of an export, with what proves that it has not changed since it was found.

    `size` is the object's length in bytes; `crc64` is OSS's `x-oss-hash-crc64ecma` (CRC-64/XZ),
    None where OSS does not tell it; `etag` is without quotes and only good for comparing;
    `last_modified` is Unix time in seconds.
    """

    bucket: str
    key: str
    size: int
    etag: str
    crc64: int | None
    last_modified: int
    storage_class: str
    role: DiskRole
    device: str  # ECS spelling, "xvda" for the system disk
    format: DiskFormat
    packing: Packing
    disk_size: int | None  # bytes the image says the disk has, None where unknown

    @property
    def stem(self) -> str:
        """The name the disk's files carry in a workspace: `system`, `data_xvdb`."""
        return disk_stem(self.role, self.device)
