"""Judges which workspaces may go when the last few migrations of each kind are to be kept, and removes one safely."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from migration.catalogue import Migration, Standing, read_migration
from migration.errors import InvalidInput
from migration.storage import format_size, storage_errors, sync_directory
from migration.workspace import open_workspace

log = logging.getLogger(__name__)

LEFT_ALONE = 7 * 24 * 3600  # seconds without a step after which nobody seems to be going on with an unfinished one
_GOING = ".ferry-deleted-"  # what the name of a workspace begins with while it is being removed

# Migrations of which the last few are kept together share a value.
Group = Callable[[Migration], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What becomes of one workspace, and why."""

    migration: Migration
    goes: bool
    why: str


def by_family(migration: Migration) -> str:
    """Group by image family; an image without one is a group of its own."""
    family = migration.recorded.image.family if migration.recorded is not None else ""
    return f"family {family}" if family else migration.image_id


def judge_retention(
    migrations: Iterable[Migration], keep: int, *, group: Group = by_family, now: float | None = None
) -> tuple[Fate, ...]:
    """Return the fate of every migration: of each group the `keep` newest proven ones stay, older proven ones go.

    What is not proven goes only where a proven migration of the very same image stays, and nobody has gone on with it
    for a week. The newest is the one of the newest image. Raises `InvalidInput` for `keep` < 1.
    """
    if keep < 1:
        raise InvalidInput(f"to keep {keep} migrations would delete the newest proven one", "keep 1 or more")
    moment = time.time() if now is None else now
    migrations = list(migrations)
    groups: dict[str, list[Migration]] = defaultdict(list)
    for migration in migrations:
        if migration.standing is Standing.PROVEN:
            groups[group(migration)].append(migration)
    kept: dict[Path, str] = {}
    for name, members in groups.items():
        newest_first = sorted(members, key=_age, reverse=True)
        for number, migration in enumerate(newest_first[:keep], start=1):
            kept[migration.path] = f"number {number} of the {keep} kept of {name}"
    safe = {migration.image_id for migration in migrations if migration.path in kept}
    fates = []
    for migration in migrations:
        if migration.path in kept:
            goes, why = False, kept[migration.path]
        elif migration.standing is Standing.PROVEN:
            goes, why = True, f"older than the {keep} kept of {group(migration)}"
        else:
            goes, why = _judge_unproven(migration, safe, moment)
        fates.append(Fate(migration=migration, goes=goes, why=why))
    return tuple(fates)


def _judge_unproven(migration: Migration, safe: set[str], now: float) -> tuple[bool, str]:
    if migration.image_id not in safe:
        return False, f"{migration.standing}, and there is no proven migration of {migration.image_id} to keep"
    if now - migration.touched < LEFT_ALONE:
        return False, f"{migration.standing}, but worked at within the last week"
    return True, f"{migration.standing}, and a proven migration of {migration.image_id} stays"


def remove_workspace(fate: Fate) -> int:
    """Remove a workspace that may go, and return the bytes on disk that this freed.

    Raises `WorkspaceInUse`, or `InvalidInput` where it is not what was judged any more. Killed in between, the next
    `sweep_removed` completes it: from the rename on, no run takes it for a workspace.
    """
    judged = fate.migration
    path = judged.path
    if not fate.goes:
        raise InvalidInput(f"{path} is to stay: {fate.why}")
    with open_workspace(path), storage_errors(path):
        if read_migration(path) != judged:
            raise InvalidInput(f"{path} has changed since it was looked at", "run the same command again")
        size = measure(path)
        going = path.with_name(f"{_GOING}{path.name}")
        path.rename(going)
        sync_directory(path.parent)
        shutil.rmtree(going)
    log.info("Removed %s (%s): %s", path, format_size(size), fate.why)
    return size


def sweep_removed(folders: Iterable[Path]) -> None:
    """Remove the rest of workspaces whose removal was interrupted."""
    for folder in folders:
        for left in folder.glob(f"{_GOING}*"):
            if left.is_dir() and not left.is_symlink():
                with storage_errors(left):
                    shutil.rmtree(left)


def measure(path: Path) -> int:
    """Return the bytes that a folder takes on disk."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            total += os.lstat(os.path.join(folder, name)).st_blocks * 512  # noqa: PTH118  # of 512 bytes (POSIX stat)
    return total


def render_fates(fates: Sequence[Fate]) -> str:
    """Return the fates as lines for people."""
    return "\n".join(f"{'delete' if fate.goes else 'keep':8}{fate.migration.path}: {fate.why}" for fate in fates)


def _age(migration: Migration) -> tuple[int, float, str]:
    recorded = migration.recorded
    assert recorded is not None  # noqa: S101  # it is proven
    return recorded.image.created or 0, recorded.finished, str(migration.path)
