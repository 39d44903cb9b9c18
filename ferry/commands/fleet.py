"""`ferry fleet`: the flow migrate-fleet in this process, on the Prefect server that is there or on a temporary one."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Literal

import click

from ferry.options import (
    cloud_options,
    json_option,
    limit_options,
    shrink_option,
    target_option,
)
from ferry.selecting import parse_tags, selector_options
from ferry.transfer_options import TransferWords, transfer_options


@click.command()
@click.argument("image_ids", metavar="[IMAGE_ID]...", nargs=-1)
@click.option("-b", "--bucket", required=True, help="OSS bucket for the exports, in the images' region.")
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV or YAML that lists the images, in place of ids.",
)
@selector_options(which="newest")
@click.option(
    "--root",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    envvar="FERRY_ROOT",
    help="Folder for the workspaces, one for each image, named by its id.",
)
@cloud_options
@click.option("--force", is_flag=True, help="Run again what was migrated already.")
@click.option("--at-most", type=click.IntRange(1, 1000), default=50, show_default=True, help="Else migrate none.")
@click.option("--images-at-once", type=click.IntRange(1, 32), default=6, show_default=True)
@click.option("--exports-at-once", type=click.IntRange(1, 32), default=3, show_default=True)
@click.option("--downloads-at-once", type=click.IntRange(1, 32), default=4, show_default=True, help="Disks.")
@click.option("--conversions-at-once", type=click.IntRange(1, 64), help="[default: cores of this machine]")
@click.option("--keep-last", type=click.IntRange(1), help="Delete older workspaces in the end: see `ferry prune`.")
@click.option("--delete-objects", is_flag=True, help="Delete the objects from OSS once a migration is proven.")
@click.option(
    "-t",
    "--to",
    "formats",
    multiple=True,
    type=click.Choice(("qcow2", "vmdk", "vhdx", "vdi", "vpc")),
    default=("qcow2",),
)
@click.option("--on-fstab-mismatch", type=click.Choice(("fail", "warn", "repair")), default="fail", show_default=True)
@target_option
@click.option("-c", "--compress", is_flag=True, help="Smaller images, where the format can (VMDK: streamOptimized).")
@shrink_option
@click.option("--keep-raw/--no-keep-raw", default=True, show_default=True, help="As in `ferry run`.")
@click.option("--boot-test", is_flag=True, help="Boot what was made, in a throw-away machine on the first --target.")
@click.option("--bundle", is_flag=True, help="Make a bundle of each beside its workspace.")
@transfer_options
@limit_options
@json_option
def command(
    image_ids: tuple[str, ...], bucket: str, file: Path | None, family: str, name: str, tags: tuple[str, ...],
    which: str, root: Path, region_id: str, ecs_endpoint: str, oss_endpoint: str, at_most: int,
    images_at_once: int, exports_at_once: int, downloads_at_once: int, conversions_at_once: int | None,
    keep_last: int | None, formats: tuple[str, ...], on_fstab_mismatch: Literal["fail", "warn", "repair"],
    target_words: tuple[str, ...], max_data_disks: int | None, max_data_disk_gib: int | None,
    *, oss_cname: bool, transfer: TransferWords, force: bool, delete_objects: bool, compress: bool, shrink: bool,
    keep_raw: bool, boot_test: bool, bundle: bool, as_json: bool,
) -> None:  # fmt: skip
    """Migrate many images in one run: those named, those of a file, or all that --family, --name or --tag mean.

    This is the flow migrate-fleet, run here and now. What was migrated already is skipped, a failure of one image
    does not stop the others, and the table in ROOT/fleet-reports says what became of each. Run again, it does the rest.
    """
    from ferry.commands.run import use_reachable_server, wrong_parameters  # noqa: PLC0415
    from ferry.progress import open_display  # noqa: PLC0415
    from migration.target import parse_targets  # noqa: PLC0415

    targets = parse_targets(target_words)
    selector = {"family": family, "name": name, "tags": parse_tags(tags), "which": which}
    transfer.check()
    use_reachable_server()
    for handler in logging.getLogger().handlers:
        handler.addFilter(lambda record: not record.name.startswith("prefect"))
    from flows.fleet_parameters import AtOnce, ImageSelector  # noqa: PLC0415
    from flows.fleet_run import name_image  # noqa: PLC0415
    from flows.migrate_fleet import migrate_fleet  # noqa: PLC0415
    from flows.parameters import Endpoints, LimitOverrides  # noqa: PLC0415
    from flows.progress import mirrored  # noqa: PLC0415
    from migration.disk import DiskFormat  # noqa: PLC0415

    for handler in logging.getLogger().handlers:
        handler.addFilter(name_image)
    folder = str(root.expanduser().absolute()).replace("{", "{{").replace("}", "}}")
    has_selector = bool(family or name or tags)
    with open_display() as display, mirrored(display.progress), wrong_parameters():
        result: dict[str, Any] = migrate_fleet(
            bucket=bucket, region_id=region_id, images=list(image_ids), file=str(file.absolute()) if file else "",
            selector=ImageSelector.model_validate(selector) if has_selector else None,
            workspace=f"{folder}/{{image_id}}", force=force, at_most=at_most,
            at_once=AtOnce(
                images=images_at_once, exports=exports_at_once, downloads=downloads_at_once,
                conversions=conversions_at_once,
            ),
            keep_last=keep_last, delete_objects=delete_objects,
            formats=[DiskFormat(word) for word in dict.fromkeys(formats)], on_fstab_mismatch=on_fstab_mismatch,
            targets=list(targets), compress=compress, shrink=shrink, keep_raw=keep_raw,
            boot_test=boot_test, bundle=bundle,
            endpoints=Endpoints(ecs_endpoint=ecs_endpoint, oss_endpoint=oss_endpoint, oss_is_cname=oss_cname),
            transfer=transfer.transfer(),
            limits=LimitOverrides(data_disks=max_data_disks, data_disk_gib=max_data_disk_gib),
        )  # fmt: skip
    if as_json:
        click.echo(json.dumps(result, indent=1))
        return
    for row in result["rows"]:
        click.echo(f"{row['image_id']:24}  {row['outcome']:8}  {' '.join(row['why'].split())}".rstrip())
    for line in result["pruned"]:
        click.echo(f"deleted: {line}")
    click.echo(f"table: {result['report']}")
