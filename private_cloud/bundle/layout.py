"""Plans which part of which file goes on which volume; pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from migration.errors import InvalidInput
from migration.storage import format_size

# What a file costs beside its bytes: it fills whole clusters (64 KiB on a large exFAT), and has a place in a folder.
CLUSTER = 64 << 10


@dataclass(frozen=True, slots=True)
class Cut:
    """A stretch of a file on a volume, counted from 1; bytes."""

    volume: int
    start: int
    size: int


def plan_cuts(sizes: Sequence[int], capacity: int | None, chunk_size: int) -> list[list[Cut]]:
    """Return the cuts of each file, in the order of the files; volumes are filled one after the other.

    `capacity` is what a volume has for them, None where there is one and it has no end. Files are cut between chunks,
    and those of one chunk not at all, so that every chunk lies on one volume. Raises `InvalidInput`.
    """
    if capacity is None:
        return [[Cut(1, 0, size)] for size in sizes]
    if capacity < chunk_size + 2 * CLUSTER:
        raise InvalidInput(
            f"a volume so small has no room for a chunk of {format_size(chunk_size)} beside what each volume carries",
            "give a larger --split",
        )
    volume, left, plan = 1, capacity, []
    for size in sizes:
        cuts: list[Cut] = []
        start = 0
        while not cuts or start < size:
            rest = size - start
            if _cost(rest) <= left:
                take = rest
            else:
                take = (left - 2 * CLUSTER) // chunk_size * chunk_size if size > chunk_size else 0
                if take <= 0:
                    volume, left = volume + 1, capacity
                    continue
            cuts.append(Cut(volume, start, take))
            start, left = start + take, left - _cost(take)
        plan.append(cuts)
    return plan


def _cost(size: int) -> int:
    return size + -size % CLUSTER + CLUSTER
