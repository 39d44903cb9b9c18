"""`ferry images`: which images a selector means, what of them was migrated, and what could not be exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ferry.options import cloud_options, json_option, make_cloud
from ferry.selecting import make_selector, selector_options

if TYPE_CHECKING:
    from image_export.selection import Choice
    from migration.catalogue import Migration


@click.command()
@selector_options(which="all")
@click.option(
    "--root",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("~/ferry"),
    show_default=True,
    help="Folder under which the workspaces lie.",
)
@cloud_options
@json_option
def command(
    family: str, name: str, tags: tuple[str, ...], which: str, root: Path, region_id: str, ecs_endpoint: str,
    oss_endpoint: str, *, oss_cname: bool, as_json: bool,
) -> None:  # fmt: skip
    """List the account's images that are meant, the newest first, and what was migrated of them.

    Nothing is exported. Without an option all images of the account are listed.
    """
    from image_export.selection import choose, find_images  # noqa: PLC0415
    from migration.catalogue import find_migrations  # noqa: PLC0415
    from migration.credentials import find_credentials  # noqa: PLC0415

    cloud = make_cloud(region_id, ecs_endpoint, oss_endpoint, oss_cname)
    selector = make_selector(family, name, tags, which) or make_selector("", "*", (), which)
    assert selector is not None  # noqa: S101  # it has a name
    found = find_images(cloud, find_credentials(), selector)
    migrations = find_migrations(root.expanduser())
    known: dict[str, Migration] = {}
    for one in sorted(migrations, key=lambda one: one.is_complete):
        known[one.image_id] = one  # a complete one before any other
    choices = choose(found, selector.which, migrated={one.image_id for one in migrations if one.is_complete})
    rows = [_row(choice, known.get(choice.image.image_id)) for choice in choices]
    if as_json:
        click.echo(json.dumps({"images": rows}, indent=1))
        return
    for row in rows:
        click.echo(f"{row['image_id']:24}  {row['created']:17}  {row['size']:>10}  {row['name']}")
        for line in filter(None, (row["migrated"], row["left_out"], row["not_exportable"])):
            click.echo(f"    {line}")


def _row(choice: Choice, migration: Migration | None) -> dict[str, Any]:
    from flows.fleet_plan import when_migrated  # noqa: PLC0415
    from image_export.selection import why_not_exportable  # noqa: PLC0415
    from migration.storage import format_size  # noqa: PLC0415

    image = choice.image
    broken = why_not_exportable(image)
    migrated = ""
    if migration is not None:
        when = f" on {when_migrated(migration)}" if migration.recorded is not None else ""
        migrated = f"migrated{when}: {migration.standing}, {migration.path}"
    return {
        "image_id": image.image_id, "name": _printable(image.name), "family": _printable(image.family),
        "created": _moment(image.created), "size": format_size(image.total_size), "status": image.status,
        "migrated": migrated,
        "left_out": f"left out: {choice.left_out}" if choice.left_out else "",
        "not_exportable": f"cannot be exported: {broken}" if broken else "",
    }  # fmt: skip


def _moment(seconds: int | None) -> str:
    from datetime import datetime, timezone  # noqa: PLC0415

    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%MZ}" if seconds is not None else ""


def _printable(text: str) -> str:
    """Return what somebody called an image without what would move a terminal's cursor."""
    return "".join(character if character.isprintable() else "?" for character in text)
