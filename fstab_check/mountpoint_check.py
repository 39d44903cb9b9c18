"""Judges the second fields of fstab: mount points that are missing, impossible, or used twice."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator, Sequence

from fstab_check.boot_effect import effect_of_loss, severity_of_loss
from fstab_check.codes import Code
from fstab_check.facts import Guest, Line, PathKind
from fstab_check.fstab import Entry, Fstab
from fstab_check.line_check import finding_on
from fstab_check.sources import SourceKind, parse_source
from migration.verdict import Finding, Severity


def check_mountpoints(lines: Sequence[Line], guest: Guest) -> Iterator[Finding]:
    """Yield what is wrong with where the lines mount to."""
    first_at: dict[str, int] = {}
    for line in lines:
        entry = line.entry
        if entry.is_swap or entry.mountpoint == "none":
            continue
        if not entry.mountpoint.startswith("/"):
            yield finding_on(
                line, Code.MOUNTPOINT_INVALID, Severity.WARNING,
                f"{entry.mountpoint!r} is no absolute path: systemd ignores the line",
                evidence="the second field must begin with /", remedy="correct the mount point",
            )  # fmt: skip
            continue
        path = real_path(entry.mountpoint, guest)
        if path in first_at:
            yield finding_on(
                line, Code.MOUNTPOINT_DUPLICATE, Severity.WARNING,
                f"{path} is taken by line {first_at[path]}: systemd mounts that one and drops this one",
                evidence=f"lines {first_at[path]} and {entry.line}", remedy="keep one of them",
            )  # fmt: skip
            continue
        first_at[path] = entry.line
        yield from _check_symlink(line, path)
        yield from _check_directory(line, guest.paths.get(normal_path(entry.mountpoint)))


def paths_of_interest(fstab: Fstab, limit: int, more: Sequence[str] = ()) -> list[str]:
    """Return the paths on the root that the first `limit` lines ask for, and those of `more` that lie there."""
    entries = fstab.entries[:limit]
    mounts = {normal_path(entry.mountpoint) for entry in entries if _mounts_somewhere(entry)}
    paths = list(more)
    for entry in entries:
        if _mounts_somewhere(entry):
            paths.append(normal_path(entry.mountpoint))
        if parse_source(entry).kind is SourceKind.FILE:
            paths.append(normal_path(entry.source))
    return [path for path in dict.fromkeys(paths) if _lies_on_root(path, mounts)]


def normal_path(path: str) -> str:
    """Return `path` without doubled, trailing and dotted parts; two leading slashes are one here."""
    return "/" + posixpath.normpath(path).lstrip("/")


def real_path(mountpoint: str, guest: Guest) -> str:
    """Return where systemd mounts: its generator follows symlinks (`fstab-generator.c`, since version 233)."""
    path = normal_path(mountpoint)
    return guest.config.links.get(path, path)


def _mounts_somewhere(entry: Entry) -> bool:
    return not entry.is_swap and entry.mountpoint.startswith("/")


def _lies_on_root(path: str, mounts: Collection[str]) -> bool:
    """Return whether no line mounts anything above `path`."""
    while path != "/":
        path = posixpath.dirname(path)
        if path != "/" and path in mounts:
            return False
    return True


def _check_symlink(line: Line, path: str) -> Iterator[Finding]:
    written = normal_path(line.entry.mountpoint)
    if path != written:
        yield finding_on(
            line, Code.MOUNTPOINT_SYMLINK, Severity.INFO,
            f"{written} is a symlink or lies behind one: systemd mounts at {path}, and its unit is named after that",
            evidence=f"{written} leads to {path}",
            remedy=f"write {path}; a mount unit of one's own refuses a symlink in Where=",
        )  # fmt: skip


def _check_directory(line: Line, kind: PathKind | None) -> Iterator[Finding]:
    entry = line.entry
    if kind is PathKind.MISSING and not entry.is_noauto:
        yield finding_on(
            line, Code.MOUNTPOINT_MISSING, Severity.INFO,
            f"the directory {entry.mountpoint} is missing: systemd makes it, `mount -a` does not",
            evidence="not on the root file system", remedy="make it in the guest, to be safe",
        )  # fmt: skip
    elif kind in {PathKind.FILE, PathKind.OTHER} and not entry.is_bind:
        yield finding_on(
            line, Code.MOUNTPOINT_INVALID, severity_of_loss(entry),
            f"{entry.mountpoint} is not a directory: {effect_of_loss(entry)}",
            evidence="a file is in its place" if kind is PathKind.FILE else "a special file is in its place",
            remedy="make a directory of it, or correct the mount point",
        )  # fmt: skip
