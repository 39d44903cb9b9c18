"""What came of repairing a guest: both verdicts, the difference, and the disks that have it in them."""

from __future__ import annotations

from dataclasses import dataclass

from migration.disk import Disk
from migration.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedLine:
    """One line of a file in the guest, counted from 1 as the file was. All strings are printable."""

    file: str
    line: int
    before: str
    after: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftLine:
    """What could not be repaired safely. `line` is None where it is about the whole file. Strings are printable."""

    file: str
    line: int | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """A repair as it was planned, and, once `disks` hold it, as it was judged again.

    `diff` is a unified diff for people, "" where there is nothing to change. `disks` are all disks of the guest,
    those that were written to as layers (see `Disk.base`) over the downloaded ones.
    """

    before: Verdict
    diff: str
    changed: tuple[ChangedLine, ...]
    left: tuple[LeftLine, ...]
    after: Verdict | None = None  # None: nothing was written
    disks: tuple[Disk, ...] = ()

    @property
    def layers(self) -> tuple[Disk, ...]:
        """Those of `disks` that were written to."""
        return tuple(disk for disk in self.disks if disk.base is not None)
