"""Deletes what is not to be kept: older workspaces, and, only where that is asked for, objects that are home."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from image_export.disposal import STEP, Disposal, delete_objects
from image_export.selection import Selector
from migration.catalogue import Migration, Standing, find_migrations, is_in_use, read_migration
from migration.cloud import Cloud
from migration.credentials import CredentialSource
from migration.errors import InvalidInput, MigrationError, WorkspaceInUse
from migration.journal import Journal
from migration.retention import Fate, Group, by_family, judge_retention, remove_workspace, sweep_removed
from migration.storage import format_size
from migration.workspace import open_workspace

log = logging.getLogger(__name__)

# Reaches the cloud of a region, for the objects of the migrations there.
CloudOf = Callable[[str], tuple[Cloud, CredentialSource]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """One thing that was deleted or could not be; `line` is for people."""

    path: Path
    line: str
    failed: bool = False
    freed: int = 0  # bytes on disk


def selected_group(selector: Selector) -> Group:
    """Make all that a selector means one group, whatever else is there; the rest is grouped by family."""

    def group(migration: Migration) -> str:
        if migration.recorded is not None and selector.matches(migration.recorded.image):
            return str(selector)
        return by_family(migration)

    return group


def plan_pruning(root: Path, keep: int, *, depth: int = 1, selector: Selector | None = None) -> tuple[Fate, ...]:
    """Return what would become of every workspace under `root`; with a selector, of those that it means alone."""
    migrations = find_migrations(root, depth=depth)
    if selector is None:
        return judge_retention(migrations, keep)
    chosen = selector
    meant = {
        one.image_id for one in migrations if one.recorded is not None and chosen.matches(one.recorded.image)
    }  # an unfinished one tells its image only
    return judge_retention([one for one in migrations if one.image_id in meant], keep, group=selected_group(chosen))


def with_use(fates: tuple[Fate, ...]) -> tuple[Fate, ...]:
    """Return fates in which what is in use at this moment stays, as it would be found then."""
    return tuple(
        Fate(migration=fate.migration, goes=False, why="in use by another run")
        if fate.goes and is_in_use(fate.migration.path) else fate
        for fate in fates
    )  # fmt: skip


def prune(fates: tuple[Fate, ...], *, cloud_of: CloudOf | None = None) -> tuple[Pruned, ...]:
    """Remove the workspaces that may go; with `cloud_of`, first the objects of all that are proven.

    One that cannot be removed does not keep the others from it.
    """
    done: list[Pruned] = []
    if cloud_of is not None:
        for fate in fates:
            if fate.migration.standing is Standing.PROVEN:
                done += dispose_of_objects(fate.migration.path, cloud_of)
    sweep_removed({fate.migration.path.parent for fate in fates})
    for fate in fates:
        if not fate.goes:
            continue
        path, left = fate.migration.path, _left_in_bucket(fate.migration)
        try:
            freed = remove_workspace(fate)
        except MigrationError as error:
            log.warning("%s stays: %s", path, error.message)
            done.append(Pruned(path=path, line=f"{path} stays: {error.message}", failed=True))
            continue
        line = f"{path} ({format_size(freed)}): {fate.why}"
        done.append(Pruned(path=path, line=line + (f"; left in OSS: {', '.join(left)}" if left else ""), freed=freed))
    return tuple(done)


def dispose_of_objects(path: Path, cloud_of: CloudOf) -> list[Pruned]:
    """Delete the objects of the migration in the workspace at `path`, if it is proven, and say what became of each."""
    try:
        with open_workspace(path) as space:
            migration = read_migration(path)
            if migration is None or migration.standing is not Standing.PROVEN or migration.recorded is None:
                raise InvalidInput(f"{path}: its migration is not proven, so that its objects stay")
            before = space.journal.get(STEP, Disposal) or Disposal(deletions=())
            cloud, credentials = cloud_of(migration.region_id)
            after = delete_objects(space.journal, cloud, credentials, migration.recorded.objects)
    except WorkspaceInUse as error:
        return [Pruned(path=path, line=f"the objects of {path} stay: {error.message}", failed=True)]
    except MigrationError as error:
        log.warning("The objects of %s stay: %s", path, error)
        return [Pruned(path=path, line=f"the objects of {path} stay: {error.message}", failed=True)]
    return [
        Pruned(
            path=path, line=f"oss://{one.bucket}/{one.key}" + (f" stays: {one.kept}" if one.kept else ""),
            failed=bool(one.kept),
        )
        for one in after.deletions if one not in before.deletions
    ]  # fmt: skip


def _left_in_bucket(migration: Migration) -> list[str]:
    """Return the objects that nobody will know of any more once the workspace is gone."""
    if migration.recorded is None:
        return []
    deleted = Journal(migration.path / "journal.json").get(STEP, Disposal) or Disposal(deletions=())
    gone = {(one.bucket, one.key) for one in deleted.deletions if not one.kept}
    return [f"oss://{one.bucket}/{one.key}" for one in migration.recorded.objects if (one.bucket, one.key) not in gone]
