"""Judges the fourth fields of fstab: options that contradict each other, that nobody knows, or that wait for ever.

What a driver takes depends on the kernel, so no list of all options is kept: only slips of the pen, and what the
kernel's own documentation calls removed. (All tried with Linux 6.1 and systemd 252's fstab generator; for xfs the
kernels are told in its `admin-guide/xfs.rst`.)
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from fstab_check.boot_effect import at_most, effect_of_loss, severity_of_loss
from fstab_check.codes import Code
from fstab_check.facts import Guest, Line
from fstab_check.fstab import Entry
from fstab_check.line_check import finding_on
from fstab_check.mountpoint_check import normal_path
from fstab_check.sources import SourceKind, waits_for_network
from fstab_check.timespan import parse_timespan
from fstab_check.unit_files import Units, unescape_path
from migration.disk import DiskRole
from migration.verdict import Finding, Severity

_MADE_BY_SYSTEMD = frozenset({"device", "slice", "scope"})  # kinds of units that need no file

_OPPOSITES = (
    ("ro", "rw"), ("auto", "noauto"), ("fail", "nofail"), ("exec", "noexec"), ("suid", "nosuid"), ("dev", "nodev"),
    ("sync", "async"), ("atime", "noatime"), ("diratime", "nodiratime"), ("relatime", "noatime"),
)  # fmt: skip

# What the kernel does not take any more, by the type in the superblock: the option and the first kernel without it.
_REMOVED = {
    "ext4": {"noacl": "6.1", "nouser_xattr": "6.1"},
    "xfs": {
        "barrier": "4.19", "nobarrier": "4.19", "delaylog": "4.0", "nodelaylog": "4.0", "ihashsize": "4.0",
        "irixsgid": "4.0", "osyncisdsync": "4.0", "osyncisosync": "4.0",
    },
}  # fmt: skip

_TIMES = ("x-systemd.device-timeout", "x-systemd.mount-timeout", "x-systemd.idle-timeout")
_KNOWN_TO_SYSTEMD = frozenset({
    *_TIMES, "x-systemd.automount", "x-systemd.requires", "x-systemd.wants", "x-systemd.before", "x-systemd.after",
    "x-systemd.wanted-by", "x-systemd.required-by", "x-systemd.requires-mounts-for", "x-systemd.wants-mounts-for",
    "x-systemd.device-bound", "x-systemd.makefs", "x-systemd.growfs", "x-systemd.rw-only", "x-systemd.pcrfs",
    "x-systemd.validatefs", "x-systemd.graceful-option",
})  # fmt: skip

# Long enough that one letter more, less, other or in the wrong place is a slip and no other option.
_OFTEN_MEANT = ("defaults", "nofail", "noauto", "noatime", "nodiratime", "relatime", "_netdev", "noexec", "nosuid")
_NOT_SLIPS = frozenset({"diratime", "norelatime", "strictatime", "lazytime", "nolazytime"})


def check_options(lines: Sequence[Line], guest: Guest) -> Iterator[Finding]:
    """Yield what is odd about the options of each line."""
    mountpoints = {normal_path(line.entry.mountpoint) for line in lines if line.entry.mountpoint.startswith("/")}
    mountpoints |= {_path_of_mount_unit(name) for name, unit in guest.config.units.by_name.items() if unit.file}
    data = {disk.name.index for disk in guest.layout.disks if disk.role is DiskRole.DATA}
    for line in lines:
        yield from _check_conflicts(line)
        yield from _check_slips(line)
        yield from _check_removed(line)
        yield from _check_ignored(line)
        yield from _check_endless_wait(line)
        yield from _check_requirements(line, mountpoints, guest.config.units)
        yield from _check_nofail(line, data)


def is_waited_for(entry: Entry) -> bool:
    """Return whether the boot waits until this line is mounted."""
    return not (entry.is_nofail or entry.is_noauto or entry.is_automount)


def _check_conflicts(line: Line) -> Iterator[Finding]:
    words = list(line.entry.mount_options)
    for pair in _OPPOSITES:
        if set(pair) <= set(words):
            last = max(pair, key=words.index)
            yield finding_on(
                line, Code.OPTION_CONFLICT, Severity.INFO,
                f"the options {pair[0]} and {pair[1]} contradict each other: the last one, {last}, counts",
                evidence=f"options {line.entry.options}", remedy="keep the one that is meant",
            )  # fmt: skip


def _check_slips(line: Line) -> Iterator[Finding]:
    entry = line.entry
    if entry.is_swap or line.source.kind is SourceKind.NETWORK or entry.fstype.startswith("fuse"):
        return  # these take options of their own, or do not mind
    for word in entry.mount_options:
        meant = next((option for option in _OFTEN_MEANT if _is_one_slip_away(word, option)), None)
        if meant and word not in {*_OFTEN_MEANT, *_NOT_SLIPS}:
            yield finding_on(
                line, Code.OPTION_MISSPELT, at_most(severity_of_loss(entry), Severity.WARNING),
                f"no file system is known to take the option {word}, it may be meant as {meant}: "
                f"a driver refuses what it does not know, and {effect_of_loss(entry)}",
                evidence=f"options {entry.options}", remedy=f"write {meant}, or see that the driver takes {word}",
            )  # fmt: skip


def _is_one_slip_away(word: str, option: str) -> bool:
    """Return whether one letter more, less, another, or two exchanged make `option` of `word`."""
    if word == option or abs(len(word) - len(option)) > 1:
        return False
    start = next((i for i, (a, b) in enumerate(zip(word, option, strict=False)) if a != b), min(len(word), len(option)))
    rest, other = word[start:], option[start:]
    return (
        rest[1:] == other or rest == other[1:] or rest[1:] == other[1:]
        or (rest[:2] == other[1::-1] and rest[2:] == other[2:])
    )  # fmt: skip


def _check_removed(line: Line) -> Iterator[Finding]:
    volume = line.resolution.volume
    removed = _REMOVED.get(volume.type if volume else line.entry.fstype, {})
    for word in line.entry.mount_options:
        if word in removed:
            yield finding_on(
                line, Code.OPTION_REMOVED, Severity.INFO,
                f"a kernel from {removed[word]} on does not know the option {word} and refuses the mount",
                evidence=f"options {line.entry.options}",
                remedy=f"take {word} out, at the latest before the guest gets a newer kernel",
            )  # fmt: skip


def _check_ignored(line: Line) -> Iterator[Finding]:
    entry = line.entry
    for name, value in entry.mount_options.items():
        reason = _why_ignored(entry, name, value)
        if reason:
            yield finding_on(
                line, Code.OPTION_IGNORED, Severity.INFO, f"systemd ignores the option {name}: {reason}",
                evidence=f"options {entry.options}", remedy="correct the option, or take it out",
            )  # fmt: skip


def _why_ignored(entry: Entry, name: str, value: str) -> str:
    if entry.is_root and name in {"nofail", "noauto", "x-systemd.automount"}:
        return "the root file system cannot be left out"
    if name.startswith("x-systemd.") and name not in _KNOWN_TO_SYSTEMD:
        return "it knows none of this name"
    if name in _TIMES and not is_time_span(value):
        return f"{value!r} is no span of time" if value else "it needs a span of time, as in =30s"
    return ""


def is_time_span(value: str) -> bool:
    """Return whether systemd takes `value` for a span of time."""
    return parse_timespan(value) is not None


def _is_endless(value: str) -> bool:
    return is_time_span(value) and not re.search(r"[1-9]", value)  # "infinity" too


def _check_endless_wait(line: Line) -> Iterator[Finding]:
    entry = line.entry
    value = entry.mount_options.get(_TIMES[0], "")
    if _is_endless(value) and is_waited_for(entry):
        is_missing = line.resolution.failure is not None
        yield finding_on(
            line, Code.DEVICE_TIMEOUT_ENDLESS, Severity.WARNING if is_missing else Severity.INFO,
            f"{entry.source} is waited for without end"
            + (", and not known to be there: the boot stands still" if is_missing else ", should it ever be missing"),
            evidence=f"{_TIMES[0]}={value}", remedy="give it a span of time, as in =90s, or add nofail",
        )  # fmt: skip


def _check_nofail(line: Line, data: Collection[int]) -> Iterator[Finding]:
    """Yield that the boot hangs on a data disk which is there: the next move may leave it behind."""
    entry, volume = line.entry, line.resolution.volume
    if volume is None or line.resolution.failure is not None or not volume.disks & set(data):
        return
    if is_waited_for(entry) and not (entry.is_root or entry.is_swap or waits_for_network(entry)):
        yield finding_on(
            line, Code.DATA_WITHOUT_NOFAIL, Severity.INFO,
            f"{volume.place} is there, and the boot hangs on it: should it be left out once, {effect_of_loss(entry)}",
            evidence=f"options {entry.options or 'none'}",
            remedy="add nofail if the machine shall start without this data", device=volume.members[0],
        )  # fmt: skip


def _check_requirements(line: Line, mountpoints: Collection[str], units: Units) -> Iterator[Finding]:
    entry = line.entry
    for word in entry.options.split(","):
        name, _, unit = word.partition("=")
        if name != "x-systemd.requires" or not unit or unit.startswith("/dev/"):
            continue
        path = unit if unit.startswith("/") else _path_of_mount_unit(unit)
        if not path:
            yield from _check_required_unit(line, unit, units)
        elif normal_path(path) not in mountpoints:
            yield finding_on(
                line, Code.DEPENDENCY_UNKNOWN, at_most(severity_of_loss(entry), Severity.WARNING),
                f"the mount needs {path} to be mounted, which no line does: without a unit of its own, "
                + effect_of_loss(entry),
                evidence=word, remedy="add the line that is missing, or take the option out",
            )  # fmt: skip


def _check_required_unit(line: Line, unit: str, units: Units) -> Iterator[Finding]:
    """Yield that a unit of another kind is missing, or that nobody looked for it."""
    stem, _, kind = unit.rpartition(".")
    template = f"{stem.partition('@')[0]}@.{kind}"
    if kind in _MADE_BY_SYSTEMD or (units.all_names is not None and {unit, template} & units.all_names):
        return
    looked = units.all_names is not None
    limit = Severity.WARNING if looked else Severity.INFO
    yield finding_on(
        line, Code.DEPENDENCY_UNKNOWN, at_most(severity_of_loss(line.entry), limit),
        f"the mount needs {unit}, which no unit file makes: unless a generator does, {effect_of_loss(line.entry)}"
        if looked else f"the mount needs {unit}, and nobody looked for that",
        evidence=f"x-systemd.requires={unit}",
        remedy="see that the guest has this unit, and that it does not need the cloud",
    )  # fmt: skip


def _path_of_mount_unit(unit: str) -> str:
    """Return what a mount unit's name stands for, "" for units of another kind."""
    stem = unit.removesuffix(".mount")
    if stem == unit:
        return ""
    return normal_path(unescape_path(stem))
