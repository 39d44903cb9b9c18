"""`ferry bundle`: one folder, or volumes of a medium's size, with all that the other side needs, and what proves it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ferry.options import json_option, workspace_option

if TYPE_CHECKING:
    from migration.workspace import Workspace

FORMATS = ("qcow2", "vmdk", "vhdx", "vdi", "vpc", "raw")


def medium_option(text: str) -> int:
    """Return bytes, as `parse_medium` does."""
    from migration.errors import InvalidInput  # noqa: PLC0415
    from private_cloud.bundle.medium import parse_medium  # noqa: PLC0415

    try:
        return parse_medium(text)
    except InvalidInput as error:
        raise click.BadParameter(f"{error.message}: {error.remedy}") from error


@click.command()
@workspace_option(required=True)
@click.option(
    "-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path),
    help="Folder in which the bundle is made.",
)  # fmt: skip
@click.option("--name", help="The bundle's own name; the image's id, if not given.")
@click.option("--split", type=medium_option, metavar="SIZE", help="Volumes of this size: 4G for FAT32, 25G for BD.")
@click.option("-t", "--formats", multiple=True, type=click.Choice(FORMATS), help="Which images; all, if not given.")
@click.option(
    "--sign", type=click.Path(dir_okay=False, path_type=Path), metavar="KEY",
    help="Sign with this SSH key; a .pub if ssh-agent has the key.",
)  # fmt: skip
@click.option(
    "--licence", "licences", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file to put beside the images. May be repeated.",
)  # fmt: skip
@click.option(
    "--copy", is_flag=True, help="Copy the images even where they could share their bytes with the workspace."
)
@click.option(
    "--resend", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="REQUEST",
    help="Make only the pieces that the far side's verify.py asks for.",
)  # fmt: skip
@json_option
def command(
    workspace: Path, output: Path, name: str | None, split: int | None, formats: tuple[str, ...], sign: Path | None,
    licences: tuple[Path, ...], resend: Path | None, *, copy: bool, as_json: bool,
) -> None:  # fmt: skip
    """Bundle the images of a workspace, with definitions, report and proofs, for a medium.

    The other side runs `python3 verify.py` in it. With --split, every volume carries what proves it.
    """
    from ferry.progress import open_display  # noqa: PLC0415
    from flows.bundle_contents import find_contents, remember_links  # noqa: PLC0415
    from migration.errors import InvalidInput  # noqa: PLC0415
    from migration.workspace import open_workspace  # noqa: PLC0415
    from private_cloud.bundle.contents import BundleSettings  # noqa: PLC0415
    from private_cloud.bundle.make import make_bundle  # noqa: PLC0415

    if not workspace.is_dir():
        raise InvalidInput(f"{workspace}: there is no such folder", "give the workspace of a migration")
    if resend is not None and (name or split or formats or sign or licences or copy):
        raise InvalidInput("--resend makes pieces of a bundle as it was made", "leave the other options away")
    with open_workspace(workspace) as space:
        if resend is not None:
            _resend(space, resend, output, as_json=as_json)
            return
        contents = find_contents(space, formats=formats, licences=licences)
        export = contents.provenance["export"]
        name = name or (f"ferry-{export['image']['image_id']}" if export else space.path.name)
        settings = BundleSettings(name=name, split=split, sign=sign, link=not copy)
        with open_display() as display:
            bundle = make_bundle(space, contents, settings, output, progress=display.progress("bundle"))
        remember_links(space, bundle)
    if as_json:
        document = {
            "path": str(bundle.path), "manifest_sha256": bundle.manifest_sha256, "fingerprint": bundle.fingerprint,
            "size": bundle.size, "files": bundle.files, "volumes": bundle.volumes, "signed": bundle.is_signed,
        }  # fmt: skip
        click.echo(json.dumps({"bundle": document}, indent=1))
        return
    volumes = f", {bundle.volumes} volumes" if split else ""
    click.echo(f"{bundle.path}  {bundle.files} files, {_size(bundle.size)}{volumes}")
    click.echo("signed" if bundle.is_signed else "not signed: read the fingerprint to the other side")
    click.echo(f"fingerprint: {bundle.fingerprint}")
    click.echo(
        "over there: python3 verify.py --assemble FOLDER, on each volume"
        if split
        else "over there: python3 verify.py, in that folder"
    )


def _resend(space: Workspace, request: Path, output: Path, *, as_json: bool) -> None:
    from ferry.progress import open_display  # noqa: PLC0415
    from private_cloud.bundle.resend import make_resend, read_request  # noqa: PLC0415

    with open_display() as display:
        made = make_resend(space, read_request(request), output, progress=display.progress("resend"))
    if as_json:
        click.echo(json.dumps({"resend": {"path": str(made.path), "chunks": made.chunks, "size": made.size}}, indent=1))
        return
    click.echo(f"{made.path}  {made.chunks} chunks, {_size(made.size)}")
    click.echo(f"over there: python3 verify.py --accept {made.path.name}, in the folder of the bundle")


def _size(size: int) -> str:
    from migration.storage import format_size  # noqa: PLC0415

    return format_size(size)
