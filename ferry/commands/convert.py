"""`ferry convert`: disks on this machine to images for the other side, each proven equal to its source."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ferry.options import json_option, shrink_option, workspace_option

if TYPE_CHECKING:
    from ferry.progress import Display
    from migration.artifact import Artifact
    from migration.disk import Disk, DiskFormat
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
@shrink_option
@click.option("--overwrite", is_flag=True, help="Replace files that have the images' names.")
@workspace_option(required=False)
@json_option
def command(
    disks: tuple[str, ...], formats: tuple[str, ...], output: Path | None, workspace: Path | None,
    *, compress: bool, shrink: bool, overwrite: bool, as_json: bool,
) -> None:  # fmt: skip
    """Convert RAW disks to qcow2, vmdk and others, proven equal.

    DISK is a file named as exports are (system.raw, data_xvdb.raw), or DEVICE=FILE. With --workspace
    its disks are converted, and what is already there and unchanged is not made again.
    """
    from ferry.progress import open_display  # noqa: PLC0415
    from migration.disk import DiskFormat  # noqa: PLC0415
    from migration.disk_file import find_disks  # noqa: PLC0415
    from migration.errors import InvalidInput  # noqa: PLC0415

    if (workspace is None) == (not disks) or (output is not None and workspace is not None):
        raise InvalidInput(
            "say what to convert", "give disks, and --output for another folder than this one; or --workspace alone"
        )
    formats_wanted = [DiskFormat(word) for word in dict.fromkeys(formats)]
    with open_display() as display:
        if workspace is not None:
            _tell_of_layers(workspace / "disks")
            artifacts = _in_workspace(workspace, formats_wanted, display, compress=compress, shrink=shrink)
        else:
            found = find_disks(disks)
            _check_requests(found, formats_wanted, compress=compress)
            folder = _make_folder(output or Path.cwd())
            with _what_is_left():
                artifacts = _in_folder(
                    folder, found, formats_wanted, display, compress=compress, shrink=shrink, overwrite=overwrite
                )
    show(artifacts, as_json=as_json)


def _check_requests(disks: Sequence[Disk], formats: list[DiskFormat], *, compress: bool) -> None:
    from converters.convert import check_request  # noqa: PLC0415

    for disk in disks:
        for to in formats:
            check_request(disk, to, compress=compress)


def _in_workspace(
    path: Path, formats: list[DiskFormat], display: Display, *, compress: bool, shrink: bool
) -> list[Artifact]:
    from converters.convert import convert_disk  # noqa: PLC0415
    from converters.shrink import shrink_in_workspace  # noqa: PLC0415
    from ferry.interruptible import run_interruptible  # noqa: PLC0415
    from migration.let_go import find_workspace_disks, stands_in  # noqa: PLC0415
    from migration.workspace import open_workspace  # noqa: PLC0415

    _must_be_there(path)
    with open_workspace(path) as space:
        disks = find_workspace_disks(space)
        _check_requests(disks, formats, compress=compress)
        # What stands in for a disk that was let go is an image already.
        if shrink and not any(stands_in(space, disk) for disk in disks):
            shrunk = run_interruptible(lambda stop: shrink_in_workspace(space, disks, stop=stop))
            click.echo(shrunk, err=True)
            disks = shrunk.disks

        def convert(disk: Disk, to: DiskFormat, progress: Progress, stop: Stop) -> Artifact:
            return convert_disk(space, disk, to, compress=compress, progress=progress, stop=stop)

        return _convert_all(disks, formats, display, convert)


def _in_folder(
    folder: Path, disks: Sequence[Disk], formats: list[DiskFormat], display: Display,
    *, compress: bool, shrink: bool, overwrite: bool,
) -> list[Artifact]:  # fmt: skip
    from converters.convert import check_target, convert_file  # noqa: PLC0415
    from converters.shrink import shrink_disks  # noqa: PLC0415
    from ferry.interruptible import run_interruptible  # noqa: PLC0415
    from migration.scratch import scratch_folder  # noqa: PLC0415
    from migration.storage import allocated, check_free_space  # noqa: PLC0415

    for disk in disks:
        for to in formats:
            check_target(disk, folder, to, overwrite=overwrite)
    paths = [path for disk in disks for path in (disk.path, disk.base) if path is not None]
    # Each image asks again for its own part; this is before the first one takes its hour.
    check_free_space(folder, len(formats) * sum(map(allocated, paths)), "converting all of them")
    with scratch_folder("ferry-trimmed-") as scratch:
        if shrink:
            shrunk = run_interruptible(lambda stop: shrink_disks(disks, scratch, stop=stop))
            click.echo(shrunk, err=True)
            disks = shrunk.disks

        def convert(disk: Disk, to: DiskFormat, progress: Progress, stop: Stop) -> Artifact:
            return convert_file(disk, folder, to, compress=compress, overwrite=overwrite, progress=progress, stop=stop)

        return _convert_all(disks, formats, display, convert)


@contextmanager
def _what_is_left() -> Iterator[None]:
    """Say of a stop what is true where no journal knows which images are done."""
    from migration.errors import Interrupted  # noqa: PLC0415

    try:
        yield
    except (KeyboardInterrupt, Interrupted) as error:
        raise Interrupted(
            "stopped",
            "images that were finished are whole and stay; run it again for the disks that have none yet, or with "
            "--overwrite for all; with --workspace it would go on by itself",
        ) from error


def _convert_all(
    disks: Sequence[Disk], formats: list[DiskFormat], display: Display,
    convert: Callable[[Disk, DiskFormat, Progress, Stop], Artifact],
) -> list[Artifact]:  # fmt: skip
    from converters.convert import AT_ONCE  # noqa: PLC0415
    from ferry.together import for_each  # noqa: PLC0415

    def work(item: tuple[Disk, DiskFormat], stop: Stop) -> Artifact:
        disk, to = item
        return convert(disk, to, display.progress(f"{disk.stem} → {to}"), stop)

    return for_each([(disk, to) for disk in disks for to in formats], work, at_once=AT_ONCE)


def _must_be_there(workspace: Path) -> None:
    from migration.errors import InvalidInput  # noqa: PLC0415

    if not workspace.is_dir():
        raise InvalidInput(f"{workspace}: there is no such folder", "give the workspace of a migration")


def _make_folder(path: Path) -> Path:
    from migration.errors import InvalidInput  # noqa: PLC0415

    folder = path.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"{folder}: cannot be made: {error.strerror}", "choose a folder you can write to") from error
    return folder


def _tell_of_layers(folder: Path) -> None:
    """Say that repaired layers are there, so that nobody takes the images for repaired ones."""
    from migration.disk import is_layer  # noqa: PLC0415

    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
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
