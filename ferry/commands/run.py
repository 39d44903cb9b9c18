"""`ferry run`: the whole flow in this process, on the Prefect server that is there or on a temporary one."""

from __future__ import annotations

import json
import logging
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Literal

import click

from ferry.options import cloud_options, json_option, limit_options, transfer_options, workspace_option


@click.command()
@click.argument("image_id")
@click.option("-b", "--bucket", required=True, help="OSS bucket for the export, in the image's region.")
@workspace_option(required=True)
@cloud_options
@click.option("--prefix", default="", help="What the objects' names begin with: letters and digits.")
@click.option(
    "-t",
    "--to",
    "formats",
    multiple=True,
    type=click.Choice(("qcow2", "vmdk", "vhdx", "vdi", "vpc")),
    default=("qcow2",),
)
@click.option("--on-fstab-mismatch", type=click.Choice(("fail", "warn")), default="fail", show_default=True)
@transfer_options
@limit_options
@json_option
def command(
    image_id: str, bucket: str, workspace: Path, region_id: str, ecs_endpoint: str, oss_endpoint: str, prefix: str,
    formats: tuple[str, ...], on_fstab_mismatch: Literal["fail", "warn"], connections: int,
    bandwidth_limit: int | None, oss_traffic_limit: int | None,
    max_data_disks: int | None, max_data_disk_gib: int | None,
    *, oss_cname: bool, restore_archived: bool, keep_objects: bool, accept_other_size: bool, as_json: bool,
) -> None:  # fmt: skip
    """Export IMAGE_ID, download it, check /etc/fstab and convert it.

    This is the flow export-to-private-cloud, run here and now. Run again after anything at all, it
    goes on where it stopped.
    """
    use_reachable_server()
    # Prefect's own lines would say again what the stages and the final message say.
    for handler in logging.getLogger().handlers:
        handler.addFilter(lambda record: not record.name.startswith("prefect"))
    from flows.export_to_private_cloud import export_to_private_cloud  # noqa: PLC0415  # 2 s of imports
    from flows.parameters import Endpoints, LimitOverrides, Transfer  # noqa: PLC0415
    from image_download.settings import MIB  # noqa: PLC0415
    from migration.disk import DiskFormat  # noqa: PLC0415

    result = export_to_private_cloud(
        image_id=image_id, bucket=bucket, region_id=region_id, workspace=str(workspace.absolute()), prefix=prefix,
        formats=[DiskFormat(word) for word in dict.fromkeys(formats)], on_fstab_mismatch=on_fstab_mismatch,
        endpoints=Endpoints(ecs_endpoint=ecs_endpoint, oss_endpoint=oss_endpoint, oss_is_cname=oss_cname),
        transfer=Transfer(
            connections=connections, bandwidth_limit_mib=bandwidth_limit and bandwidth_limit / MIB,
            oss_traffic_limit=oss_traffic_limit, restore_archived=restore_archived,
            keep_objects=keep_objects, accept_other_size=accept_other_size,
        ),
        limits=LimitOverrides(data_disks=max_data_disks, data_disk_gib=max_data_disk_gib),
    )  # fmt: skip
    if as_json:
        click.echo(json.dumps(result, indent=1))
        return
    for image in result["images"]:
        click.echo(image)
    click.echo(f"report: {Path(result['workspace']) / 'report.md'}")


def use_reachable_server() -> None:
    """Make Prefect use a temporary server of its own where none is configured, or the configured one is down.

    To be called before `prefect` is imported, which reads the settings.
    """
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")  # the stages' own lines say what is going on
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_ENABLED", "true")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    url = os.environ.get("PREFECT_API_URL", "")
    if url.startswith("http://127.0.0.1:") and not _answers(f"{url}/health"):
        click.echo(f"no Prefect server answers at {url}: using a temporary one", err=True)
        url = ""
    if not url:
        # An empty value is not the same to Prefect: its event client then fails at every event (3.8.8).
        os.environ.pop("PREFECT_API_URL", None)
        click.echo("Starting a temporary Prefect server", err=True)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310  # loopback, checked by the caller
            return True
    except (urllib.error.URLError, OSError):
        return False
