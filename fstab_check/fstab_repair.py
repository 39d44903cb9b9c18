"""Plans what becomes of each line of /etc/fstab, so that the guest boots on any bus with the disks that came along.

Pure. A line is changed only where what it means is certain, or where `nofail` does no harm: a mount that would
have stopped the boot is then only missing. Everything else is left, with the reason.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from fstab_check.arrival import arrive
from fstab_check.boot_effect import severity_of_loss
from fstab_check.codes import Code
from fstab_check.facts import Guest, Line, PathKind
from fstab_check.fstab import FSTAB, Entry, parse_fstab
from fstab_check.layout import Volume
from fstab_check.left_behind import find_by_elimination
from fstab_check.line_check import can_mount
from fstab_check.line_edit import comment_out, fields_of, replace_fields
from fstab_check.mount_units import lines_in_force
from fstab_check.mountpoint_check import normal_path
from fstab_check.patch import Change, FilePatch, Left
from fstab_check.sources import SourceKind
from fstab_check.stable_name import uuid_tag
from migration.target import ALL_TARGETS
from migration.verdict import Severity

SOURCE, TYPE, OPTIONS = 0, 2, 3
NOFAIL = ("nofail", "x-systemd.device-timeout=10s")
# The same for what needs no device of its own, and so has none to wait for.
NOFAIL_ONLY = ("nofail",)

# Nothing on the disks answers to the name: with nofail the boot goes on, and no harm is done.
_ABSENT = frozenset({
    Code.DEVICE_NOT_EXPORTED, Code.PARTITION_MISSING, Code.WHOLE_DISK_PARTITIONED, Code.FILESYSTEM_MISSING,
    Code.TAG_UNMATCHED, Code.VOLUME_MISSING, Code.VOLUME_INCOMPLETE, Code.ARRAY_MISSING,
})  # fmt: skip
_BY_SERIAL_OR_SLOT = frozenset({Code.CLOUD_DISK_ID, Code.CLOUD_DISK_PATH})
# Looking at a disk that could not be read might have found these.
_MAY_BE_UNREAD = frozenset({Code.TAG_UNMATCHED, Code.VOLUME_MISSING, Code.VOLUME_INCOMPLETE, Code.ARRAY_MISSING})

_WHY_LEFT = {
    Code.TAG_AMBIGUOUS: "more than one file system carries this name; give the copy a UUID of its own",
    Code.MAPPING_UNEXAMINED: "it is opened from an encrypted disk, which nobody could look into",
    Code.SOURCE_UNEXAMINED: "the disk it leads to could not be examined",
    Code.FILESYSTEM_UNMOUNTABLE: "the file system it leads to could not be mounted; check it with fsck",
    Code.SOURCE_UNKNOWN: "it is no name of a disk, file system, file or server that is known here",
    Code.TAG_CASE: "it differs from several names on the disks only in upper and lower case",
}

# Types that can be written where a superblock says so; of the others more than one driver exists.
_PLAIN_TYPES = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "vfat", "f2fs"})
# Options that every file system takes (mount(8), FILESYSTEM-INDEPENDENT MOUNT OPTIONS).
_COMMON_OPTIONS = frozenset({
    "", "defaults", "async", "sync", "dirsync", "atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime",
    "strictatime", "lazytime", "auto", "noauto", "dev", "nodev", "exec", "noexec", "suid", "nosuid", "ro", "rw",
    "user", "nouser", "users", "owner", "group", "fail", "nofail", "_netdev", "comment",
})  # fmt: skip


@dataclass(slots=True)
class _Edit:
    """What is planned for one line."""

    line: Line
    fields: dict[int, bytes] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    disabled: str = ""  # the reason in the comment
    is_gone: bool = False  # what it mounts will not be there
    left: list[str] = field(default_factory=list)

    def write(self, position: int, value: str, reason: str) -> None:
        self.fields[position] = value.encode("utf-8", "surrogateescape")
        self.reasons.append(reason)


def plan_fstab(guest: Guest, lines: Sequence[Line]) -> tuple[FilePatch | None, tuple[Left, ...]]:
    """Return what becomes of the fstab of `guest`, whose lines lead where `lines` say; None where nothing changes."""
    if guest.file.failure is not None:
        return None, (Left(path=FSTAB, line=None, why=guest.file.evidence),)
    raw = guest.file.content.split(b"\n")
    in_force = lines_in_force(lines, guest)
    edits = [_plan_line(line, in_force, guest) for line in lines]
    _follow_dependents(edits)
    changes, left = [], []
    for edit in edits:
        number = edit.line.entry.line
        after = _write(raw[number - 1], edit)
        if after != raw[number - 1]:
            changes.append(Change(line=number, before=raw[number - 1], after=after, reasons=tuple(edit.reasons)))
        left += [Left(path=FSTAB, line=number, why=why) for why in edit.left]
    if not changes:
        return None, tuple(left)
    return FilePatch(path=FSTAB, before=guest.file.content, changes=tuple(changes)), tuple(left)


def _plan_line(line: Line, lines: Sequence[Line], guest: Guest) -> _Edit:
    edit = _Edit(line)
    failure, volume = line.resolution.failure, line.resolution.volume
    if line.resolution.is_open:
        edit.left.append("it may lead to a disk that has not come yet")
    elif line.source.kind is SourceKind.NETWORK:
        _plan_network(edit)
    elif line.source.kind is SourceKind.FILE:
        if guest.paths.get(normal_path(line.entry.source)) is PathKind.MISSING:
            edit.left.append(f"{line.entry.source} does not exist in the guest, and what it was is not known")
    elif failure is not None:
        _plan_failure(edit, failure, lines, guest)
    elif volume is not None:
        if line.entry.is_root and not _is_root_of(guest, volume):
            edit.left.append(f"it leads to {volume.place}, and this fstab lies on {guest.root.location}")
            return edit
        if line.source.kind is SourceKind.DEVICE:
            _plan_device_name(edit, volume, lines, guest)
        _plan_type(edit, volume, guest)
    return edit


def _plan_network(edit: _Edit) -> None:
    entry = edit.line.entry
    if entry.is_root:
        edit.left.append("the root file system itself is on a server")
    elif severity_of_loss(entry) is not Severity.INFO:
        edit.disabled = "a server that an offline network does not reach"
        edit.reasons.append("no server answers in an offline network")
        edit.is_gone = True


def _plan_device_name(edit: _Edit, volume: Volume, lines: Sequence[Line], guest: Guest) -> None:
    tag = uuid_tag(volume, guest.layout)
    rival = _rival(edit.line, volume, lines)
    if rival is not None:
        # The name is only a position, and one that has come to mean another disk, perhaps.
        edit.left.append(f"line {rival.entry.line} mounts {volume.place} elsewhere: see which disk is meant")
    elif tag is None:
        edit.left.append(f"{volume.place} has no UUID that leads to it alone")
    else:
        edit.write(SOURCE, tag, f"{edit.line.entry.source} is {volume.place} here, and may be another disk elsewhere")


def _plan_type(edit: _Edit, volume: Volume, guest: Guest) -> None:
    """Write the superblock's type, where the line surely means this file system and the driver takes its options."""
    entry = edit.line.entry
    if can_mount(entry.fstype, volume.type):
        return
    others = [other.place for other in guest.layout.volumes() if other.type == entry.fstype]
    if volume.type not in _PLAIN_TYPES or "swap" in {entry.fstype, volume.type}:
        edit.left.append(f"it says {entry.fstype} and {volume.place} holds {volume.type}: see which is meant")
    elif edit.line.source.kind is SourceKind.DEVICE and others:
        # The name is only a position: perhaps the disks were mixed up, and then the type is what is right.
        edit.fields.clear()
        edit.reasons.clear()
        edit.left.append(
            f"{volume.place} holds {volume.type}, and {entry.fstype} is on {', '.join(others)}: see which is meant"
        )
    elif not _are_common(entry.mount_options):
        edit.left.append(f"{volume.place} holds {volume.type}, and the options may be for {entry.fstype} only")
    else:
        edit.write(TYPE, volume.type, f"the superblock on {volume.place} says {volume.type}")


def _plan_failure(edit: _Edit, failure: Code, lines: Sequence[Line], guest: Guest) -> None:
    entry = edit.line.entry
    if failure is Code.TAG_CASE:
        meant = _meant_by_case(edit.line, guest)
    elif entry.is_root and failure in _ABSENT | _BY_SERIAL_OR_SLOT:
        # This fstab is read from the file system that the boot loader starts, if only one can be that.
        is_certain = len(guest.roots) == 1 and not guest.root.subvolume and not _has_unread(guest)
        meant = guest.root.volume if is_certain else None
    elif failure in _BY_SERIAL_OR_SLOT:
        meant = find_by_elimination(edit.line, lines, guest)
    else:
        meant = None
    tag = uuid_tag(meant, guest.layout) if meant is not None else None
    if meant is not None and tag is not None:
        edit.write(SOURCE, tag, f"{entry.source} means {meant.place}, and does not lead there")
        _plan_type(edit, meant, guest)
    elif entry.is_root:
        edit.left.append("which file system is meant to be the root is not certain")
    elif failure in _MAY_BE_UNREAD and _has_unread(guest):
        edit.left.append("it may be on a disk that could not be examined")
    elif failure in _ABSENT and not entry.is_noauto and (other := _would_mount(edit.line, guest)):
        # nofail keeps no boot from mounting another disk there.
        edit.disabled = f"its disk was left behind, and {other} may get its name"
        edit.reasons.append("the name would mean another disk over there")
        edit.is_gone = True
    elif failure in _ABSENT | _BY_SERIAL_OR_SLOT:
        _plan_nofail(edit, NOFAIL, "what it names is not there")
    else:
        edit.left.append(_WHY_LEFT.get(failure, f"it leads nowhere ({failure})"))


def _would_mount(line: Line, guest: Guest) -> str:
    """Return the disk that answers to the name of one which is not there, on some target; "" if none does."""
    for target in ALL_TARGETS if line.source.kind is SourceKind.DEVICE else ():
        there = arrive(line.source, guest, target)
        if there.volume is not None and there.failure is None:
            return there.volume.place
    return ""


def _plan_nofail(edit: _Edit, words: Collection[str], reason: str) -> None:
    """Have the boot go on without what this line mounts."""
    entry = edit.line.entry
    edit.is_gone = True
    stops = severity_of_loss(entry) is Severity.ERROR or (entry.is_swap and not entry.is_noauto)
    if not stops or entry.is_nofail:
        return
    new = [word for word in words if word.partition("=")[0] not in entry.mount_options or word == "nofail"]
    edit.write(OPTIONS, ",".join(["", *new]), f"{reason}: the boot goes on without it")


def _follow_dependents(edits: Sequence[_Edit]) -> None:
    """Give nofail to what fails along: systemd makes a mount require those above its directory and its source."""
    found = True
    while found:
        found = False
        gone = {normal_path(edit.line.entry.mountpoint) for edit in edits if edit.is_gone and not edit.disabled}
        emptied = {normal_path(edit.line.entry.mountpoint) for edit in edits if edit.is_gone}
        for edit in edits:
            entry = edit.line.entry
            if edit.is_gone or entry.is_root:
                continue
            on_file = edit.line.source.kind is SourceKind.FILE
            if _lies_below(entry.mountpoint, gone) or (on_file and _lies_below(entry.source, emptied)):
                _plan_nofail(edit, NOFAIL_ONLY, "it lies on a mount that may not be there")
                found = True


def _lies_below(path: str, mountpoints: Collection[str]) -> bool:
    if not path.startswith("/"):
        return False
    path = normal_path(path)
    return any(path == point or path.startswith(f"{point.rstrip('/')}/") for point in mountpoints if point != "/")


def _write(raw: bytes, edit: _Edit) -> bytes:
    """Return the line as planned, or as it was (and say so) where the planned one would be read otherwise."""
    entry = edit.line.entry
    if edit.disabled:
        return comment_out(raw, f"Disabled by Ferry: {edit.disabled}")
    fields = dict(edit.fields)
    if not fields:
        return raw
    written = fields_of(raw)
    if OPTIONS in fields:
        old = written[OPTIONS] if len(written) > OPTIONS else b"defaults"
        fields[OPTIONS] = old + fields[OPTIONS]
    if len(written) <= TYPE:
        edit.left.append("the line has too few fields to be repaired")
        return raw
    after = replace_fields(raw, fields)
    if not _is_read_as_planned(after, entry, is_nofail=OPTIONS in fields):
        edit.left.append("its options cannot be added to: see whether a quote is open")
        # The rest of the plan does not hang on them: the next repair would find it undone.
        fields.pop(OPTIONS, None)
        after = replace_fields(raw, fields)
    return after if _is_read_as_planned(after, entry, is_nofail=False) else raw


def _is_read_as_planned(after: bytes, before: Entry, *, is_nofail: bool) -> bool:
    [new] = parse_fstab(after).entries
    kept = (new.mountpoint, new.freq, new.passno) == (before.mountpoint, before.freq, before.passno)
    return kept and (new.is_nofail or not is_nofail)


def _meant_by_case(line: Line, guest: Guest) -> Volume | None:
    """Return the one volume whose tag differs from the line's only in upper and lower case."""
    wanted = line.source.value.casefold()
    found = []
    for volume in guest.layout.volumes():
        content, partition = volume.content, volume.partition
        tag = {
            SourceKind.UUID: content.uuid if content else "",
            SourceKind.LABEL: content.label if content else "",
            SourceKind.PARTUUID: partition.uuid if partition else "",
            SourceKind.PARTLABEL: partition.label if partition else "",
        }.get(line.source.kind, "")
        if tag.casefold() == wanted:
            found.append(volume)
    return found[0] if len(found) == 1 and found[0].content is not None and not found[0].is_member else None


def _is_root_of(guest: Guest, volume: Volume) -> bool:
    root = guest.root.volume
    is_btrfs = root.type == volume.type == "btrfs"  # whose devices are one file system
    return volume.name == root.name or (
        is_btrfs
        and root.content is not None
        and volume.content is not None
        and root.content.uuid == volume.content.uuid
    )


def _rival(line: Line, volume: Volume, lines: Sequence[Line]) -> Line | None:
    """Return another line that mounts the same file system in another place, which is hardly ever meant."""
    if volume.type in {"btrfs", "swap"} or line.entry.is_noauto:
        return None
    for other in lines:
        leads_there = other.resolution.volume is not None and other.resolution.volume.name == volume.name
        if leads_there and other.entry.mountpoint != line.entry.mountpoint and not other.entry.is_noauto:
            return other
    return None


def _are_common(options: dict[str, str]) -> bool:
    return all(name in _COMMON_OPTIONS or name.startswith("x-") for name in options)


def _has_unread(guest: Guest) -> bool:
    disks = guest.layout.disks
    return any(disk.unexamined or any(part.unexamined for part in disk.partitions) for disk in disks)
