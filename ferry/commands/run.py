"""`ferry run`: the whole flow in this process, on the Prefect server that is there or on a temporary one."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import click

from ferry.options import (
    cloud_options,
    json_option,
    limit_options,
    shrink_option,
    target_option,
    workspace_option,
)
from ferry.prefect_server import start_temporary_server
from ferry.progress import open_display
from ferry.terminal_question import ask_at_terminal
from ferry.transfer_options import TransferWords, transfer_options
from flows.server_start import answers
from migration.errors import InvalidInput
from migration.target import parse_targets


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
@click.option(
    "--on-fstab-mismatch", type=click.Choice(("fail", "warn", "repair", "ask")), default="fail", show_default=True
)
@target_option
@click.option("-c", "--compress", is_flag=True, help="Smaller images, where the format can (VMDK: streamOptimized).")
@shrink_option
@click.option(
    "--keep-raw/--no-keep-raw",
    default=True,
    show_default=True,
    help="Remove each downloaded disk once its images, of which one must be a qcow2, are proven.",
)
@click.option("--boot-test", is_flag=True, help="Boot what was made, in a throw-away machine on the first --target.")
@click.option("--bundle", is_flag=True, help="Make a bundle of it beside the workspace; see `ferry bundle` for more.")
@transfer_options
@limit_options
@json_option
def command(
    image_id: str, bucket: str, workspace: Path, region_id: str, ecs_endpoint: str, oss_endpoint: str, prefix: str,
    formats: tuple[str, ...], on_fstab_mismatch: Literal["fail", "warn", "repair", "ask"],
    target_words: tuple[str, ...], max_data_disks: int | None, max_data_disk_gib: int | None,
    *, oss_cname: bool, transfer: TransferWords, compress: bool, shrink: bool, keep_raw: bool, boot_test: bool,
    bundle: bool, as_json: bool,
) -> None:  # fmt: skip
    """Export IMAGE_ID, download it, check /etc/fstab, convert it, and boot it if asked to.

    This is the flow export-to-private-cloud, run here and now. Run again after anything at all, it
    goes on where it stopped.
    """
    targets = parse_targets(target_words)
    transfer.check()
    use_reachable_server()
    # Prefect's own lines would say again what the stages and the final message say.
    for handler in logging.getLogger().handlers:
        handler.addFilter(lambda record: not record.name.startswith("prefect"))
    from flows.deciding import answered_by  # noqa: PLC0415
    from flows.export_to_private_cloud import export_to_private_cloud  # noqa: PLC0415  # 2 s of imports
    from flows.parameters import Endpoints, LimitOverrides  # noqa: PLC0415
    from flows.progress import mirrored  # noqa: PLC0415
    from migration.disk import DiskFormat  # noqa: PLC0415

    # The flow fills in placeholders; on a command line the shell does, and braces are braces.
    folder = str(workspace.absolute()).replace("{", "{{").replace("}", "}}")
    with ExitStack() as stack:
        display = stack.enter_context(open_display())
        stack.enter_context(mirrored(display.progress))
        if sys.stdin.isatty():
            stack.enter_context(answered_by(partial(ask_at_terminal, display)))
        stack.enter_context(wrong_parameters())
        result = export_to_private_cloud(
            image_id=image_id, bucket=bucket, region_id=region_id, workspace=folder, prefix=prefix,
            formats=[DiskFormat(word) for word in dict.fromkeys(formats)], on_fstab_mismatch=on_fstab_mismatch,
            targets=list(targets),
            compress=compress,
            shrink=shrink,
            keep_raw=keep_raw,
            boot_test=boot_test,
            bundle=bundle,
            endpoints=Endpoints(ecs_endpoint=ecs_endpoint, oss_endpoint=oss_endpoint, oss_is_cname=oss_cname),
            transfer=transfer.transfer(),
            limits=LimitOverrides(data_disks=max_data_disks, data_disk_gib=max_data_disk_gib),
        )  # fmt: skip
    if as_json:
        click.echo(json.dumps(result, indent=1))
        return
    for image in result["images"]:
        click.echo(image)
    if result["boot_test"]:
        click.echo(f"boot test on {result['boot_test']['target']}: {result['boot_test']['summary']}")
    if result["bundle"]:
        click.echo(f"bundle: {result['bundle']['path']}, fingerprint {result['bundle']['fingerprint']}")
    click.echo(f"report: {Path(result['workspace']) / 'report.html'}")


@contextmanager
def wrong_parameters() -> Iterator[None]:
    """Say what a flow has against its parameters as one would say it of options."""
    from prefect.exceptions import ParameterTypeError  # noqa: PLC0415

    try:
        yield
    except ParameterTypeError as error:
        said = [line.strip(" -") for line in str(error).splitlines()[1:] if line.strip()]
        raise InvalidInput(
            "; ".join(said) or str(error), "check these words against --help; nothing was exported"
        ) from None


def use_reachable_server() -> None:
    """Make Prefect use a temporary server of ours where none is configured, or the configured one is down.

    To be called before `prefect` is imported, which reads the settings.
    """
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")  # the stages' own lines say what is going on
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    url = os.environ.get("PREFECT_API_URL", "")
    if url.startswith("http://127.0.0.1:") and not answers(url):
        click.echo(f"no Prefect server answers at {url}: using a temporary one", err=True)
        url = ""
    if not url:
        click.echo("Starting a temporary Prefect server", err=True)
        os.environ["PREFECT_API_URL"] = start_temporary_server()
