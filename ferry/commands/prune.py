"""`ferry prune`: which workspaces would go if the last few migrations are kept, and on request their end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ferry.options import json_option
from ferry.selecting import make_selector, selector_options

if TYPE_CHECKING:
    from flows.pruning import CloudOf, Pruned
    from migration.retention import Fate


@click.command()
@click.argument("root", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-k", "--keep", type=click.IntRange(1), required=True, help="Proven migrations that stay of each kind.")
@selector_options(which=None)
@click.option("--depth", type=click.IntRange(1, 4), default=1, show_default=True, help="How far down workspaces lie.")
@click.option("--delete-objects", is_flag=True, help="Delete from OSS what is home and proven, of those that stay too.")
@click.option("--ecs-endpoint", default="", metavar="HOST[:PORT]", help="If not the region's own.")
@click.option("--oss-endpoint", default="", metavar="HOST[:PORT]", help="Internal, accelerated or custom domain.")
@click.option("--oss-cname", is_flag=True, help="The OSS endpoint is a domain bound to this one bucket.")
@click.option("-y", "--yes", is_flag=True, help="Do it. Without it nothing is deleted, only shown.")
@json_option
def command(
    root: Path, keep: int, family: str, name: str, tags: tuple[str, ...], depth: int, ecs_endpoint: str,
    oss_endpoint: str, *, delete_objects: bool, oss_cname: bool, yes: bool, as_json: bool,
) -> None:  # fmt: skip
    """Keep the last migrations under ROOT and delete older workspaces.

    A kind is an image family, or, with --family, --name or --tag, all that these mean. Never deleted: what is in use,
    the newest that is proven, and what is not proven and there is no proven migration of.
    """
    from flows.pruning import plan_pruning, prune, with_use  # noqa: PLC0415
    from migration.errors import InvalidInput  # noqa: PLC0415

    fates = plan_pruning(root.absolute(), keep, depth=depth, selector=make_selector(family, name, tags))
    if not fates:
        raise InvalidInput(
            f"{root}: no migration here that is meant",
            "`ferry images --root` lists what there is; --depth says how far down",
        )
    cloud_of = _cloud_of(ecs_endpoint, oss_endpoint, oss_cname=oss_cname) if delete_objects else None
    if not yes:
        _show_plan(with_use(fates), as_json=as_json, delete_objects=delete_objects)
        return
    done = prune(fates, cloud_of=cloud_of)
    _show_done(fates, done, as_json=as_json)
    if any(one.failed for one in done):
        from migration.errors import WorkspaceInUse  # noqa: PLC0415

        raise SystemExit(WorkspaceInUse.exit_code)


def _cloud_of(ecs_endpoint: str, oss_endpoint: str, *, oss_cname: bool) -> CloudOf:
    from ferry.options import make_cloud  # noqa: PLC0415
    from migration.credentials import find_credentials  # noqa: PLC0415

    credentials = find_credentials()
    return lambda region_id: (make_cloud(region_id, ecs_endpoint, oss_endpoint, oss_cname), credentials)


def _show_plan(fates: tuple[Fate, ...], *, as_json: bool, delete_objects: bool) -> None:
    from migration.catalogue import Standing  # noqa: PLC0415
    from migration.retention import measure, render_fates  # noqa: PLC0415
    from migration.storage import format_size  # noqa: PLC0415

    if as_json:
        click.echo(json.dumps({"deleted": False, "workspaces": [_entry(fate) for fate in fates]}, indent=1))
        return
    if fates:
        click.echo(render_fates(fates))
    freed = sum(measure(fate.migration.path) for fate in fates if fate.goes)
    proven = [fate for fate in fates if fate.migration.standing is Standing.PROVEN]
    objects = f", and the objects of {len(proven)} proven migrations from OSS" if delete_objects else ""
    click.echo(
        f"{sum(fate.goes for fate in fates)} of {len(fates)} workspaces would go, {format_size(freed)}{objects}; "
        "nothing was deleted: --yes does it"
    )


def _show_done(fates: tuple[Fate, ...], done: tuple[Pruned, ...], *, as_json: bool) -> None:
    from migration.storage import format_size  # noqa: PLC0415

    if as_json:
        lines = [{"path": str(one.path), "what": one.line, "failed": one.failed} for one in done]
        document = {"deleted": True, "workspaces": [_entry(fate) for fate in fates], "done": lines}
        click.echo(json.dumps(document, indent=1))
        return
    for one in done:
        click.echo(f"{'kept' if one.failed else 'deleted':9}{one.line}")
    click.echo(f"{format_size(sum(one.freed for one in done))} freed")


def _entry(fate: Fate) -> dict[str, object]:
    migration = fate.migration
    return {
        "path": str(migration.path), "image_id": migration.image_id, "standing": str(migration.standing),
        "goes": fate.goes, "why": fate.why,
    }  # fmt: skip
