"""Judges the sixth fields of fstab, by which file systems are checked before they are mounted.

systemd checks a device whose field is not 0, in no order; `fsck -A` of older systems checks 1 before 2. A type without
a checker (`fsck.xfs` and `fsck.btrfs` only say so) is passed over by both. (Read in systemd's `generator.c`.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fstab_check.codes import Code
from fstab_check.facts import Line
from fstab_check.line_check import finding_on
from fstab_check.sources import SourceKind
from migration.verdict import Finding, Severity

_CHECKED_BY_THE_KERNEL = frozenset({"xfs", "btrfs"})
_WITHOUT_A_CHECKER = frozenset({"iso9660", "ntfs", "squashfs", "udf", "zfs_member"})
_WITHOUT_A_DEVICE = {
    SourceKind.NETWORK: "it is on a server",
    SourceKind.PSEUDO: "it has no device",
}
_WANT_A_CHECK = frozenset({"ext2", "ext3", "ext4"})


def check_fsck(lines: Sequence[Line]) -> Iterator[Finding]:
    """Yield what is odd about whether and when the lines' file systems are checked."""
    for line in lines:
        entry = line.entry
        reason = _why_pointless(line)
        if entry.passno != 0 and reason:
            yield _finding(
                line, Code.FSCK_POINTLESS, f"{entry.source} is to be checked at boot, and cannot be: {reason}",
                remedy="write 0 in the sixth field",
            )  # fmt: skip
        elif entry.passno == 1 and not entry.is_root:
            yield _finding(
                line, Code.FSCK_ORDER, f"{entry.source} is to be checked as early as the root file system",
                remedy="write 2 in the sixth field; 1 is for /",
            )  # fmt: skip
        elif entry.is_root and entry.passno == 0 and _type_of(line) in _WANT_A_CHECK:
            yield _finding(
                line, Code.FSCK_ROOT_OFF, "the root file system is not checked at boot, unless the initramfs does it",
                remedy="write 1 in the sixth field",
            )  # fmt: skip


def _why_pointless(line: Line) -> str:
    entry, type_ = line.entry, _type_of(line)
    if line.source.kind in _WITHOUT_A_DEVICE:
        return _WITHOUT_A_DEVICE[line.source.kind]
    if entry.is_swap:
        return "swap space has nothing to check"
    if entry.is_bind:
        return "a bind mount has no device"
    if type_ in _CHECKED_BY_THE_KERNEL:
        return f"{type_} is mended when it is mounted, its fsck does nothing"
    return f"there is no fsck for {type_}" if type_ in _WITHOUT_A_CHECKER else ""


def _type_of(line: Line) -> str:
    volume = line.resolution.volume
    return volume.type if volume and volume.type else line.entry.fstype


def _finding(line: Line, code: Code, message: str, *, remedy: str) -> Finding:
    return finding_on(
        line, code, Severity.INFO, message, evidence=f"the sixth field is {line.entry.passno}", remedy=remedy
    )  # fmt: skip
