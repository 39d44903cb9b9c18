"""`ferry import libvirt`: the machine of `ferry define` becomes a domain of the libvirt on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ferry.options import json_option, workspace_option

POOL = Path("/var/lib/libvirt/images")


@click.command("libvirt")
@click.argument("definitions", required=False, type=click.Path(file_okay=False, path_type=Path))
@workspace_option(required=False)
@click.option(
    "--connect", default="qemu:///system", show_default=True, metavar="URI", help="Of a libvirt on this machine."
)
@click.option(
    "--pool", type=click.Path(file_okay=False, path_type=Path), default=POOL, show_default=True,
    help="Folder in which the images get one of the machine's name.",
)  # fmt: skip
@click.option("--in-place", is_flag=True, help="Copy nothing: the guest then writes to the images as they lie.")
@click.option("--name", default="", help="Instead of the one it was defined with.")
@click.option("--start", is_flag=True, help="Start it.")
@json_option
def command(
    definitions: Path | None, workspace: Path | None, connect: str, pool: Path, name: str,
    *, in_place: bool, start: bool, as_json: bool,
) -> None:  # fmt: skip
    """Define the machine in libvirt, with its images.

    DEFINITIONS is the folder that `ferry define` has written, beside its images; with --workspace it is the
    workspace's. Images are copied, proven by their digests. Where something fails, neither domain nor copy is left.
    """
    from dataclasses import replace  # noqa: PLC0415

    from ferry.progress import open_display  # noqa: PLC0415
    from migration.acceleration import kvm_works  # noqa: PLC0415
    from migration.errors import InvalidInput  # noqa: PLC0415
    from private_cloud.definition import read_definitions  # noqa: PLC0415
    from private_cloud.libvirt_import import import_into_libvirt  # noqa: PLC0415
    from private_cloud.platforms import Platform  # noqa: PLC0415

    if (definitions is None) == (workspace is None):
        raise InvalidInput("say what to import", "give a folder with definitions, or --workspace")
    folder = definitions or (workspace / "definitions" if workspace is not None else Path())
    machine = read_definitions(folder).of(Platform.LIBVIRT)
    with open_display() as display:
        done = import_into_libvirt(
            replace(machine, name=name or machine.name),
            connect=connect,
            pool=None if in_place else pool,
            kvm=kvm_works(),
            start=start,
            progress=display.progress("copying images"),
        )
    if as_json:
        click.echo(json.dumps({"name": done.name, "folder": str(done.folder), "running": done.is_running}, indent=1))
        return
    state = "is running" if done.is_running else f"is defined; start it with: virsh start --console {done.name}"
    click.echo(f"{done.name} {state} (images in {done.folder})")
