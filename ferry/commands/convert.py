"""`ferry convert`: disks on this machine to images for the other side, each proven equal to its source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ferry.options import json_option, workspace_option

if TYPE_CHECKING:
    from migration.artifact import Artifact
    from migration.disk import Disk
    from migration.progress import Progress, Stop

FORMATS = ("qcow2", "vmdk", "vhdx", "vdi", "vpc", "raw")


@click.command()
@click.argument("disks", nargs=-1, metavar="[DISK]...")
@click.option("-t", "--to", "formats", multiple=True, type=click.Choice(FORMATS), default=("qcow2",), show_default=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the images; this one, if not given.",
)
@click.option("-c", "--compress", is_flag=True, help="Smaller and slower (VMDK: streamOptimized).")
@click.option("--overwrite", is_flag=True, help="Replace files that have the images' names.")
@workspace_option(required=False)
@json_option
def command(
    disks: tuple[str, ...], formats: tuple[str, ...], output: Path | None, workspace: Path | None,
    *, compress: bool, overwrite: bool, as_json: bool,
) -> None:  # fmt: skip
    """Convert RAW disks to qcow2, vmdk and others, proven equal.

    DISK is a file named as exports are (system.raw, data_xvdb.raw), or DEVICE=FILE. With --workspace
    its disks are converted, and what is already there and unchanged is not made again.
    """
    from converters.convert import convert_disk, convert_file  # noqa: PLC0415
    from ferry.progress import open_display  # noqa: PLC0415
    from ferry.together import for_each  # noqa: PLC0415
    from migration.disk import DiskFormat  # noqa: PLC0415
    from migration.disk_file import find_disks, find_disks_in  # noqa: PLC0415
    from migration.errors import InvalidInput  # noqa: PLC0415
    from migration.workspace import open_workspace  # noqa: PLC0415

    if (workspace is None) == (not disks) or (output is not None and workspace is not None):
        raise InvalidInput(
            "say what to convert", "give disks, and --output for another folder than this one; or --workspace alone"
        )
    found = find_disks(disks) if disks else find_disks_in(workspace / "disks") if workspace else ()
    if workspace is not None:
        _tell_of_layers(workspace / "disks")
    work = [(disk, DiskFormat(word)) for disk in found for word in dict.fromkeys(formats)]
    with open_display() as display:

        def bar(disk: Disk, to: DiskFormat) -> Progress:
            return display.progress(f"{disk.stem} → {to}")

        if workspace is not None:
            with open_workspace(workspace) as space:

                def in_workspace(item: tuple[Disk, DiskFormat], stop: Stop) -> Artifact:
                    return convert_disk(space, *item, compress=compress, progress=bar(*item), stop=stop)

                artifacts = for_each(work, in_workspace, at_once=2)
        else:
            directory = (output or Path.cwd()).absolute()
            try:
                directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InvalidInput(
                    f"{directory}: cannot be made: {error.strerror}", "choose a folder you can write to"
                ) from error

            def in_directory(item: tuple[Disk, DiskFormat], stop: Stop) -> Artifact:
                disk, to = item
                return convert_file(
                    disk, directory, to, compress=compress, overwrite=overwrite, progress=bar(disk, to), stop=stop
                )

            artifacts = for_each(work, in_directory, at_once=2)
    show(artifacts, as_json=as_json)


def _tell_of_layers(folder: Path) -> None:
    """Say that repaired layers are there, so that nobody takes the images for repaired ones."""
    from migration.disk import is_layer  # noqa: PLC0415

    for path in sorted(folder.iterdir()):
        if is_layer(path) and not path.name.startswith("."):
            click.echo(f"{path.name} is not converted, but the disk under it; name it to convert the repair", err=True)


def show(artifacts: list[Artifact], *, as_json: bool) -> None:
    """Print what was made."""
    from pydantic import TypeAdapter  # noqa: PLC0415

    from migration.artifact import Artifact  # noqa: PLC0415
    from migration.storage import format_size  # noqa: PLC0415

    if as_json:
        click.echo(json.dumps({"images": TypeAdapter(list[Artifact]).dump_python(artifacts, mode="json")}, indent=1))
        return
    for artifact in artifacts:
        click.echo(f"{artifact.path}  {format_size(artifact.file_size)}  {artifact.proof}")
