"""`ferry export`: preflight, export, and which objects came out."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ferry.options import cloud_options, json_option, limit_options, make_cloud, workspace_option

if TYPE_CHECKING:
    from image_export.limits import Limits
    from image_export.request import Export, ExportRequest
    from migration.cloud import Cloud
    from migration.credentials import CredentialSource
    from migration.workspace import Workspace


@click.command()
@click.argument("image_id")
@click.option("-b", "--bucket", required=True, help="OSS bucket for the export, in the image's region.")
@workspace_option(required=True)
@cloud_options
@click.option(
    "--prefix", default=None, help="What the objects' names begin with: letters and digits. One is made if not given."
)
@click.option("--image-format", default="", help="raw if not given; others are offered in a few regions only.")
@limit_options
@click.option("--preflight-only", is_flag=True, help="Check every rule and export nothing.")
@click.option("--again", is_flag=True, help="Export once more although this workspace has an export. It costs again.")
@click.option("--cancel", is_flag=True, help="Cancel the export this workspace has under way.")
@json_option
def command(
    image_id: str, bucket: str, workspace: Path, region_id: str, ecs_endpoint: str, oss_endpoint: str,
    prefix: str | None, image_format: str, max_data_disks: int | None, max_data_disk_gib: int | None,
    *, oss_cname: bool, preflight_only: bool, again: bool, cancel: bool, as_json: bool,
) -> None:  # fmt: skip
    """Export IMAGE_ID to OSS, or follow the export that this workspace has under way.

    An export is never started twice for one workspace: not after Ctrl-C, not after a lost answer.
    """
    from image_export.export import forget_export  # noqa: PLC0415
    from image_export.limits import LIMITS  # noqa: PLC0415
    from image_export.request import ExportRequest  # noqa: PLC0415
    from migration.credentials import find_credentials  # noqa: PLC0415
    from migration.image import GIB  # noqa: PLC0415
    from migration.workspace import open_workspace  # noqa: PLC0415

    cloud = make_cloud(region_id, ecs_endpoint, oss_endpoint, oss_cname)
    request = ExportRequest(image_id=image_id, bucket=bucket, prefix=prefix, image_format=image_format)
    given = {"data_disks": max_data_disks, "data_disk_size": max_data_disk_gib and max_data_disk_gib * GIB}
    limits = LIMITS.override(**{name: value for name, value in given.items() if value is not None})
    credentials = find_credentials()
    with open_workspace(workspace) as space:
        space.claim({"image_id": image_id, "region_id": region_id, "bucket": bucket})
        if cancel:
            _cancel(space, cloud, credentials, as_json=as_json)
        elif preflight_only:
            _preflight(space, cloud, credentials, request, limits, as_json=as_json)
        else:
            if again:
                forget_export(space)
            _export(space, cloud, credentials, request, limits, as_json=as_json)


def _export(
    space: Workspace,
    cloud: Cloud,
    credentials: CredentialSource,
    request: ExportRequest,
    limits: Limits,
    *,
    as_json: bool,
) -> None:
    from ferry.progress import open_display  # noqa: PLC0415
    from image_export.export import export_image  # noqa: PLC0415

    with open_display() as display:
        bar = display.progress(f"export {request.image_id}", is_bytes=False)
        export = export_image(space, cloud, credentials, request, limits=limits, progress=bar)
    show(export, as_json=as_json)


def show(export: Export, *, as_json: bool) -> None:
    """Print the objects of an export."""
    from pydantic import TypeAdapter  # noqa: PLC0415

    from image_export.request import Export  # noqa: PLC0415
    from migration.storage import format_size  # noqa: PLC0415

    if as_json:
        click.echo(json.dumps(TypeAdapter(Export).dump_python(export, mode="json"), indent=1))
        return
    for item in export.objects:
        click.echo(f"{item.device:6}{format_size(item.size):>12}  oss://{item.bucket}/{item.key}")


def _preflight(
    space: Workspace,
    cloud: Cloud,
    credentials: CredentialSource,
    request: ExportRequest,
    limits: Limits,
    *,
    as_json: bool,
) -> None:
    from image_export.export import check_export  # noqa: PLC0415
    from image_export.outcome import Outcome  # noqa: PLC0415
    from image_export.preflight import render_preflight  # noqa: PLC0415
    from migration.errors import PreflightRefused  # noqa: PLC0415

    findings = check_export(space, cloud, credentials, request, limits=limits)
    is_refused = any(finding.outcome is Outcome.REFUSE for finding in findings)
    document = {"refused": is_refused, "rules": [asdict(item) for item in findings]}
    click.echo(json.dumps(document, indent=1) if as_json else render_preflight(findings))
    if is_refused:
        sys.exit(PreflightRefused.exit_code)


def _cancel(space: Workspace, cloud: Cloud, credentials: CredentialSource, *, as_json: bool) -> None:
    from image_export.export import cancel_export  # noqa: PLC0415

    cancellation = cancel_export(space, cloud, credentials)
    task = cancellation.task
    if as_json:
        document = {
            "task_id": task and task.task_id,
            "status": task and task.status,
            "leftovers": cancellation.leftovers,
        }
        click.echo(json.dumps(document, indent=1))
    elif task is None:
        click.echo("this workspace has no export under way")
    else:
        click.echo(f"export task {task.task_id} is {task.status}")
        for key in cancellation.leftovers:
            click.echo(f"left in the bucket, and billed until it is deleted: {key}")
