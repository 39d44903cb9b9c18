"""Knows how DescribeImages tells an image: sizes as numbers and as digits, devices told, odd or absent."""

from __future__ import annotations

from collections.abc import Sequence

from image_export.answer import Answer, read_flag, read_items, read_number, read_text, read_time
from migration.device import DeviceName, parse_device_name
from migration.disk import SYSTEM_DEVICE, DiskRole
from migration.image import GIB, Image, ImageDisk


def parse_image(answer: Answer, region_id: str) -> Image:
    """Read one member of `Images`. An image always has a system disk here: its `Size` is one if no mapping is."""
    return Image(
        image_id=read_text(answer, "ImageId"),
        name=read_text(answer, "ImageName"),
        region_id=region_id,
        status=read_text(answer, "Status"),
        owner_alias=read_text(answer, "ImageOwnerAlias"),
        product_code=read_text(answer, "ProductCode"),
        os_type=read_text(answer, "OSType").lower(),
        os_name=read_text(answer, "OSNameEn", "OSName", "Platform"),
        architecture=read_text(answer, "Architecture"),
        boot_mode=read_text(answer, "BootMode"),
        disks=_parse_disks(answer),
        family=read_text(answer, "ImageFamily"),
        created=read_time(answer, "CreationTime"),
        tags=tuple(sorted(_parse_tag(tag) for tag in read_items(answer, "Tags", "Tag"))),
    )


def _parse_tag(tag: Answer) -> tuple[str, str]:
    """Read one tag, whose fields are spelled in two ways (vendor's sample, typed SDK's models)."""
    return read_text(tag, "TagKey", "Key"), read_text(tag, "TagValue", "Value")


def _parse_disks(answer: Answer) -> tuple[ImageDisk, ...]:
    mappings = read_items(answer, "DiskDeviceMappings", "DiskDeviceMapping")
    devices = [_told_device(mapping) for mapping in mappings]
    system = _find_system(mappings, devices)
    data = [number for number in range(len(mappings)) if number != system]
    named = _name_data_disks([devices[number] for number in data])
    size = read_number(answer, "Size") or 0
    encrypted = False
    if system is not None:
        # The mapping's size is a string, the image's own a number (typed SDK models); both are GiB.
        size = read_number(mappings[system], "Size") or size
        encrypted = bool(read_flag(mappings[system], "Encrypted"))
    disks = [ImageDisk(device=SYSTEM_DEVICE, role=DiskRole.SYSTEM, size=size * GIB, encrypted=encrypted)]
    for number, (index, is_told) in zip(data, named, strict=True):
        disks.append(
            ImageDisk(
                device=DeviceName(index).disk,
                role=DiskRole.DATA,
                size=(read_number(mappings[number], "Size") or 0) * GIB,
                encrypted=bool(read_flag(mappings[number], "Encrypted")),
                device_is_told=is_told,
            )
        )
    return (disks[0], *sorted(disks[1:], key=lambda disk: (len(disk.device), disk.device)))


def _told_device(mapping: Answer) -> int | None:
    """Return the position that the mapping's Device stands for; the vendor is retiring that field."""
    name = parse_device_name(read_text(mapping, "Device"))
    return name.index if name is not None and name.partition is None else None


def _find_system(mappings: Sequence[Answer], devices: Sequence[int | None]) -> int | None:
    """Return which mapping is the system disk: by Type, else /dev/xvda, else the first that is not `data`.

    Old images leave Type empty (vendor's DescribeImages page).
    """
    types = [read_text(mapping, "Type").lower() for mapping in mappings]
    for number, kind in enumerate(types):
        if kind == "system":
            return number
    for number, device in enumerate(devices):
        if device == 0 and types[number] != "data":
            return number
    return next((n for n, kind in enumerate(types) if kind != "data" and devices[n] is None), None)


def _name_data_disks(devices: Sequence[int | None]) -> list[tuple[int, bool]]:
    """Give every data disk a position, (position, was it told): as told, else the next one free, from xvdb on."""
    taken = {device for device in devices if device}
    named, used = [], set()
    for device in devices:
        if device and device not in used:
            index, is_told = device, True
        else:
            index, is_told = next(n for n in range(1, 100) if n not in taken and n not in used), False
        used.add(index)
        named.append((index, is_told))
    return named
