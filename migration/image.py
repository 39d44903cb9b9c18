"""The custom image as DescribeImages tells it, reduced to what a migration needs."""

from __future__ import annotations

from dataclasses import dataclass

from migration.disk import DiskRole

GIB = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDisk:
    """One of an image's disks: ECS device name ("xvdb"), role and size in bytes.

    `device_is_told` is False where DescribeImages named no device (the vendor is retiring that field)
    and the disk's place in the list stands in for it.
    """

    device: str
    role: DiskRole
    size: int
    encrypted: bool = False
    device_is_told: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A custom image. Strings are the cloud's own words, "" where it said nothing."""

    image_id: str
    name: str
    region_id: str
    status: str  # Available, UnAvailable, Creating, Waiting, CreateFailed, Deprecated
    owner_alias: str  # self, system, others, marketplace
    product_code: str  # not empty: made from a marketplace image
    os_type: str  # linux, windows
    os_name: str
    architecture: str  # x86_64, i386, arm64
    boot_mode: str  # BIOS, UEFI, UEFI-Preferred
    disks: tuple[ImageDisk, ...]  # the system disk first
    family: str = ""  # what images of one line of succession share
    created: int | None = None  # Unix time; None where the cloud does not tell it
    tags: tuple[tuple[str, str], ...] = ()  # key and value, by key

    @property
    def system_disk(self) -> ImageDisk:
        return next(disk for disk in self.disks if disk.role is DiskRole.SYSTEM)

    @property
    def data_disks(self) -> tuple[ImageDisk, ...]:
        return tuple(disk for disk in self.disks if disk.role is DiskRole.DATA)

    @property
    def total_size(self) -> int:
        """Bytes of all disks as the guest sees them."""
        return sum(disk.size for disk in self.disks)
