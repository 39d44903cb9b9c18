"""Knows the way of each disk: cloud device → object → file → file system → mount point → its name on each target.

This is what the picture draws and the tests compare: a pure value made of a report's nouns.
"""

from __future__ import annotations

from dataclasses import dataclass

from migration.disk import Disk
from migration.exported_object import ExportedObject
from migration.storage import format_size
from migration.verdict import EntryChain, Outcome, Verdict
from report.report import Report

MOST_DISKS = 40  # more than a machine in the cloud has; a report that says otherwise is not drawn whole


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a mount point's disk is called on some targets, and whether it is mounted there."""

    targets: tuple[str, ...]
    device: str  # "vdb1", "" where there is no one name
    outcome: Outcome

    @property
    def is_good(self) -> bool:
        return self.outcome is Outcome.MOUNTED


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of fstab: where it mounts, and what comes of it."""

    line: int
    source: str
    place: str  # "/data", "swap"
    arrivals: tuple[Arrival, ...]


@dataclass(frozen=True, slots=True)
class Volume:
    """What lies on a disk and is mounted by `mounts`: "xvdb1", "vg0/data"."""

    place: str
    content: str  # "ext4 UUID 1234"
    mounts: tuple[Mount, ...]


@dataclass(frozen=True, slots=True)
class DiskPath:
    """The way of one disk. `device` "" stands for what leads to no exported disk."""

    device: str
    role: str
    size: str
    object_name: str
    object_size: str
    file_name: str
    volumes: tuple[Volume, ...]


def find_disk_paths(report: Report) -> tuple[DiskPath, ...]:
    """Return the ways of all disks in the order of the image, and last of the lines that lead to none of them."""
    disks = {disk.device: disk for disk in report.disks}
    objects = {one.device: one for one in report.objects}
    told = {one.device: (str(one.role), one.size) for one in (report.image.disks if report.image is not None else ())}
    told |= {one.device: (str(one.role), one.disk_size or 0) for one in report.objects if one.device not in told}
    told |= {device: (str(disk.role), disk.virtual_size) for device, disk in disks.items()}
    volumes = _volumes_of_disks(report.verdict, set(told))
    paths = [
        _path(device, role, size, objects.get(device), disks.get(device), volumes.get(device, ()))
        for device, (role, size) in list(told.items())[:MOST_DISKS]
    ]
    lost = volumes.get("", ())
    return (*paths, DiskPath("", "", "", "", "", "", lost)) if lost else tuple(paths)


def _path(
    device: str, role: str, size: int, exported: ExportedObject | None, disk: Disk | None, volumes: tuple[Volume, ...]
) -> DiskPath:
    return DiskPath(
        device=device, role=role, size=format_size(size) if size else "",
        object_name=exported.key if exported else "", object_size=format_size(exported.size) if exported else "",
        file_name=disk.path.name if disk else "", volumes=volumes,
    )  # fmt: skip


# Lines that need no disk, whatever becomes of them.
_NO_DISK = frozenset({"tmpfs", "proc", "sysfs", "devpts", "cgroup", "cgroup2", "debugfs", "nfs", "nfs4", "cifs"})


def _volumes_of_disks(verdict: Verdict | None, devices: set[str]) -> dict[str, tuple[Volume, ...]]:
    """Return what the lines of fstab find on each disk; "" has those that find none of `devices`."""
    if verdict is None:
        return {}
    arrivals = _arrivals(verdict)
    found: dict[str, dict[tuple[str, str], list[Mount]]] = {}
    for entry in verdict.chain:
        device = entry.device if entry.device in devices else ""
        if device or entry.fstype not in _NO_DISK:
            place = "swap" if entry.fstype == "swap" else entry.mountpoint
            mount = Mount(entry.line, entry.source, place, arrivals.get(entry.line, ()))
            found.setdefault(device or "", {}).setdefault(_what(entry, device or ""), []).append(mount)
    return {
        device: tuple(Volume(place, content, tuple(mounts)) for (place, content), mounts in volumes.items())
        for device, volumes in found.items()
    }


def _what(entry: EntryChain, device: str) -> tuple[str, str]:
    if not device:
        return entry.source, entry.resolved
    return entry.resolved, f"{entry.filesystem or ''} {f'UUID {entry.uuid}' if entry.uuid else ''}".strip()


def _arrivals(verdict: Verdict) -> dict[int, tuple[Arrival, ...]]:
    """Return what becomes of each line, by its number: targets with the same fate together."""
    alike: dict[int, dict[tuple[str, Outcome], list[str]]] = {}
    for forecast in verdict.forecasts:
        for line in forecast.lines:
            name = (line.device or "").removeprefix("/dev/")
            alike.setdefault(line.line, {}).setdefault((name, line.outcome), []).append(str(forecast.target))
    return {
        number: tuple(Arrival(tuple(targets), name, outcome) for (name, outcome), targets in fates.items())
        for number, fates in alike.items()
    }
