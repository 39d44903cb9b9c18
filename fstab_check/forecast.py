"""Foretells the boot on a target: for every line whether it is mounted, waited for, ignored, or ends in emergency mode.

systemd makes of each line a mount unit that local-fs.target requires. It waits for the device (90 seconds, or what
`x-systemd.device-timeout=` says), then mounts; where either fails, local-fs.target fails and emergency mode follows.
`nofail` and network mounts are only wanted. (Read in systemd's `fstab-generator.c` and `mount.c`, version 252; every
rule here is held against real boots by tests/boot_matrix.py.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fstab_check.arrival import arrive, device_there
from fstab_check.boot_arguments import forecast_root
from fstab_check.boot_effect import loss_of
from fstab_check.codes import Code
from fstab_check.facts import Guest, Line, PathKind
from fstab_check.fstab import Entry
from fstab_check.layout import Volume, is_same_volume
from fstab_check.line_check import can_mount, missing_subvolume
from fstab_check.mount_units import (
    NativeMount,
    impossible_targets,
    masking_unit,
    native_mounts,
    overriding_mount,
    target_of,
)
from fstab_check.mountpoint_check import normal_path, real_path
from fstab_check.obstacles import find_obstacle
from fstab_check.resolve import Resolution
from fstab_check.sources import SourceKind, waits_for_network
from fstab_check.timespan import parse_timespan
from fstab_check.unit_files import Unit
from migration.target import Target
from migration.verdict import Forecast, LineForecast, Outcome

# Mounted by systemd itself before it reads fstab, which cannot change that (mount_point_is_api in systemd).
_OWN_MOUNTS = ("/proc", "/sys", "/dev", "/run")
_OWN_MOUNTS_BELOW = ("/proc/", "/sys/", "/run/user", "/dev/")

# Ways that end somewhere nobody could look, or where chance decides.
_UNKNOWN = frozenset(
    {
        Code.SOURCE_UNEXAMINED, Code.FILESYSTEM_UNMOUNTABLE, Code.MAPPING_UNEXAMINED, Code.TAG_AMBIGUOUS,
        Code.CLOUD_DISK_PATH, Code.SOURCE_UNKNOWN,
    }
)  # fmt: skip

# Ways that end at a device that is there, with nothing on it that can be mounted: that fails without a wait.
_FAILS_AT_ONCE = frozenset({Code.FILESYSTEM_MISSING, Code.WHOLE_DISK_PARTITIONED})


@dataclass(frozen=True, slots=True)
class _Fate:
    """What comes of a line: `seconds` are waited, `math.inf` for ever."""

    outcome: Outcome
    reason: str
    seconds: float = 0.0
    device: str | None = None


def forecast(lines: Sequence[Line], guest: Guest, target: Target) -> Forecast:
    """Return what the guest will do when it is started with its disks on the bus of `target`."""
    taken: dict[str, int] = {}
    impossible = impossible_targets(lines, guest)
    told = [*forecast_root(guest, target)]
    for line in lines:
        fate = _by_chance(line.entry, _fate_in_force(line, guest, target, taken), impossible, guest)
        told.append(_told(line.entry, line.entry.line, fate))
    told += [forecast_native(native, guest, target) for native in native_mounts(lines, guest)]
    return Forecast(target=target, lines=tuple(told))


def _by_chance(entry: Entry, fate: _Fate, impossible: Mapping[str, Unit], guest: Guest) -> _Fate:
    """Return `fate`, unless a target that pulls the line in cannot be started: then nobody knows."""
    mask = impossible.get(target_of(entry))
    is_tried = not entry.is_noauto and fate.outcome is not Outcome.IGNORED
    if mask is None or not is_tried or masking_unit(entry, guest) is not None:
        return fate
    effect = "the root may stay read-only" if entry.is_root else "whether this is mounted is chance"
    return _Fate(Outcome.UNKNOWN, f"{target_of(entry)} requires {mask.name}, which is masked: {effect}")


def forecast_in_force(line: Line, guest: Guest, target: Target) -> LineForecast:
    """Return what becomes of one line by itself, or of the unit in its place."""
    return _told(line.entry, line.entry.line, _fate_in_force(line, guest, target, {}))


def forecast_native(native: NativeMount, guest: Guest, target: Target) -> LineForecast:
    """Return what becomes of a mount unit of the guest's own; its line number is 0, as it stands in no fstab."""
    entry = native.line.entry
    if native.problem:
        fate = _Fate(Outcome.UNKNOWN, native.problem)
    else:
        fate = _fate_of(native.line, guest, target, {})
        if fate.outcome is Outcome.EMERGENCY and not native.is_required:
            # local-fs.target waits for what is only wanted too, and then goes on without it.
            fate = replace(fate, outcome=Outcome.DELAYED if fate.seconds else Outcome.IGNORED)
    return _told(replace(entry, source=f"{native.unit.name} {entry.source}".strip()), 0, fate)


def _told(entry: Entry, number: int, fate: _Fate) -> LineForecast:
    return LineForecast(
        line=number, source=entry.source, mountpoint=entry.mountpoint,
        outcome=fate.outcome, reason=fate.reason, device=fate.device,
        seconds=None if math.isinf(fate.seconds) else fate.seconds,
    )  # fmt: skip


def device_timeout(entry: Entry, by_default: float) -> float:
    """Return how many seconds systemd waits for the device of `entry`, `math.inf` for ever."""
    seconds = parse_timespan(entry.mount_options.get("x-systemd.device-timeout", ""))
    if seconds is None:
        return by_default
    return seconds or math.inf  # 0 switches the limit off


def _fate_in_force(line: Line, guest: Guest, target: Target, taken: dict[str, int]) -> _Fate:
    """Return what comes of `line`, or of the unit that counts in its place."""
    mask = masking_unit(line.entry, guest)
    if mask is not None and mask.file is not None:
        return _Fate(Outcome.IGNORED, f"{mask.file.path} masks it")
    native = overriding_mount(line, guest)
    if native is None:
        return _fate_of(line, guest, target, taken)
    if native.problem:
        return _Fate(Outcome.UNKNOWN, f"{native.file} counts in its place: {native.problem}")
    fate = _fate_of(native.line, guest, target, taken)
    meant, found = line.resolution.volume, native.line.resolution.volume
    if fate.outcome is Outcome.MOUNTED and meant is not None and (found is None or not is_same_volume(meant, found)):
        fate = replace(fate, outcome=Outcome.WRONG_DISK)
    return replace(fate, reason=f"{native.file} counts in its place: {fate.reason}")


def _fate_of(line: Line, guest: Guest, target: Target, taken: dict[str, int]) -> _Fate:
    fate = _fate_of_mountpoint(line.entry, guest, taken)
    if fate is not None:
        return fate
    if line.source.kind is SourceKind.NETWORK:
        waits = waits_for_network(line.entry)
        return _lost(line.entry, "the server cannot answer", timeout=guest.device_timeout if waits else 0.0)
    if line.source.kind is SourceKind.PSEUDO:
        return _Fate(Outcome.MOUNTED, "no disk needed")
    if line.source.kind is SourceKind.FILE:
        return _fate_of_path(line, guest)
    return _fate_of_disk(line, arrive(line.source, guest, target), guest, target)


def _fate_of_mountpoint(entry: Entry, guest: Guest, taken: dict[str, int]) -> _Fate | None:
    """Return what comes of a line whatever its source is; `taken` knows the lines before it by their mount points."""
    if entry.is_noauto and not entry.is_automount:
        return _Fate(Outcome.IGNORED, "noauto: nothing mounts it at boot")
    if entry.is_swap:
        return None
    if not entry.mountpoint.startswith("/"):
        return _Fate(Outcome.IGNORED, "the second field is no absolute path")
    path = real_path(entry.mountpoint, guest)
    if path in _OWN_MOUNTS or path.startswith(_OWN_MOUNTS_BELOW):
        return _Fate(Outcome.MOUNTED, "systemd mounts this by itself")
    first = taken.setdefault(path, entry.line)
    return None if first == entry.line else _Fate(Outcome.IGNORED, f"line {first} has this mount point")


def _fate_of_path(line: Line, guest: Guest) -> _Fate:
    kind = guest.paths.get(normal_path(line.entry.source))
    if kind is None:
        return _Fate(Outcome.UNKNOWN, "its source lies on another mount, where nobody looked")
    if kind is PathKind.MISSING and not line.entry.is_bind:  # systemd makes the directory for a bind mount
        return _lost(line.entry, "its source does not exist")
    return _onto(line, guest, _Fate(Outcome.MOUNTED, "a path in the guest"))


def _fate_of_disk(line: Line, there: Resolution, guest: Guest, target: Target) -> _Fate:
    if there.is_open or line.resolution.is_open:
        return _Fate(Outcome.UNKNOWN, "a disk that has not come yet decides")
    if there.volume is None or there.failure is not None:
        return _fate_of_failure(line.entry, there, guest)
    if line.entry.is_root and not is_same_volume(there.volume, guest.root.volume):
        return _LEFT_AS_IT_IS
    return _fate_of_volume(line, there.volume, guest, target)


def _fate_of_failure(entry: Entry, there: Resolution, guest: Guest) -> _Fate:
    if there.failure in _UNKNOWN:
        return _Fate(Outcome.UNKNOWN, there.evidence or "nobody could look")
    if entry.is_root:
        return _LEFT_AS_IT_IS
    if there.failure in _FAILS_AT_ONCE:
        return _lost(entry, "nothing is on it that can be mounted")
    return _lost(entry, "its device does not appear", timeout=guest.device_timeout)


# The root is mounted when systemd reads fstab: only the remounting, with the options of the line, fails.
_LEFT_AS_IT_IS = _Fate(Outcome.IGNORED, "the root stays as the kernel mounted it, maybe read-only")


def _fate_of_volume(line: Line, volume: Volume, guest: Guest, target: Target) -> _Fate:
    entry, name = line.entry, line.source.device
    device = device_there(volume, guest, target)
    obstacle = None if entry.is_root else find_obstacle(line.source, volume, guest, target)
    if obstacle is not None and obstacle.is_certain:
        return _lost(entry, obstacle.message, timeout=guest.device_timeout)
    if obstacle is not None:
        return _Fate(Outcome.UNKNOWN, obstacle.message)
    if not can_mount(entry.fstype, volume.type):
        return _lost(entry, f"it holds {volume.type}, not {entry.fstype}")
    if option := missing_subvolume(entry, volume):
        return _lost(entry, f"it has no subvolume of that name ({option})")
    if name is not None and name.index not in volume.disks:
        return _Fate(Outcome.WRONG_DISK, f"it means {name}, and gets {volume.place}", device=device)
    return _onto(line, guest, _Fate(Outcome.MOUNTED, _found(volume), device=device))


def _onto(line: Line, guest: Guest, fate: _Fate) -> _Fate:
    """Return `fate`, unless the mount point is in the way."""
    kind = None if line.entry.is_swap else guest.paths.get(normal_path(line.entry.mountpoint))
    if kind in {PathKind.FILE, PathKind.OTHER} and not line.entry.is_bind:
        return _lost(line.entry, "its mount point is no directory")
    return fate


def _lost(entry: Entry, reason: str, *, timeout: float = 0.0) -> _Fate:
    """Return what comes of a line that cannot be mounted, or not before systemd has waited for `timeout` seconds."""
    loss = loss_of(entry)
    seconds = device_timeout(entry, timeout) if timeout and loss.outcome is not Outcome.IGNORED else 0.0
    if loss.outcome is not Outcome.EMERGENCY:
        return _Fate(loss.outcome if seconds else Outcome.IGNORED, f"{reason}; {loss.effect}", seconds)
    wait = "" if not seconds else " for ever" if math.isinf(seconds) else f" {seconds:g} s"
    return _Fate(Outcome.EMERGENCY, f"{reason}; waited for{wait}" if wait else reason, seconds)


def _found(volume: Volume) -> str:
    content = volume.content
    return f"{content.type} {content.uuid}".strip() if content else ""
