"""Workspaces of migrations that went through, or did not, without a cloud or a conversion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from migration.artifact import Artifact
from migration.catalogue import record_migrated
from migration.disk import DiskFormat, DiskRole
from migration.exported_object import ExportedObject, Packing
from migration.storage import sha256_of_file
from migration.workspace import open_workspace
from tests.image_export_fixtures import make_image


def exported(image_id: str, *, crc64: int | None = 1, **changes: Any) -> ExportedObject:
    """Return the object of an image's system disk."""
    fields: dict[str, Any] = {
        "bucket": "exports", "key": f"ferry_{image_id}_system.raw.tar.gz", "size": 1, "etag": "E", "crc64": crc64,
        "last_modified": 1, "storage_class": "Standard", "role": DiskRole.SYSTEM, "device": "xvda",
        "format": DiskFormat.RAW, "packing": Packing.TAR_GZIP, "disk_size": None,
    }  # fmt: skip
    return ExportedObject(**{**fields, **changes})


def make_migration(
    path: Path, image_id: str, *, complete: bool = True, crc64: int | None = 1, booted: bool = False, **image: Any
) -> Path:
    """Make a workspace with one image of a few bytes, as far as it goes; `image` are fields of the cloud's image."""
    with open_workspace(path) as space:
        space.claim({"image_id": image_id, "region_id": "cn-hangzhou", "bucket": "exports"})
        made = space.images / "system.qcow2"
        made.write_bytes(b"image" * 1000)
        if not complete:
            return path
        artifact = Artifact(
            device="xvda", role=DiskRole.SYSTEM, path=made, format=DiskFormat.QCOW2, virtual_size=1,
            file_size=made.stat().st_size, sha256=sha256_of_file(made), proof="compared",
        )  # fmt: skip
        record_migrated(
            space, make_image(image_id=image_id, **image), [exported(image_id, crc64=crc64)], [artifact], booted=booted
        )
    return path
