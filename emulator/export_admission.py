"""Knows which exports ECS admits, with which error it refuses the others, and how it names the objects.

Codes are the vendor's ExportImage page; which rule gives which of them, and in which order, is a guess where
nothing else is said.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from emulator.account import EmulatedDisk, EmulatedImage, list_images
from emulator.ecs_errors import EXPORT_ERRORS, export_error, missing
from emulator.emulation import Emulation
from emulator.folder import file_name
from emulator.object_store import Bucket, find_bucket
from emulator.tasks import TaskBoard
from emulator.variants import ExportPacking
from migration.disk import DiskRole, disk_stem

EXPORT_ROLE = "AliyunECSImageExportDefaultRole"
FORMATS = frozenset({"raw", "vhd", "qcow2", "vmdk", "vdi"})
# Vendor's ExportImage page of January 2026: the only regions that have ImageFormat.
FORMAT_REGIONS = frozenset({
    "ap-northeast-1", "ap-southeast-5", "eu-central-1", "me-east-1", "us-east-1", "eu-west-1", "ap-southeast-1",
    "ap-southeast-3", "us-west-1",
})  # fmt: skip
WEEK = 7 * 24 * 3600  # seconds


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """An export that was found admissible: object keys and disks in the same order."""

    image: EmulatedImage
    bucket: Bucket
    format: str
    keys: tuple[str, ...]
    disks: tuple[Path, ...]


def plan_export(emulation: Emulation, board: TaskBoard, params: Mapping[str, str]) -> ExportPlan:
    """Return what the export will do, or raise `EcsError`."""
    for name in ("RegionId", "ImageId", "OSSBucket"):
        if not params.get(name):
            raise missing(name)
    _check_account(emulation, params)
    if not re.fullmatch(r"[A-Za-z0-9]{0,30}", params.get("OSSPrefix", "")):
        raise export_error("InvalidOSSPrefix.Malformed")
    image_format = _choose_format(emulation, params)
    image = _find_image(emulation, params)
    _check_image(emulation, image)
    bucket = find_bucket(emulation.folder, params["OSSBucket"])
    if bucket is None:
        raise export_error("InvalidOSSBucket.NotFound")
    if bucket.settings.region_id != image.region_id:
        raise export_error("InvalidOSSBucket.NotMatched")
    _check_quotas(emulation, board, image)
    prefix = params.get("OSSPrefix", "")
    keys = tuple(_object_key(emulation, prefix, image, disk, image_format) for disk in image.disks)
    home = emulation.folder / "images" / file_name(image.image_id)
    return ExportPlan(image, bucket, image_format, keys, tuple(home / disk.file for disk in image.disks))


def _choose_format(emulation: Emulation, params: Mapping[str, str]) -> str:
    """Return the format of the export: the page says that other regions "by default" give RAW, and has an error too."""
    asked = params.get("ImageFormat") or "raw"
    if asked not in FORMATS:
        raise export_error("InvalidImageFormat.Malformed")
    if asked == "raw" or params["RegionId"] in FORMAT_REGIONS:
        return asked
    if emulation.variants.refuse_unsupported_format:
        raise export_error("InvalidImageFormat.RegionNotSupported")
    return "raw"


def _check_account(emulation: Emulation, params: Mapping[str, str]) -> None:
    settings = emulation.settings
    if not settings.export_enabled:
        raise export_error("UserNotInTheWhiteList")
    # The page says that any other role's name is invalid; that this is the code is a guess.
    if not settings.export_role or (params.get("RoleName") or EXPORT_ROLE) != EXPORT_ROLE:
        raise export_error("NoSetRoletoECSServiceAcount")


def _find_image(emulation: Emulation, params: Mapping[str, str]) -> EmulatedImage:
    """Find one of the caller's own images: those of other categories are not supported (the page's words)."""
    for image in list_images(emulation.folder):
        if (image.image_id, image.region_id) == (params["ImageId"], params["RegionId"]):
            if image.owner_alias != "self":
                raise export_error("InvalidImageCategory.NotSupported")
            return image
    raise export_error("InvalidImageId.NotFound")


def _check_image(emulation: Emulation, image: EmulatedImage) -> None:
    settings = emulation.settings
    if image.refuse_export:
        if image.refuse_export not in EXPORT_ERRORS:
            raise ValueError(f"{image.image_id}: refuse_export={image.refuse_export!r} is no error of ExportImage")
        raise export_error(image.refuse_export)
    if image.status != "Available":
        raise export_error("IncorrectImageStatus")
    if image.product_code:
        raise export_error("ImageNotSupported/marketplace")
    if any(disk.encrypted for disk in image.disks):
        raise export_error("ImageNotSupported/encrypted")
    if image.os_type == "windows":  # refused by the user guide; that this is the code is likely
        raise export_error("InvalidImageLicense.NotSupported")
    data = [disk for disk in image.disks if disk.role == "data"]
    if settings.max_data_disks is not None and len(data) > settings.max_data_disks:
        raise export_error("InvalidImage.DiskAmountOrSize")
    if any(disk.size_gib > settings.max_data_disk_gib for disk in data):
        raise export_error("InvalidImage.DiskAmountOrSize")


def _check_quotas(emulation: Emulation, board: TaskBoard, image: EmulatedImage) -> None:
    tasks = list(board.tasks.values())
    running = [task for task in tasks if task.status.is_running]
    if any(task.image_id == image.image_id for task in running):
        raise export_error("ImageIsExporting")
    if len(running) >= emulation.settings.concurrent_exports:
        raise export_error("ConcurrentQuotaExceed.ExportImage")
    if sum(task.created > time.time() - WEEK for task in tasks) >= emulation.settings.weekly_exports:
        raise export_error("WeeklyQuotaExceed.ExportImage")


def _object_key(emulation: Emulation, prefix: str, image: EmulatedImage, disk: EmulatedDisk, image_format: str) -> str:
    """Return an object's name as really seen: `[prefix_]m-…_system.raw.tar.gz`, `…_data_xvdb.raw.tar.gz`.

    For formats other than RAW no real name is known: bare files are a guess. An export of the same image
    with the same prefix replaces the objects of the one before, which is a guess too.
    """
    variants = emulation.variants
    name = variants.joiner.join([*([prefix] if prefix else []), image.image_id])
    packed = image_format == "raw" and variants.packing is ExportPacking.TAR_GZIP
    return f"{name}_{disk_stem(DiskRole(disk.role), disk.device)}.{image_format}{'.tar.gz' if packed else ''}"
