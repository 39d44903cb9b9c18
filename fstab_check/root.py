"""Finds the file system that will be `/`, and reads from it what the judgement needs.

Paths are resolved by libguestfs inside the guest's own tree: a symlink that leads out of it leads nowhere.
"""

from __future__ import annotations

import contextlib
import posixpath
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from fstab_check.codes import Code
from fstab_check.facts import FstabFile, PathKind, RootFilesystem
from fstab_check.fstab import FSTAB
from fstab_check.layout import ENCRYPTED_TYPES, MEMBER_TYPES, Volume, with_subvolumes, with_unmountable
from fstab_check.mount_check import NOT_MOUNTED, check_mounted, is_of_paths, reason_of
from fstab_check.survey import Survey
from migration.appliance import Refused, refusals
from migration.disk import DiskRole
from migration.errors import GuestError, NoLinuxRoot
from migration.verdict import printable

if TYPE_CHECKING:
    import guestfs

MAX_FSTAB = 1024 * 1024  # bytes; real ones have a few KiB
MAX_OS_RELEASE = 64 * 1024
MAX_PRETTY_NAME = 200  # characters
MAX_PATHS = 2000  # looked at in the guest, at about 20 ms each
MAX_SUBVOLUMES = 32  # tried as a root; snapshots can be thousands

# What no Linux lives on: its root would have to be something else.
_NEVER_ROOT = MEMBER_TYPES | ENCRYPTED_TYPES | {"swap", "vfat", "exfat", "ntfs", "iso9660", "udf", "zfs_member"}

# Where distributions put the root of a btrfs: Ubuntu and SUSE, Debian, Fedora.
_USUAL_SUBVOLUMES = ("@", "@rootfs", "root")

READ_ONLY = "ro,nosuid,nodev,noexec"  # mount options


def find_roots(g: guestfs.GuestFS, survey: Survey) -> tuple[Survey, list[RootFilesystem]]:
    """Try to mount every file system; return those that look like a Linux root, the most likely first; at least one.

    The survey is returned too, with those noted in it that do not let themselves be mounted.

    The system disk's come before a data disk's, which may hold an old copy; then those with an fstab.
    Raises `NoLinuxRoot` where there is none, with what was seen instead; `GuestError` where there may be one
    that could not be read, or that lies in part on another disk.
    """
    seen: list[str] = []
    found: list[RootFilesystem] = []
    unmountable: dict[str, str] = {}
    subvolumes: dict[str, frozenset[tuple[int, str]]] = {}
    tried_btrfs = set()
    for volume in survey.layout.volumes():
        if volume.content is None or volume.type in NOT_MOUNTED:
            continue
        if volume.type == "btrfs":
            if volume.content.uuid in tried_btrfs:
                continue
            tried_btrfs.add(volume.content.uuid)
        path = survey.paths.get(volume.name, "")
        try:
            found += _roots_on(g, volume, path, subvolumes)
        except Refused as refusal:
            reason = reason_of(refusal, volume.name)
            seen.append(f"{volume.name} {volume.type}, which cannot be looked into: {reason}")
            if not is_of_paths(refusal):
                unmountable[volume.name] = reason
    if not found:
        raise _no_root(g, survey, seen)
    system = {disk.name.index for disk in survey.layout.disks if disk.role is DiskRole.SYSTEM}
    # sorted() is stable: among equals the order of the disks stays.
    roots = sorted(found, key=lambda root: (not root.volume.disks & system, not root.has_fstab))
    layout = with_subvolumes(with_unmountable(survey.layout, unmountable), subvolumes)
    return replace(survey, layout=layout), roots


def mount_root(
    g: guestfs.GuestFS, survey: Survey, root: RootFilesystem, *, options: str = READ_ONLY
) -> None:  # fmt: skip
    """Mount `root`, and nothing else, as the appliance's `/`. Raises `Refused`."""
    _mount(g, survey.paths[root.volume.name], root.subvolume, options)


def read_fstab(g: guestfs.GuestFS) -> FstabFile:
    """Read /etc/fstab of the mounted root, at most `MAX_FSTAB` bytes of it, and only if it is a regular file."""
    try:
        with refusals(g):
            is_file = g.is_file(FSTAB, followsymlinks=True)
    except Refused as refusal:
        with refusals(g):
            if not g.is_symlink(FSTAB):
                raise
        return FstabFile(failure=Code.FSTAB_UNREADABLE, evidence=f"a symlink that cannot be followed: {refusal}")
    with refusals(g):
        if not is_file:
            return _no_fstab(g)
        # More is read than may be, to see whether there is more.
        content = bytes(g.pread(FSTAB, MAX_FSTAB + 1, 0))
    if len(content) <= MAX_FSTAB:
        return FstabFile(content=content)
    whole_lines = content[: content.rfind(b"\n", 0, MAX_FSTAB) + 1]
    return FstabFile(
        content=whole_lines,
        failure=Code.FSTAB_TOO_LARGE,
        evidence=f"larger than {MAX_FSTAB // 1024} KiB; only its first {len(whole_lines)} bytes were judged",
    )


def look_at_paths(g: guestfs.GuestFS, paths: Iterable[str]) -> dict[str, PathKind]:
    """Return what is at each of `paths` in the mounted root; one that cannot be asked about is left out."""
    kinds = {}
    for path in list(dict.fromkeys(paths))[:MAX_PATHS]:
        with contextlib.suppress(Refused):
            kinds[path] = _kind_of(g, path)
    return kinds


def _no_fstab(g: guestfs.GuestFS) -> FstabFile:
    if g.is_symlink(FSTAB) and not g.exists(FSTAB):
        target = g.readlink(FSTAB)
        return FstabFile(
            failure=Code.FSTAB_UNREADABLE, evidence=f"a symlink to {target!r}, which does not exist in the guest"
        )
    if not g.exists(FSTAB):
        return FstabFile(failure=Code.FSTAB_MISSING, evidence="there is no such file")
    kind = "a directory" if g.is_dir(FSTAB, followsymlinks=True) else "neither a file nor a directory"
    return FstabFile(failure=Code.FSTAB_UNREADABLE, evidence=f"it is {kind}")


def _kind_of(g: guestfs.GuestFS, path: str) -> PathKind:
    encoded = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if encoded != path or "\0" in path:
        raise Refused("the bindings cannot say this name")
    with refusals(g):
        if g.is_dir(path, followsymlinks=True):
            return PathKind.DIRECTORY
        if g.is_file(path, followsymlinks=True):
            return PathKind.FILE
        # `exists` does not follow a symlink: one that leads nowhere would be there.
        if not g.exists(path) or (g.is_symlink(path) and not _leads_somewhere(g, path)):
            return PathKind.MISSING
        return PathKind.OTHER


def _leads_somewhere(g: guestfs.GuestFS, symlink: str) -> bool:
    """Return whether `symlink` leads to something that is there, as a device or a socket may be."""
    try:
        with refusals(g):
            return bool(g.exists(g.realpath(symlink)))
    except (Refused, UnicodeDecodeError):
        return False


def _roots_on(
    g: guestfs.GuestFS, volume: Volume, path: str, subvolumes: dict[str, frozenset[tuple[int, str]]]
) -> list[RootFilesystem]:
    """Return the root that is on `volume`, if any, and note what subvolumes it has. Raises `Refused`."""
    with _mounted(g, path, ""):
        check_mounted(g, volume.type, path)
        if volume.type in _NEVER_ROOT:
            return []
        names = []
        if volume.type == "btrfs" and volume.content is not None:
            listed = _list_subvolumes(g)
            names = _worth_a_look(listed or frozenset())
            if listed is not None:
                subvolumes[volume.content.uuid] = listed
        if _looks_like_root(g):
            return [_root_here(g, volume, "")]  # further subvolumes would be its snapshots
    for subvolume in names:
        with _mounted(g, path, subvolume):
            if _looks_like_root(g):
                return [_root_here(g, volume, subvolume)]
    return []


def _root_here(g: guestfs.GuestFS, volume: Volume, subvolume: str) -> RootFilesystem:
    return RootFilesystem(
        volume=volume,
        subvolume=subvolume,
        has_fstab=bool(g.exists(FSTAB) or g.is_symlink(FSTAB)),
        operating_system=_operating_system(g),
    )


def _list_subvolumes(g: guestfs.GuestFS) -> frozenset[tuple[int, str]] | None:
    """Return id and path of each subvolume of the mounted btrfs; None where the bindings cannot name them."""
    with refusals(g):
        try:
            listed = g.btrfs_subvolume_list("/")
        except UnicodeDecodeError:  # of any of them
            return None
    return frozenset((entry["btrfssubvolume_id"], entry["btrfssubvolume_path"]) for entry in listed)


def _worth_a_look(subvolumes: Collection[tuple[int, str]]) -> list[str]:
    """Return the paths in which a root may be, beside the default one."""
    # One with a comma in its name cannot be said in mount options.
    names = [path for _, path in sorted(subvolumes) if "," not in path]
    usual = [name for name in _USUAL_SUBVOLUMES if name in names]
    return [*usual, *(name for name in names if name not in usual)][: MAX_SUBVOLUMES - 1]


@contextmanager
def _mounted(g: guestfs.GuestFS, path: str, subvolume: str) -> Iterator[None]:
    """Mount one file system as the appliance's `/` for the length of the block; raises `Refused`."""
    _mount(g, path, subvolume)
    try:
        yield
    finally:
        g.umount_all()


def _mount(g: guestfs.GuestFS, path: str, subvolume: str, options: str = READ_ONLY) -> None:
    if subvolume:
        options = f"{options},subvol={subvolume}"
    if not path or "," in subvolume:
        raise Refused("there is no way to mount it")
    with refusals(g):
        g.mount_options(options, path, "/")


def _looks_like_root(g: guestfs.GuestFS) -> bool:
    with refusals(g):
        if not g.is_dir("/etc", followsymlinks=True):
            return False
        has_programs = any(g.is_dir(path, followsymlinks=True) for path in ("/usr", "/bin", "/sbin", "/lib"))
        return has_programs and any(g.exists(path) for path in (FSTAB, "/etc/os-release", "/etc/passwd"))


def _operating_system(g: guestfs.GuestFS) -> str:
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        with contextlib.suppress(Refused), refusals(g):
            if g.is_file(path, followsymlinks=True):
                return parse_pretty_name(bytes(g.pread(path, MAX_OS_RELEASE, 0)).decode("utf-8", "replace"))
    return ""


def parse_pretty_name(os_release: str) -> str:
    """Return PRETTY_NAME of an os-release file, "" where it has none."""
    for line in os_release.split("\n"):
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            value = value.strip(" \t\r")
            is_quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'"
            return re.sub(r"\\(.)", r"\1", value[1:-1] if is_quoted else value)[:MAX_PRETTY_NAME]
    return ""


def _no_root(g: guestfs.GuestFS, survey: Survey, seen: list[str]) -> GuestError:
    for volume in survey.layout.volumes():
        if volume.type == "ntfs" and _holds_windows(g, survey.paths.get(volume.name, "")):
            return NoLinuxRoot(
                f"Windows image: there is no /etc/fstab; Windows lies on {volume.name}",
                "Windows needs no fstab check: leave it out, and see that the virtio drivers are installed",
            )
    seen += list(_contents(survey))
    kind = GuestError if _may_have_a_root(survey) else NoLinuxRoot
    return kind(
        "no root file system of a Linux was found; seen: " + (printable("; ".join(seen)) or "nothing at all"),
        "check that the system disk is among the disks; an encrypted one cannot be examined",
    )


def _may_have_a_root(survey: Survey) -> bool:
    """Return whether something was seen from which a Linux might start all the same."""
    contents = [volume.type for volume in survey.layout.volumes() if volume.content]
    unread = any(disk.unexamined or any(part.unexamined for part in disk.partitions) for disk in survey.layout.disks)
    return unread or any(found in MEMBER_TYPES or found not in _NEVER_ROOT for found in contents)


def _contents(survey: Survey) -> Iterator[str]:
    for disk in survey.layout.disks:
        if disk.unexamined:
            yield f"{disk.name}, which cannot be read: {disk.unexamined}"
        elif disk.is_blank:
            yield f"{disk.name}, which is blank"
    for volume in survey.layout.volumes():
        if volume.content:
            yield f"{volume.name} {volume.type}"


def _holds_windows(g: guestfs.GuestFS, path: str) -> bool:
    try:
        with _mounted(g, path, ""), refusals(g):
            names = [name for name in g.ls("/") if name.lower() in {"windows", "winnt"}]
            return any(g.is_dir(posixpath.join("/", name)) for name in names)
    except Refused:
        return False
