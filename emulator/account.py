"""Knows how an emulated account lies in a folder, and builds one.

account.json                     keys, home region, role and quotas: `AccountSettings`; may be missing
images/<image-id>/image.json     one image: `EmulatedImage`
images/<image-id>/<file>.raw     its disks
buckets/<bucket>/                objects: see `emulator.object_store`
tasks/<task-id>.json             export tasks: see `emulator.tasks`
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from emulator.folder import FolderModel, file_name, read_model, write_model
from emulator.sparse import copy_sparse
from migration.disk import Disk
from migration.image import GIB

# Regions of the vendor's regions and zones page, as far as a migration is likely to meet them.
REGIONS = frozenset({
    "cn-qingdao", "cn-beijing", "cn-zhangjiakou", "cn-huhehaote", "cn-wulanchabu", "cn-hangzhou", "cn-shanghai",
    "cn-nanjing", "cn-shenzhen", "cn-heyuan", "cn-guangzhou", "cn-chengdu", "cn-hongkong", "cn-fuzhou",
    "ap-northeast-1", "ap-northeast-2", "ap-southeast-1", "ap-southeast-3", "ap-southeast-5", "ap-southeast-6",
    "ap-southeast-7", "eu-central-1", "eu-west-1", "me-east-1", "me-central-1", "us-east-1", "us-west-1",
})  # fmt: skip


class AccountSettings(FolderModel):
    """The account itself. The keys open nothing but this emulator."""

    region_id: str = "cn-hangzhou"
    access_key_id: str = "LTAI5tEmulatedAccountKey"
    access_key_secret: str = "emulated-secret-of-no-value"  # noqa: S105  # opens this emulator only
    owner_id: int = 1234567890123456
    export_enabled: bool = True  # on the white list
    export_role: bool = True  # AliyunECSImageExportDefaultRole exists and trusts ECS
    # Numbers are not published (vendor's ExportImage page has the two codes only): guesses.
    concurrent_exports: int = 5
    weekly_exports: int = 1000
    # User guide of January 2024: 2,048 GiB a data disk, no count; earlier: 4 disks of 500 GiB.
    max_data_disks: int | None = None
    max_data_disk_gib: int = 2048


class EmulatedDisk(FolderModel):
    """One disk of an image: ECS device name ("xvdb"), the RAW file's name, size in GiB as DescribeImages says it."""

    device: str
    role: Literal["system", "data"]
    file: str
    size_gib: int
    encrypted: bool = False


class EmulatedImage(FolderModel):
    """An image; fields are DescribeImages' own. `refuse_export` names an error that ExportImage shall give."""

    image_id: str
    name: str = ""
    description: str = ""
    region_id: str = "cn-hangzhou"
    status: str = "Available"
    owner_alias: str = "self"
    product_code: str = ""
    os_type: str = "linux"
    os_name: str = "Debian 12.5 64 bit"
    platform: str = "Debian"
    architecture: str = "x86_64"
    boot_mode: str = "BIOS"
    creation_time: str = "2024-01-15T08:00:00Z"
    family: str = ""
    tags: Mapping[str, str] = Field(default_factory=dict)
    refuse_export: str = ""
    spoil_export: bool = False  # its exports end with a wrong byte, in the bucket itself
    disks: tuple[EmulatedDisk, ...]


def read_settings(folder: Path) -> AccountSettings:
    """Return the account's settings, the defaults where the folder has none. Raises `InvalidInput`."""
    path = folder / "account.json"
    return read_model(path, AccountSettings) if path.exists() else AccountSettings()


def write_settings(folder: Path, settings: AccountSettings) -> None:
    """Make `settings` those of the account in `folder`; a running emulator has read its own already."""
    write_model(folder / "account.json", settings)


def list_images(folder: Path) -> tuple[EmulatedImage, ...]:
    """Return the account's images, by id. Raises `InvalidInput` for a file that is none."""
    return tuple(read_model(path, EmulatedImage) for path in sorted((folder / "images").glob("*/image.json")))


def add_image(folder: Path, image_id: str, disks: Sequence[Disk], **fields: Any) -> EmulatedImage:
    """Add an image made of RAW `disks`; `fields` are those of `EmulatedImage`.

    Files are hard links where the file system allows, sparse copies elsewhere. Sizes are rounded up to
    whole GiB for DescribeImages, as its field has no smaller unit, while the export has the file's size.
    An image of the same id is replaced.
    """
    home = folder / "images" / file_name(image_id)
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    entries = []
    for disk in disks:
        name = f"{disk.stem}.raw"
        try:
            os.link(disk.path, home / name)
        except OSError:  # another file system
            copy_sparse(disk.path, home / name)
        size = -(-disk.path.stat().st_size // GIB)
        entries.append(EmulatedDisk(device=disk.device, role=disk.role.value, file=name, size_gib=size))
    fields.setdefault("region_id", read_settings(folder).region_id)
    image = EmulatedImage(image_id=image_id, disks=tuple(entries), **{"name": image_id, **fields})
    write_model(home / "image.json", image)
    return image


def change_image(folder: Path, image_id: str, **fields: Any) -> EmulatedImage:
    """Change `fields` of an image; the next request sees it."""
    path = folder / "images" / file_name(image_id) / "image.json"
    image = EmulatedImage.model_validate({**read_model(path, EmulatedImage).model_dump(), **fields})
    write_model(path, image)
    return image
