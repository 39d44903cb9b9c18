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
    told |= {device: (str(disk.role), disk.virtual_size) for device, disk in disks.items()}
    devices = dict.fromkeys([*told, *objects])
    paths = [
        _path(device, told.get(device), objects.get(device), disks.get(device), report.verdict) for device in devices
    ]
    lost = _volumes(report.verdict, None, set(devices))
    if lost:
        paths.append(DiskPath("", "", "", "", "", "", lost))
    return tuple(paths)


def _path(
    device: str, told: tuple[str, int] | None, exported: ExportedObject | None, disk: Disk | None,
    verdict: Verdict | None,
) -> DiskPath:  # fmt: skip
    role, size = told or ((str(exported.role), exported.disk_size or 0) if exported else ("", 0))
    return DiskPath(
        device=device, role=role, size=format_size(size) if size else "",
        object_name=exported.key if exported else "", object_size=format_size(exported.size) if exported else "",
        file_name=disk.path.name if disk else "", volumes=_volumes(verdict, device, set()),
    )  # fmt: skip


# Lines that need no disk, whatever becomes of them.
_NO_DISK = frozenset({"tmpfs", "proc", "sysfs", "devpts", "cgroup", "cgroup2", "debugfs", "nfs", "nfs4", "cifs"})


def _volumes(verdict: Verdict | None, device: str | None, known: set[str]) -> tuple[Volume, ...]:
    """Return what the lines of fstab find on `device`; None: on none that is `known`."""
    found: dict[tuple[str, str], list[Mount]] = {}
    for entry in verdict.chain if verdict is not None else ():
        is_here = entry.device == device if device is not None else entry.device not in known
        if not is_here or (device is None and entry.fstype in _NO_DISK):
            continue
        content = f"{entry.filesystem or ''} {f'UUID {entry.uuid}' if entry.uuid else ''}".strip()
        found.setdefault((entry.resolved, content), []).append(_mount(entry, verdict))
    return tuple(Volume(place, content, tuple(mounts)) for (place, content), mounts in found.items())


def _mount(entry: EntryChain, verdict: Verdict | None) -> Mount:
    alike: dict[tuple[str, Outcome], list[str]] = {}
    for forecast in verdict.forecasts if verdict is not None else ():
        for line in forecast.lines:
            if line.line == entry.line:
                name = (line.device or "").removeprefix("/dev/")
                alike.setdefault((name, line.outcome), []).append(str(forecast.target))
    arrivals = tuple(Arrival(tuple(targets), name, outcome) for (name, outcome), targets in alike.items())
    place = "swap" if entry.fstype == "swap" else entry.mountpoint
    return Mount(entry.line, entry.source, place, arrivals)
