"""Turns disk files that already lie on this machine into `Disk`s: which disk, which format, how large."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from migration.disk import REPAIRED_SUFFIX, Disk, DiskFormat, guest_order, is_layer, parse_disk_argument
from migration.errors import InvalidInput
from migration.qcow2_header import read_qcow2_header
from migration.run import run
from migration.storage import Fingerprint, fingerprint_of


def find_disks(arguments: Sequence[str]) -> tuple[Disk, ...]:
    """Return the disks meant by command-line words (see `parse_disk_argument`), the system disk first.

    Raises `InvalidInput` for a missing file, an unknown format, or two files for one device.
    """
    disks: dict[str, Disk] = {}
    for argument in arguments:
        disk = _find_disk(argument)
        twin = next((other for other in disks.values() if other.path.samefile(disk.path)), None)
        if twin is not None and twin.device != disk.device:
            raise InvalidInput(
                f"{disk.path} is given as {twin.device} and as {disk.device}", "each disk has a file of its own"
            )
        if disk.device in disks:
            raise InvalidInput(
                f"{disks[disk.device].path} and {disk.path} are both given as {disk.device}",
                f"give one of them another device: xvdz={disk.path}",
            )
        disks[disk.device] = disk
    return tuple(sorted(disks.values(), key=guest_order))


def find_disks_in(directory: Path) -> tuple[Disk, ...]:
    """Return the disks that lie in `directory` under the names a workspace gives them. Raises `InvalidInput`."""
    if not directory.is_dir():
        raise InvalidInput(f"{directory}: there is no such folder", "check the workspace, or download the disks first")
    found = [
        str(path)
        for path in sorted(directory.iterdir())
        if path.is_file()
        and not path.name.startswith(".")
        and DiskFormat.from_suffix(path.suffix)
        # A layer is not another disk: who wants the repaired one names it.
        and not is_layer(path)
    ]
    if not found:
        raise InvalidInput(f"{directory}: no disks here", "expected system.raw, data_xvdb.raw … in this folder")
    return find_disks(found)


def _find_disk(argument: str) -> Disk:
    if "=" not in argument and not Path(argument).expanduser().exists():
        raise InvalidInput(f"{argument}: there is no such file", "check the path")
    role, device, path = parse_disk_argument(argument)
    path = path.expanduser().absolute()
    disk_format = DiskFormat.from_suffix(path.suffix)
    if disk_format is None:
        raise InvalidInput(
            f"{path}: {path.suffix or 'a name without a suffix'} is no disk format that is known here",
            "unpack it first, and name it .raw, .qcow2, .vmdk, .vhd, .vhdx or .vdi",
        )
    if not path.is_file():
        raise InvalidInput(f"{path}: there is no such file", "check the path")
    try:
        with path.open("rb") as file:
            is_packed = file.read(2) == b"\x1f\x8b"
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}", "check who may read it") from error
    if is_packed:
        raise InvalidInput(f"{path}: this is a gzip archive, whatever its name says", "unpack it with tar xzSf first")
    base = find_base(path) if is_layer(path) else None
    size = path.stat().st_size if disk_format is DiskFormat.RAW else _virtual_size(path, disk_format)
    if size == 0:
        raise InvalidInput(f"{path}: the file is empty", "was the download interrupted? Fetch it again")
    return Disk(device=device, role=role, path=path, format=disk_format, virtual_size=size, base=base)


def fingerprint_files(disks: Sequence[Disk]) -> tuple[tuple[Path, Fingerprint], ...]:
    """Return all files that hold `disks`, the ones under layers too, each with its fingerprint."""
    paths = (path for disk in disks for path in (disk.path, disk.base) if path is not None)
    return tuple((path, fingerprint_of(path)) for path in paths)


def find_base(layer: Path) -> Path:
    """Return the disk under a layer with a repair in it.

    Only a file beside it with the same stem is believed: whoever made an image chooses what it refers to.
    Raises `InvalidInput` for another file, and where somebody wrote to that disk after the layer was made.
    """
    base = base_of_layer(layer)
    if base is None:
        raise InvalidInput(f"{layer}: this is no layer with a repair in it", "give another name to a disk of its own")
    stem = layer.name.removesuffix(REPAIRED_SUFFIX)
    if base.parent != layer.parent or base.stem != stem:
        raise InvalidInput(
            f"{layer}: it is no layer over the {stem} beside it, but over {str(base)!r}",
            "put it beside the disk that it was made of, or make one file of both with `qemu-img convert`",
        )
    if not base.is_file():
        raise InvalidInput(f"{layer}: the disk under it, {base.name}, is gone", "put it back beside this file")
    if base.stat().st_mtime_ns > layer.stat().st_mtime_ns:
        raise InvalidInput(
            f"{base} was written to after {layer.name} was made over it, so that the two do not fit any more",
            "drop the layer with `ferry check-fstab --undo`, and repair again",
        )
    return base


def base_of_layer(layer: Path) -> Path | None:
    """Return what a qcow2 names as the one file it is over, in the format of that file's name; None for all else."""
    header = read_qcow2_header(layer)
    if header is None or header.has_data_file or not header.backing:
        return None
    base = Path(layer.parent, header.backing)
    return base if header.backing_format == DiskFormat.from_suffix(base.suffix) else None


def _virtual_size(path: Path, disk_format: DiskFormat) -> int:
    """Return what the guest sees, in bytes. The format is named: its first bytes are the guest's word."""
    answer = json.loads(run(["qemu-img", "info", "--output=json", "-f", disk_format, path]))
    return int(answer["virtual-size"])
