"""Plans what becomes of `root=` and `resume=` on the kernel command lines that a boot loader keeps. Pure.

GRUB's own names (`hd0,msdos1`, `search --fs-uuid`) do not depend on the bus; only what the kernel is told does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from fstab_check.boot_syntax import GRUBENV_SIZE, BootFileKind, is_command_line, loads_initramfs, starts_entry
from fstab_check.facts import Guest
from fstab_check.layout import Volume
from fstab_check.patch import Change, FilePatch, Left
from fstab_check.resolve import resolve
from fstab_check.sources import SourceKind, parse_source
from fstab_check.stable_name import entry_naming, partuuid_tag, uuid_tag

# A device after `root=` or `resume=`, where a word begins: at a blank or a quote.
_ARGUMENT = re.compile(rb"""(?<![^\s"'=])(?P<name>root|resume)=(?P<device>/dev/[^\s"'\\;]+)""")


def plan_boot_file(
    guest: Guest, path: str, kind: BootFileKind, content: bytes
) -> tuple[FilePatch | None, tuple[Left, ...]]:
    """Return what becomes of one file of the boot loader; None where nothing changes."""
    lines = content.split(b"\n")
    changes, left = [], []
    for index, line in enumerate(lines):
        if not is_command_line(kind, line):
            continue
        after, reasons, problems = _plan_line(line, guest, has_initramfs=_has_initramfs(kind, lines, index))
        left += [Left(path=path, line=index + 1, why=problem) for problem in problems]
        if after != line:
            changes.append(Change(line=index + 1, before=line, after=after, reasons=reasons))
    if not changes:
        return None, tuple(left)
    patch: FilePatch | None = FilePatch(path=path, before=content, changes=tuple(changes))
    if kind is BootFileKind.GRUB_ENVIRONMENT and patch is not None:
        patch = _keep_size(patch)
        if patch is None:
            left.append(Left(path=path, line=None, why=f"its {GRUBENV_SIZE} bytes are too few for a UUID="))
    return patch, tuple(left)


def _plan_line(line: bytes, guest: Guest, *, has_initramfs: bool) -> tuple[bytes, tuple[str, ...], list[str]]:
    """Return what becomes of a command line, why it changes, and what of it was left alone."""
    reasons, problems = [], []
    position, after = 0, b""
    for match in _ARGUMENT.finditer(line):
        argument = match[0].decode("utf-8", "surrogateescape")
        volume, problem = _follow(match, guest)
        tag = None
        if volume is not None:
            tag = (uuid_tag if has_initramfs else partuuid_tag)(volume, guest.layout)
            problem = "" if tag else f"{volume.place} has no name that this kernel would find"
        if problem:
            problems.append(f"{argument}: {problem}")
        if tag:
            reasons.append(f"{argument} leads nowhere on a bus that calls this disk otherwise")
            after += line[position : match.start("device")] + tag.encode()
            position = match.end()
    return after + line[position:], tuple(reasons), problems


def _follow(match: re.Match[bytes], guest: Guest) -> tuple[Volume | None, str]:
    """Return the file system that an argument means, or what is in the way; neither for names that survive."""
    source = parse_source(entry_naming(match["device"].decode("utf-8", "surrogateescape")))
    is_root = match["name"] == b"root"
    if is_root and source.kind in {SourceKind.DISK_ID, SourceKind.DISK_PATH}:
        is_certain = len(guest.roots) == 1
        return (guest.root.volume, "") if is_certain else (None, "which file system is the root is not certain")
    if source.kind is not SourceKind.DEVICE:
        return None, ""
    resolution = resolve(source, guest.layout, None)
    volume, problem = resolution.volume, ""
    if volume is None or resolution.failure is not None:
        problem = resolution.evidence or "it leads nowhere"
    elif is_root and volume.name != guest.root.volume.name:
        problem = f"it is {volume.place}, and the root was found on {guest.root.location}"
    elif not is_root and volume.type not in {"swap", "swsuspend"}:
        problem = f"{volume.place} holds {volume.type}, no swap"
    return (None, problem) if problem else (volume, "")


def _has_initramfs(kind: BootFileKind, lines: Sequence[bytes], index: int) -> bool:
    """Return whether the kernel of this command line gets an initramfs: by itself it does not know `UUID=`."""
    if kind is BootFileKind.LOADER_ENTRY:
        return any(loads_initramfs(line) for line in lines)
    if kind is not BootFileKind.GRUB_SCRIPT or not starts_entry(lines[index]):
        # The kernel that is meant is told elsewhere. Distributions that keep these lines start with an initramfs.
        return True
    for line in lines[index + 1 :]:
        if loads_initramfs(line):
            return True
        if starts_entry(line):
            return False
    return False


def _keep_size(patch: FilePatch) -> FilePatch | None:
    """Return the patch with a last line of as many `#` as make the block whole again, None where it has too few."""
    if len(patch.before) != GRUBENV_SIZE:
        return None
    lines = patch.before.split(b"\n")
    filling = lines[-1]
    excess = len(patch.after) - GRUBENV_SIZE
    if not filling or filling.strip(b"#") or excess >= len(filling):
        return None
    new = b"#" * (len(filling) - excess)
    change = Change(line=len(lines), before=filling, after=new, reasons=("the block keeps its size",))
    return FilePatch(path=patch.path, before=patch.before, changes=(*patch.changes, change))
