"""Knows the names of exported objects, and which of them is which disk of an image.

Really seen: `[<prefix>_]<image id>_system.raw.tar.gz` and `…_data_xvdb.raw.tar.gz` (several independent
public examples). Documented or feared, and taken as well: `-` as joiner (the console's help), a bare
`.raw`, other formats with or without `.tar.gz`, and `<prefix>_<image id>_<task id>.vhd` (sample of
DescribeTaskAttribute), which says nothing of the disk and so fits images of one disk only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from migration.credentials import redacted
from migration.device import parse_device_name
from migration.disk import SYSTEM_DEVICE, DiskFormat, DiskRole
from migration.errors import CloudRefused
from migration.exported_object import ExportedObject, Packing
from migration.image import Image, ImageDisk

_NAME = re.compile(
    r"(?:(?P<prefix>[A-Za-z0-9]{1,30})[_-])?(?P<image>m-[A-Za-z0-9]+)[_-]"
    r"(?:(?P<system>system)|data[_-](?P<device>[A-Za-z0-9]+)|t(?:sk)?-[A-Za-z0-9]+)"
    r"(?:\.(?P<format>raw|vhd|qcow2|vmdk|vdi))?(?:\.(?P<packing>tar\.gz|tgz|gz))?"
)
_PACKINGS = {"tar.gz": Packing.TAR_GZIP, "tgz": Packing.TAR_GZIP, "gz": Packing.GZIP}


class ObjectsMismatch(CloudRefused):
    """The objects in the bucket are not exactly one for every disk of the image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundObject:
    """An object as a listing or a HEAD tells it: bytes, Unix seconds, ETag without quotes; CRC-64 from a HEAD alone."""

    key: str
    size: int
    etag: str
    last_modified: int
    storage_class: str
    crc64: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectName:
    """What a key says. `role` None: the old layout without a disk; `device` "" unless it is a data disk's.

    `device` is in ECS's spelling where the name's is a disk name in any spelling, else the name's own word.
    """

    prefix: str
    image_id: str
    role: DiskRole | None
    device: str
    format: DiskFormat
    packing: Packing


def parse_object_name(key: str) -> ObjectName | None:
    """Return what the name of an exported object says, or None for any other object."""
    match = _NAME.fullmatch(key)
    if match is None or not (match["format"] or match["packing"]):
        return None
    role = DiskRole.SYSTEM if match["system"] else DiskRole.DATA if match["device"] else None
    name = parse_device_name(match["device"] or "")
    return ObjectName(
        prefix=match["prefix"] or "",
        image_id=match["image"],
        role=role,
        device=name.disk if name is not None and name.partition is None else match["device"] or "",
        format=DiskFormat.from_suffix(match["format"] or "raw") or DiskFormat.RAW,
        packing=_PACKINGS[match["packing"]] if match["packing"] else Packing.NONE,
    )


@dataclass(frozen=True, slots=True)
class _Candidate:
    found: FoundObject
    name: ObjectName


def match_objects(
    bucket: str,
    listing: Iterable[FoundObject],
    *,
    image_id: str,
    image: Image | None,
    prefix: str | None = None,
    named: Sequence[str] = (),
    not_before: int | None = None,
) -> tuple[ExportedObject, ...]:
    """Return exactly one object for every disk of the image, the system disk first, or raise `ObjectsMismatch`.

    `image` None: which disks there are is read off the objects, sizes unknown. `prefix` None: any.
    `named` are the keys that the task itself named: they win over others for the same disk.
    `not_before` (Unix seconds): what was last modified earlier belongs to an earlier export.
    """
    parsed = ((found, parse_object_name(found.key)) for found in listing)
    candidates = [_Candidate(found, name) for found, name in parsed if name is not None and name.image_id == image_id]
    candidates = [one for one in candidates if prefix is None or one.name.prefix == prefix]
    current = [one for one in candidates if not_before is None or one.found.last_modified >= not_before]
    stale = [one for one in candidates if one not in current]
    matched, problems = _match(current, image, frozenset(named))
    if problems:
        where = f"oss://{bucket}" + ("" if prefix is None else f", prefix {prefix!r}")
        problems += [f"{_show(one)} is older than this export, so it is not counted" for one in stale]
        problems += [] if candidates else ["there is no object of this image at all"]
        raise ObjectsMismatch(
            f"{image_id} in {where}: the objects are not one for every disk of the image\n  " + "\n  ".join(problems),
            "was the export complete, and was anything deleted (lifecycle rule)? Say which export by its prefix, "
            "or export again",
        )
    exported = [_exported(bucket, one, disk) for one, disk in matched]
    return tuple(sorted(exported, key=lambda one: (one.role is not DiskRole.SYSTEM, _device_order(one.device))))


_Matched = list[tuple[_Candidate, ImageDisk | None]]


def _match(current: list[_Candidate], image: Image | None, named: frozenset[str]) -> tuple[_Matched, list[str]]:
    """Pair objects and disks; return the pairs and everything that is wrong with them."""
    problems: list[str] = []
    systems = [one for one in current if one.name.role is DiskRole.SYSTEM]
    data = [one for one in current if one.name.role is DiskRole.DATA]
    if not systems and not data:  # the old layout counts only where it stands alone
        systems = [one for one in current if one.name.role is None]
        if image is not None and image.data_disks and systems:
            problems.append(f"{_show(systems[0])} does not say which disk it is, and the image has data disks")
    system = _pick(systems, "the system disk", named, problems)
    matched: _Matched = [(system, image.system_disk if image else None)] if system else []
    by_device: dict[str, list[_Candidate]] = {}
    for one in data:
        by_device.setdefault(one.name.device, []).append(one)
    choices = {
        device: _pick(several, f"the data disk {device}", named, problems) for device, several in by_device.items()
    }
    picked = {device: one for device, one in choices.items() if one is not None}
    if image is None:
        problems += [f"{_show(one)} does not name a disk" for one in picked.values() if not _names_disk(one)]
        return matched + [(picked[device], None) for device in sorted(picked, key=_device_order)], problems
    pairs = _pair_data_disks(picked, image)
    matched += [(picked[device], disk) for device, disk in pairs if device is not None and disk is not None]
    for device, disk in pairs:
        if disk is None and device is not None:
            problems.append(f"extra: {_show(picked[device])} is no disk of the image")
        elif disk is not None and device is None and disk.device not in by_device:
            problems.append(f"missing: no object for the data disk {disk.device}")
    return matched, problems


def _pick(several: list[_Candidate], disk: str, named: frozenset[str], problems: list[str]) -> _Candidate | None:
    """Return the one object for `disk`, or None and say in `problems` why there is not one."""
    preferred = [one for one in several if one.found.key in named] or several
    if len(preferred) == 1:
        if preferred[0].found.size == 0:
            problems.append(f"{_show(preferred[0])} is empty")
        return preferred[0]
    if not preferred:
        problems.append(f"missing: no object for {disk}")
    else:
        problems.append(f"ambiguous: {len(preferred)} objects for {disk}: " + " and ".join(map(_show, preferred)))
    return None


def _pair_data_disks(picked: dict[str, _Candidate], image: Image) -> list[tuple[str | None, ImageDisk | None]]:
    """Pair device names of objects with the image's data disks: by name, else by position where that is sound.

    Position counts only where as many objects as disks are left and one side has no names of its own:
    the image told no devices, or the objects are not named as ECS names disks (NVMe instances: unknown).
    """
    # Devices that were not told are our guesses: they agree with the names all together, or not at all.
    guesses_hold = all(disk.device in picked for disk in image.data_disks if not disk.device_is_told)
    disks = {disk.device: disk for disk in image.data_disks if disk.device_is_told or guesses_hold}
    pairs: list[tuple[str | None, ImageDisk | None]] = [(name, disk) for name, disk in disks.items() if name in picked]
    left = sorted(picked.keys() - disks.keys(), key=_device_order)
    rest = [disk for disk in image.data_disks if not any(disk is paired for _, paired in pairs)]
    is_nameless = all(not disk.device_is_told for disk in rest) or not any(
        _is_ecs_name(picked[name].found.key) for name in left
    )
    if len(left) == len(rest) and is_nameless:
        return pairs + list(zip(left, rest, strict=True))
    return pairs + [(name, None) for name in left] + [(None, disk) for disk in rest]


def _is_ecs_name(key: str) -> bool:
    """Whether the key names its disk as the ECS API does, `xvdb`."""
    return re.search(r"[_-]data[_-]xvd[a-z]+\.", key) is not None


def _names_disk(one: _Candidate) -> bool:
    return parse_device_name(one.name.device) is not None


def _device_order(device: str) -> tuple[int, str]:
    name = parse_device_name(device)
    return (name.index if name is not None else 1000, device)


def _show(one: _Candidate) -> str:
    return f"{redacted(one.found.key)} ({one.found.size} bytes, etag {redacted(one.found.etag)})"


def _exported(bucket: str, one: _Candidate, disk: ImageDisk | None) -> ExportedObject:
    is_system = disk.role is DiskRole.SYSTEM if disk else one.name.role is not DiskRole.DATA
    # Where the image told no device, the object's name is what the cloud calls the disk, if it is a disk's name.
    device = disk.device if disk and (disk.device_is_told or not _names_disk(one)) else one.name.device
    return ExportedObject(
        bucket=bucket,
        key=one.found.key,
        size=one.found.size,
        etag=one.found.etag,
        crc64=one.found.crc64,
        last_modified=one.found.last_modified,
        storage_class=one.found.storage_class,
        role=DiskRole.SYSTEM if is_system else DiskRole.DATA,
        device=SYSTEM_DEVICE if is_system else device,
        format=one.name.format,
        packing=one.name.packing,
        disk_size=disk.size or None if disk else None,
    )
