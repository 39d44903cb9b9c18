"""Decides which images of a fleet are to be migrated and which are left out, before anything is exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from flows.fleet_list import FleetImage, list_of_ids, read_fleet_file
from flows.fleet_table import Outcome, Row
from image_export.selection import Selector, check_count, choose, find_images
from migration.catalogue import Migration
from migration.cloud import Cloud
from migration.credentials import CredentialSource
from migration.errors import InvalidInput
from migration.progress import Stop


@dataclass(frozen=True, kw_only=True)
class FleetPlan:
    """Images to migrate, in order, their names as far as they are known, and rows for those that are left out."""

    images: tuple[FleetImage, ...]
    names: Mapping[str, str] = field(default_factory=dict)
    skipped: tuple[Row, ...] = ()


def list_images(
    image_ids: Sequence[str], file: str, selector: Selector | None, cloud: Cloud, credentials: CredentialSource,
    migrations: Sequence[Migration], *, keep_last: int | None, stop: Stop | None = None,
) -> FleetPlan:  # fmt: skip
    """Return the images that are meant, whether they were migrated or not. Raises `InvalidInput` for none."""
    if sum((bool(image_ids), bool(file), selector is not None)) != 1:
        raise InvalidInput("which images?", "give a list of ids, or a file, or a selector, and one of them only")
    if image_ids:
        return FleetPlan(images=list_of_ids(image_ids))
    if file:
        return FleetPlan(images=read_fleet_file(Path(file).expanduser()))
    assert selector is not None  # noqa: S101  # it is the one that is left
    found = find_images(cloud, credentials, selector, stop=stop)
    migrated = {one.image_id for one in migrations if one.is_complete}
    choices = choose(found, selector.which, migrated=migrated, at_most=keep_last)
    return FleetPlan(
        images=tuple(FleetImage(image_id=choice.image.image_id) for choice in choices if not choice.left_out),
        names={choice.image.image_id: choice.image.name for choice in choices},
        skipped=tuple(
            Row(
                image_id=choice.image.image_id, name=choice.image.name, outcome=Outcome.SKIPPED, why=choice.left_out
            )
            for choice in choices if choice.left_out
        ),
    )  # fmt: skip


def leave_out_migrated(
    plan: FleetPlan, migrations: Sequence[Migration], common: Mapping[str, Any], *, force: bool, at_most: int
) -> FleetPlan:
    """Return the plan without what was migrated already. Raises `InvalidInput` for more images than `at_most`.

    `common` are the parameters that all images have unless they have their own.
    """
    todo, skipped = list[FleetImage](), list(plan.skipped)
    for image in plan.images:
        wanted = {**common, **image.differences()}
        known = None if force else find_covering(migrations, image.image_id, wanted)
        if known is None:
            todo.append(image)
        else:
            skipped.append(_row_of_known(known))
    check_count(todo, at_most)
    return FleetPlan(images=tuple(todo), names=plan.names, skipped=tuple(skipped))


def find_covering(migrations: Sequence[Migration], image_id: str, wanted: Mapping[str, Any]) -> Migration | None:
    """Return a migration of the image that made all that is wanted, the latest; None if there is none."""
    formats = [str(one) for one in wanted.get("formats") or ()]
    boot_test, bundle = bool(wanted.get("boot_test")), bool(wanted.get("bundle"))
    known = [
        one for one in migrations
        if one.image_id == image_id and one.covers(formats, boot_test=boot_test, bundle=bundle)
    ]  # fmt: skip
    return max(known, key=lambda one: one.recorded.finished if one.recorded else 0, default=None)


def when_migrated(migration: Migration) -> str:
    """Say when a migration ended: `2026-11-27`."""
    finished = migration.recorded.finished if migration.recorded is not None else 0
    return f"{datetime.fromtimestamp(finished, timezone.utc):%Y-%m-%d}"


def _row_of_known(known: Migration) -> Row:
    recorded = known.recorded
    return Row(
        image_id=known.image_id, name=recorded.image.name if recorded else "", outcome=Outcome.SKIPPED,
        why=f"migrated on {when_migrated(known)} already (force repeats it)", workspace=str(known.path),
        images=tuple(str(known.path / "images" / made.name) for made in recorded.made) if recorded else (),
    )  # fmt: skip


def stopped_rows(images: Sequence[FleetImage], rows: Sequence[Row], names: Mapping[str, str]) -> tuple[Row, ...]:
    """Return a row for every image that a fleet which was stopped has told nothing of."""
    told = {row.image_id for row in rows}
    return tuple(
        Row(
            image_id=image.image_id, name=names.get(image.image_id, ""), outcome=Outcome.STOPPED,
            why="the fleet was stopped; run it again to go on",
        )
        for image in images if image.image_id not in told
    )  # fmt: skip
