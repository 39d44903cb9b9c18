"""Knows how much room a set of conversions takes at its worst, before and while it happens."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from migration.storage import format_size


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskUse:
    """Bytes on disk, of disks and images together: `peak` at the worst moment, `final` when all is done."""

    peak: int
    final: int

    def __str__(self) -> str:
        return f"up to {format_size(self.peak)} at the peak, {format_size(self.final)} in the end"


def expect_disk_use(disks: Sequence[tuple[int, int]], formats: int, *, keep_raw: bool) -> DiskUse:
    """Return the most that converting takes: of each disk (bytes on disk, bytes of data) to so many `formats`.

    Without `keep_raw` the disks are converted one after another, in this order, and each goes once its images are
    proven. An image takes no more than the data, and less where it is compressed.
    """
    now = peak = sum(allocated for allocated, _ in disks)
    for allocated, data in disks:
        now += data * formats
        peak = max(peak, now)
        if not keep_raw:
            now -= allocated
    return DiskUse(peak=peak, final=now)


def measure_disk_use(folders: Sequence[Path]) -> int:
    """Return how many bytes all files under `folders` take on disk."""
    used = {
        (status.st_dev, status.st_ino): status.st_blocks * 512  # of 512 bytes whatever the file system's (POSIX stat)
        for folder in folders
        for parent, _, names in os.walk(folder)
        for name in names
        if (status := _status(Path(parent, name))) is not None
    }
    return sum(used.values())


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:  # a partial one that became whole meanwhile
        return None
