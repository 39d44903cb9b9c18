"""Knows DescribeImages: which images a request means, and how the answer describes them.

Fields and filters are those of the vendor's DescribeImages page and of the typed SDK's models.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from emulator.account import EmulatedDisk, EmulatedImage, list_images
from emulator.ecs_errors import EcsError
from emulator.emulation import Emulation

_OWNERS = frozenset({"self", "system", "others", "marketplace"})


def describe_images(emulation: Emulation, params: Mapping[str, str]) -> dict[str, Any]:
    """Answer DescribeImages. An unknown image id is an empty list, not an error (likely; no page says so)."""
    if params.get("DryRun", "").lower() == "true":
        # That a passed dry run is an error with this code is documented; the status is a guess.
        raise EcsError(400, "DryRunOperation", "Request validation has been passed with DryRun flag set.")
    alias = params.get("ImageOwnerAlias", "")
    if alias and alias not in _OWNERS:
        message = "The specified ImageOwnerAlias value is not supported."
        raise EcsError(400, "InvalidImageOwnerAlias.ValueNotSupported", message)
    images = [image for image in list_images(emulation.folder) if _is_meant(image, params)]
    page, size = paging(params)
    chosen = images[(page - 1) * size : page * size]
    return {
        "Images": {"Image": [_describe(emulation, image) for image in chosen]},
        "PageNumber": page, "PageSize": size, "TotalCount": len(images), "RegionId": params["RegionId"],
    }  # fmt: skip


def paging(params: Mapping[str, str]) -> tuple[int, int]:
    """Return page number (from 1) and page size, or raise `EcsError` (the code's spelling is the vendor's)."""
    try:
        page, size = int(params.get("PageNumber") or 1), int(params.get("PageSize") or 10)
    except ValueError:
        page = size = 0
    if page < 1 or not 1 <= size <= 100:
        raise EcsError(400, "InvalidParamter", "The specified PageNumber or PageSize is out of range.")
    return page, size


def _is_meant(image: EmulatedImage, params: Mapping[str, str]) -> bool:
    wanted_ids = _words(params.get("ImageId", ""))
    wanted_status = _words(params.get("Status", "") or "Available")  # the page's default
    exact = {
        "OSType": image.os_type, "Architecture": image.architecture, "ImageOwnerAlias": image.owner_alias,
        "ImageFamily": image.family,
    }  # fmt: skip
    return (
        image.region_id == params["RegionId"]
        and (not wanted_ids or image.image_id in wanted_ids)
        and (image.status in wanted_status or "ALL" in wanted_status)
        and params.get("ImageName", "") in image.name
        and all(not params.get(name) or params[name] == value for name, value in exact.items())
        and all(image.tags.get(key) == value for key, value in _wanted_tags(params).items())
    )


def _wanted_tags(params: Mapping[str, str]) -> dict[str, str]:
    """Return `Tag.1.Key`, `Tag.1.Value`, …: an image has to carry all of them (vendor's page; 20 at most)."""
    keys = {name.split(".")[1]: value for name, value in params.items() if re.fullmatch(r"Tag\.\d+\.Key", name)}
    return {key: params.get(f"Tag.{number}.Value", "") for number, key in keys.items()}


def _words(text: str) -> set[str]:
    return {word.strip() for word in text.split(",") if word.strip()}


def _describe(emulation: Emulation, image: EmulatedImage) -> dict[str, Any]:
    variants = emulation.variants
    system = next((disk for disk in image.disks if disk.role == "system"), image.disks[0])
    answer = {
        "ImageId": image.image_id, "ImageName": image.name, "Description": image.description,
        "ImageVersion": "", "ImageFamily": image.family,
        "ImageOwnerAlias": image.owner_alias, "ImageOwnerId": emulation.settings.owner_id,
        "ProductCode": image.product_code, "IsSubscribed": False, "IsCopied": False, "IsPublic": False,
        "IsSelfShared": "", "IsSupportCloudinit": True, "IsSupportIoOptimized": True, "Usage": "none",
        "LoginAsNonRootSupported": False,
        "Status": image.status, "Progress": "100%" if image.status == "Available" else "0%",
        "CreationTime": image.creation_time, "Size": system.size_gib,
        "OSType": image.os_type, "Platform": image.platform, "OSName": image.os_name, "OSNameEn": image.os_name,
        "Architecture": image.architecture, "BootMode": image.boot_mode,
        "Features": {"NvmeSupport": "unsupported"}, "ResourceGroupId": "",
        "DiskDeviceMappings": {
            "DiskDeviceMapping": [_describe_disk(disk, with_device=not variants.device_retired) for disk in image.disks]
        },
        "Tags": {"Tag": [{"TagKey": key, "TagValue": value} for key, value in image.tags.items()]},
    }  # fmt: skip
    return strings_for_booleans(answer) if variants.booleans_as_strings else answer


def _describe_disk(disk: EmulatedDisk, *, with_device: bool) -> dict[str, Any]:
    """Describe one mapping. Its Size is a string while the image's is a number (typed SDK's models)."""
    mapping = {
        "Device": f"/dev/{disk.device}", "Type": disk.role, "Format": "", "Size": str(disk.size_gib),
        "SnapshotId": f"s-{disk.device}", "Encrypted": disk.encrypted, "Progress": "100%", "RemainTime": 0,
        "ImportOSSBucket": "", "ImportOSSObject": "",
    }  # fmt: skip
    if not with_device:
        del mapping["Device"]
    return mapping


def strings_for_booleans(value: Any) -> Any:
    """Return an answer in which `true` is `"true"`, as some of the vendor's tables have the types."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return {key: strings_for_booleans(part) for key, part in value.items()}
    return [strings_for_booleans(part) for part in value] if isinstance(value, list) else value
