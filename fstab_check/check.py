"""Judges a guest: its fstab line by line, its root file system, its disks. Pure: facts in, verdict out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fstab_check.arrival import follow
from fstab_check.boot_arguments import check_root_arguments
from fstab_check.codes import Code
from fstab_check.config_check import check_config
from fstab_check.disk_check import check_disks, check_expected
from fstab_check.drivers import check_drivers
from fstab_check.facts import Guest, Line
from fstab_check.forecast import forecast
from fstab_check.fsck_check import check_fsck
from fstab_check.fstab import FSTAB
from fstab_check.layout import is_same_volume, with_unmountable
from fstab_check.line_check import check_line, finding_on
from fstab_check.mount_units import lines_in_force, native_mounts, overriding_mount, unmasked
from fstab_check.mountpoint_check import check_mountpoints
from fstab_check.option_check import check_options
from fstab_check.order_check import check_order
from fstab_check.sources import SourceKind
from migration.disk import DiskRole
from migration.target import ALL_TARGETS, Target
from migration.verdict import EntryChain, Finding, Severity, Verdict

MAX_ENTRIES = 1000  # judged; a real fstab has a dozen

# Per code: how much it matters, what is wrong, and what to do.
_FILE_PROBLEMS = {
    Code.FSTAB_MISSING: (
        Severity.ERROR, "the guest has no /etc/fstab: nothing is mounted, and the root may stay read-only",
        "write one, with a line for / and for each data disk, or start from /etc/fstab.bak if there is one",
    ),
    Code.FSTAB_UNREADABLE: (
        Severity.ERROR, "/etc/fstab cannot be read as a file",
        "put a regular file in its place",
    ),
    Code.FSTAB_TOO_LARGE: (
        Severity.WARNING, "/etc/fstab is far too large, and only its beginning was judged",
        "see what filled it, and keep the lines that are meant",
    ),
    Code.ROOT_ENTRY_MISSING: (
        Severity.WARNING, "no line of fstab is for /: the root stays as the kernel mounted it, maybe read-only",
        "add a line for / with the UUID= of the root file system",
    ),
    Code.FSTAB_CRLF: (
        Severity.WARNING, "the line ends as on Windows, and systemd takes the carriage return for a part of the field",
        "convert the file: sed -i 's/\\r$//' /etc/fstab",
    ),
    Code.FSTAB_ENCODING: (
        Severity.INFO, "the line is not UTF-8; it is shown with its odd bytes escaped",
        "see that a path with such bytes is what the guest really has",
    ),
    Code.FSTAB_CONTROL_CHARACTERS: (
        Severity.WARNING, "the line holds control characters; they are shown escaped",
        "see who wrote them, and take them out",
    ),
    Code.LINE_INCOMPLETE: (
        Severity.WARNING, "the line has too few fields: `mount` ignores it, systemd may act on it",
        "write source, mount point, type and options, or take the line out",
    ),
    Code.LINE_NUMBER_INVALID: (
        Severity.WARNING, "the fifth or sixth field is no number: `mount` ignores the line, systemd does not",
        "write 0 0 there; a comment needs a line of its own",
    ),
    Code.LINE_BROKEN: (
        Severity.WARNING, "the line cannot be read as it stands, and is ignored at boot in whole or in part",
        "write it anew, or take it out",
    ),
    Code.LINE_READ_DIFFERENTLY: (
        Severity.WARNING, "systemd and `mount` do not read the same in this line",
        "write it without odd escapes: \\040 is a blank, \\011 a tab, \\012 a newline, \\134 a backslash",
    ),
}  # fmt: skip


def check_guest(guest: Guest, targets: Sequence[Target] = ALL_TARGETS) -> Verdict:
    """Return the verdict on `guest`: findings in the order of the file, then those on the disks, and the boot foretold.

    What depends on the bus is judged for `targets`.
    """
    lines = follow_lines(guest)
    forecasts = tuple(forecast(lines, guest, target) for target in targets)
    findings = [
        *_check_file(guest),
        *(finding for line in lines_in_force(lines, guest) for finding in check_line(line, guest, targets)),
        *check_mountpoints(lines, guest),
        *_check_twice(lines_in_force(lines, guest)),
        *check_options(unmasked(lines, guest), guest),
        *check_fsck(lines),
        *check_order(lines),
        *_check_root(lines, guest),
        *check_root_arguments(guest, targets),
        *check_drivers(guest.kernels, targets),
        *check_config(lines, guest, targets),
        *_check_disks(lines, guest),
    ]
    return Verdict(
        root=guest.root.location,
        operating_system=guest.root.operating_system,
        findings=tuple(sorted(findings, key=_place_of)),
        chain=tuple(_chain(line) for line in lines),
        forecasts=forecasts,
    )


def follow_lines(guest: Guest) -> list[Line]:
    """Return the lines that are judged, each with where it leads."""
    return [follow(entry, guest) for entry in guest.fstab.entries[:MAX_ENTRIES]]


def _check_file(guest: Guest) -> Iterator[Finding]:
    if guest.file.failure is not None:
        yield _on_file(guest.file.failure, guest.file.evidence)
    if len(guest.fstab.entries) > MAX_ENTRIES:
        count = len(guest.fstab.entries)
        yield _on_file(Code.FSTAB_TOO_LARGE, f"{count} lines; only the first {MAX_ENTRIES} were judged")
    for problem in guest.fstab.problems[:MAX_ENTRIES]:
        yield _on_file(problem.code, problem.evidence, problem.line)


def _on_file(code: Code, evidence: str, line: int | None = None) -> Finding:
    severity, message, remedy = _FILE_PROBLEMS[code]
    return Finding(
        code=code, severity=severity, message=message, evidence=evidence, remedy=remedy, file=FSTAB, line=line
    )


def _check_root(lines: Sequence[Line], guest: Guest) -> Iterator[Finding]:
    root = guest.root
    if len(guest.roots) > 1:
        others = ", ".join(other.location for other in guest.roots[1:])
        yield Finding(
            code=Code.ROOT_AMBIGUOUS, severity=Severity.INFO,
            message=f"more than one file system looks like a root; the one on {root.location} was judged",
            evidence=f"also: {others}", remedy="see that it is the one which the boot loader starts",
        )  # fmt: skip
    system = {disk.name.index for disk in guest.layout.disks if disk.role is DiskRole.SYSTEM}
    if system and not root.volume.disks & system:
        yield Finding(
            code=Code.ROOT_ON_DATA_DISK, severity=Severity.WARNING,
            message=f"the root file system is on {root.location}, not on the system disk",
            evidence=f"given: {guest.layout.names}",
            remedy="see that each disk was given as the one it is; the export names them system, data_xvdb, …",
            device=root.volume.members[0].disk,
        )  # fmt: skip
    line = next((line for line in lines if line.entry.is_root), None)
    if line is None:
        if guest.file.failure is None:
            yield _on_file(Code.ROOT_ENTRY_MISSING, f"this fstab lies on {root.location}")
        return
    volume = line.resolution.volume
    if volume is not None and not is_same_volume(volume, root.volume):
        yield finding_on(
            line, Code.ROOT_ENTRY_DIFFERS, Severity.ERROR,
            f"the line for / leads to {volume.place}, but this fstab lies on {root.location}",
            evidence=f"{line.entry.source} is {volume.place}", remedy="name the file system that is really the root",
            device=volume.members[0],
        )  # fmt: skip


def _check_twice(lines: Sequence[Line]) -> Iterator[Finding]:
    """Yield lines that mount a file system which another line has mounted elsewhere."""
    seen: dict[str, Line] = {}
    for line in lines:
        volume = line.resolution.volume
        if volume is None or volume.type in {"btrfs", "swap"} or line.entry.is_noauto or line.entry.is_swap:
            continue
        first = seen.setdefault(volume.name, line)
        if first.entry.mountpoint != line.entry.mountpoint:
            yield finding_on(
                line, Code.FILESYSTEM_TWICE, Severity.WARNING,
                f"{volume.place} is mounted on {first.entry.mountpoint} (line {first.entry.line}) "
                f"and on {line.entry.mountpoint}",
                evidence=f"{first.entry.source} and {line.entry.source} are both {volume.place}",
                remedy="see which file system each of the lines is meant for, and that no two disks were mixed up",
                device=volume.members[0],
            )  # fmt: skip


def _check_disks(lines: Sequence[Line], guest: Guest) -> Iterator[Finding]:
    used = [guest.root.volume]
    units = [native.line for native in native_mounts(lines, guest)]
    units += [native.line for line in lines if (native := overriding_mount(line, guest)) is not None]
    used += [line.resolution.volume for line in [*lines, *units] if line.resolution.volume is not None]
    has_mappings = any(line.resolution.failure is Code.MAPPING_UNEXAMINED for line in lines)
    # What a disk lacks that is still to come, as a btrfs over several, is not told of a disk that is there.
    layout = with_unmountable(guest.layout, {}) if guest.awaited else guest.layout
    yield from check_disks(layout, used, has_mappings=has_mappings)
    named = {line.resolution.device.disk for line in lines if line.resolution.device is not None}
    yield from check_expected(guest.layout, set(guest.expected) - set(guest.awaited), named)


def _place_of(finding: Finding) -> tuple[int, int]:
    """Return a key that puts fstab first, then the other files as they were judged, then the disks."""
    if finding.file == FSTAB:
        return (0, finding.line or 0)
    return (2 if finding.file is None else 1, 0)


def _chain(line: Line) -> EntryChain:
    entry, volume = line.entry, line.resolution.volume
    first = volume.members[0] if volume is not None and volume.members else None
    content = volume.content if volume is not None else None
    return EntryChain(
        line=entry.line, source=entry.source, mountpoint=entry.mountpoint, fstype=entry.fstype, options=entry.options,
        device=first.disk if first else None,
        partition=first.partition if first else None,
        filesystem=content.type if content else None,
        uuid=(content.uuid or None) if content else None,
        resolved=_resolved(line),
    )  # fmt: skip


_WITHOUT_DISK = {
    SourceKind.FILE: "a path in the guest",
    SourceKind.NETWORK: "a server on the network",
    SourceKind.PSEUDO: "no disk needed",
}


def _resolved(line: Line) -> str:
    volume, failure = line.resolution.volume, line.resolution.failure
    if line.source.kind in _WITHOUT_DISK:
        return _WITHOUT_DISK[line.source.kind]
    if line.resolution.is_open:
        return "may be on a disk that has not come yet"
    if volume is None:
        return f"leads nowhere ({failure})"
    where = f"{volume.kind} {volume.name} on {volume.place}" if volume.kind else volume.place
    return f"{where} ({failure})" if failure else where
