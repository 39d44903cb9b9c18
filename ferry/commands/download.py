"""`ferry download`: exported objects to verified RAW files, all disks at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ferry.options import cloud_options, json_option, make_cloud, workspace_option
from ferry.transfer_options import TransferWords, transfer_options

if TYPE_CHECKING:
    from migration.cloud import Cloud
    from migration.credentials import CredentialSource
    from migration.disk import Disk
    from migration.exported_object import ExportedObject
    from migration.progress import Stop
    from migration.workspace import Workspace


@click.command()
@workspace_option(required=True)
@cloud_options
@click.option("-b", "--bucket", help="With --image: where an export lies that Ferry did not make.")
@click.option("-i", "--image", "image_id", help="With --bucket: the image it was made of.")
@click.option(
    "--prefix", default=None, help="With --bucket: what the objects' names begin with, if there are several exports."
)
@click.option("--part-size", type=click.IntRange(1, 1024), default=16, show_default=True, help="MiB per range.")
@transfer_options
@json_option
def command(
    workspace: Path, region_id: str, ecs_endpoint: str, oss_endpoint: str, bucket: str | None, image_id: str | None,
    prefix: str | None, part_size: int, *, oss_cname: bool, transfer: TransferWords, as_json: bool,
) -> None:  # fmt: skip
    """Download exported disks, verified, to sparse RAW files.

    The disks are those of this workspace's export, or of one made by hand: --bucket and --image.
    """
    from ferry.progress import open_display  # noqa: PLC0415
    from ferry.together import for_each  # noqa: PLC0415
    from image_download.download import download_disk  # noqa: PLC0415
    from image_download.settings import MIB  # noqa: PLC0415
    from migration.credentials import find_credentials  # noqa: PLC0415
    from migration.workspace import open_workspace  # noqa: PLC0415

    cloud = make_cloud(region_id, ecs_endpoint, oss_endpoint, oss_cname)
    settings = transfer.settings(part_size=part_size * MIB)
    credentials = find_credentials()
    with open_workspace(workspace) as space:
        objects = _find_objects(space, cloud, credentials, bucket, image_id, prefix)
        with open_display() as display:
            bars = {exported.key: display.progress(exported.stem) for exported in objects}

            def fetch(exported: ExportedObject, stop: Stop) -> Disk:
                bar = bars[exported.key]
                return download_disk(space, cloud, credentials, exported, settings=settings, progress=bar, stop=stop)

            disks = for_each(objects, fetch)
    _show(disks, as_json=as_json)


def _find_objects(
    space: Workspace, cloud: Cloud, credentials: CredentialSource,
    bucket: str | None, image_id: str | None, prefix: str | None,
) -> tuple[ExportedObject, ...]:  # fmt: skip
    from ferry.image_of_export import find_image  # noqa: PLC0415
    from image_export.export import find_exported_objects, recorded_export  # noqa: PLC0415
    from migration.errors import InvalidInput  # noqa: PLC0415

    if (bucket is None) != (image_id is None):
        raise InvalidInput(
            "--bucket and --image belong together", "give both, or neither for this workspace's own export"
        )
    if bucket is not None and image_id is not None:
        space.claim({"image_id": image_id, "region_id": cloud.region_id, "bucket": bucket})
        image = find_image(cloud, credentials, image_id)
        return find_exported_objects(cloud, credentials, bucket=bucket, image_id=image_id, prefix=prefix, image=image)
    export = recorded_export(space)
    if export is None:
        raise InvalidInput(
            f"{space.path} has no finished export", "run `ferry export` first, or name one: --bucket and --image"
        )
    return export.objects


def _show(disks: list[Disk], *, as_json: bool) -> None:
    from pydantic import TypeAdapter  # noqa: PLC0415

    from migration.disk import Disk  # noqa: PLC0415
    from migration.storage import format_size  # noqa: PLC0415

    if as_json:
        click.echo(json.dumps({"disks": TypeAdapter(list[Disk]).dump_python(disks, mode="json")}, indent=1))
        return
    for disk in disks:
        click.echo(f"{disk.path}  {format_size(disk.virtual_size)}  {disk.proof}")
