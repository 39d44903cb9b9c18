"""Options that several subcommands share, and what they mean in the words of the stages."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from migration.cloud import Cloud

F = TypeVar("F", bound=Callable[..., Any])

_UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3}


def parse_rate(text: str) -> int:
    """Return bytes a second for "500K", "50M", "1.5G". A bare number is refused: it may mean Mbit, MiB or bytes."""
    from image_download.bandwidth import KIB, SMALLEST_LIMIT  # noqa: PLC0415

    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG])", text.upper(), re.ASCII)
    if match is None:
        raise click.BadParameter(f"{text!r}: give K, M or G, as in 50M for 50 MiB a second")
    rate = int(float(match[1]) * _UNITS[match[2]])
    if rate < SMALLEST_LIMIT:
        raise click.BadParameter(f"{text!r} is too little: give {SMALLEST_LIMIT // KIB}K or more")
    return rate


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")

target_option = click.option(
    "--target",
    "target_words",
    multiple=True,
    metavar="BUS",
    help="What the disks will hang on: virtio, scsi, sata, ide, nvme, xen, vmware. May be repeated.  [default: all]",
)

shrink_option = click.option(
    "--shrink/--no-shrink",
    default=True,
    show_default=True,
    help="Leave out the free space inside the guest's file systems.",
)


def one_flag(**flags: bool) -> str | None:
    """Return the name of the one flag that is set, None if none is. Raises `click.UsageError` for more than one."""
    given = [name for name, is_set in flags.items() if is_set]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(f'--{name}' for name in given)} exclude each other")
    return given[0] if given else None


def workspace_option(*, required: bool) -> Callable[[F], F]:
    """Return `--workspace`."""
    return click.option(
        "-w", "--workspace", type=click.Path(file_okay=False, path_type=Path), required=required,
        envvar="FERRY_WORKSPACE",
        help="Folder of this migration. Run again with the same one to go on where it stopped.",
    )  # fmt: skip


def cloud_options(function: F) -> F:
    """Add the options that say which region, and how it is reached."""
    return _cloud_options(function, required=True)


def cloud_options_for_a_bucket(function: F) -> F:
    """Add the same for a command that needs them only where it is given an `oss://` address."""
    return _cloud_options(function, required=False)


def _cloud_options(function: F, *, required: bool) -> F:
    options = [
        click.option(
            "-r", "--region", "region_id", required=required, default=None if required else "",
            envvar="ALIBABA_CLOUD_REGION_ID", help="As cn-hangzhou.",
        ),
        click.option("--ecs-endpoint", default="", metavar="HOST[:PORT]", help="If not the region's own."),
        click.option(
            "--oss-endpoint", default="", metavar="HOST[:PORT]", help="Internal, accelerated or custom domain."
        ),
        click.option("--oss-cname", is_flag=True, help="The OSS endpoint is a domain bound to this one bucket."),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def limit_options(function: F) -> F:
    """Add the options that replace what Ferry knows of the cloud's limits."""
    options = [
        click.option("--max-data-disks", type=click.IntRange(0), help="If the cloud's limit is not what Ferry knows."),
        click.option("--max-data-disk-gib", type=click.IntRange(1), help="The same, for the size of one."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def make_cloud(region_id: str, ecs_endpoint: str, oss_endpoint: str, oss_cname: bool) -> Cloud:
    """Return the region as the options reach it. Raises `InvalidInput`."""
    from migration.cloud import Cloud  # noqa: PLC0415

    return Cloud(region_id=region_id, ecs_endpoint=ecs_endpoint, oss_endpoint=oss_endpoint, oss_is_cname=oss_cname)
