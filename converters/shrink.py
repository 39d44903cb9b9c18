"""Shrinks disks before they are converted: in layers over them, the free space of their file systems reads as zeros."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from converters.extents import count_data
from converters.qemu_img import ImageFile, check_stands_alone
from converters.trim import TrimmedFilesystem, TrimSpoilt, trim_filesystems
from migration.appliance import open_guest
from migration.disk import Disk, DiskFormat
from migration.disk_file import fingerprint_files
from migration.errors import GuestError, Interrupted, ToolMissing
from migration.progress import Stop
from migration.run import run
from migration.storage import (
    Fingerprint,
    check_free_space,
    find_fingerprint,
    format_size,
    storage_errors,
    sync_directory,
    sync_file,
)
from migration.workspace import Workspace

log = logging.getLogger(__name__)

STEP = "shrink"
TRIMMED_SUFFIX = ".trimmed.qcow2"
_ROOM = 64 * 1024**2  # bytes for the journals that are replayed into a layer, beside its tables
_TABLES = 8192  # a qcow2 has 8 bytes of tables for 64 KiB of the disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrink:
    """What came of it. `disks` are those to convert: layers over the disks, or the disks where nothing was saved.

    `before` and `after` are the bytes of data in all disks together, holes and zeros not counted. `why_not` says why
    nothing was tried, "" where it was.
    """

    disks: tuple[Disk, ...]
    filesystems: tuple[TrimmedFilesystem, ...] = ()
    before: int = 0
    after: int = 0
    why_not: str = ""

    @property
    def saved(self) -> int:
        """Bytes that need not be converted, and are in no image."""
        return self.before - self.after

    @property
    def left_alone(self) -> tuple[TrimmedFilesystem, ...]:
        return tuple(one for one in self.filesystems if one.why_not)

    def __str__(self) -> str:
        if self.why_not:
            return f"Free space inside the guest is converted too: {self.why_not}"
        trimmed = [one for one in self.filesystems if not one.why_not]
        parts = [f"Free space inside the guest: {format_size(self.saved)} of {format_size(self.before)} left out"]
        if trimmed:
            parts.append("trimmed " + ", ".join(f"{one.volume} ({one.type})" for one in trimmed))
        parts += [f"left alone {one.volume} ({one.type}): {one.why_not}" for one in self.left_alone]
        return "; ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedShrink:
    """The same as the journal remembers it, with the disks and the layers as they were then."""

    shrink: Shrink
    sources: tuple[tuple[Path, Fingerprint], ...]
    layers: tuple[tuple[Path, Fingerprint], ...]


def shrink_in_workspace(workspace: Workspace, disks: Sequence[Disk], *, stop: Stop | None = None) -> Shrink:
    """Return what `shrink_disks` makes of the disks, in the workspace's own folder, unless it is there already."""
    sources = fingerprint_files(disks)
    known = workspace.journal.get(STEP, RecordedShrink)
    if known is not None and known.sources == sources and _are_current(known.layers):
        return known.shrink
    workspace.journal.forget(STEP)
    shutil.rmtree(workspace.trimmed, ignore_errors=True)
    with storage_errors(workspace.trimmed):
        workspace.trimmed.mkdir()
    shrink = shrink_disks(disks, workspace.trimmed, stop=stop)
    if not shrink.why_not:
        layers = tuple(disk for disk in shrink.disks if disk.path.parent == workspace.trimmed)
        workspace.journal.record(STEP, RecordedShrink(shrink=shrink, sources=sources, layers=fingerprint_files(layers)))
    return shrink


def shrink_disks(disks: Sequence[Disk], folder: Path, *, stop: Stop | None = None) -> Shrink:
    """Return layers in `folder` over the disks of one guest in which their free space reads as zeros.

    A disk that is a layer itself, with a repair in it, is copied first: the new layer has both. All disks get one, or
    none: a volume may lie on several. Where it does not work, the disks are returned as they are, and why.
    Raises `Interrupted`, `NoSpace`.
    """
    try:
        return _shrink(disks, folder.absolute(), stop)
    except Interrupted:
        raise
    except (GuestError, ToolMissing) as error:
        log.warning("Free space inside the guest will be converted too: %s", error)
        return Shrink(disks=tuple(disks), why_not=str(error))


def _shrink(disks: Sequence[Disk], folder: Path, stop: Stop | None) -> Shrink:
    check_free_space(
        folder, sum(_ROOM + disk.virtual_size // _TABLES for disk in disks), "leaving out the guest's free space"
    )
    layers = {disk.device: folder / f"{disk.stem}{TRIMMED_SUFFIX}" for disk in disks}
    is_kept = False
    try:
        before = _count_data(disks, stop)
        for disk in disks:
            if disk.base is not None:
                _copy_layer(disk, layers[disk.device])
        log.info("Leaving out the free space inside the guest's file systems")
        with open_guest(disks, layers=layers, give_back=True, stop=stop) as g:
            filesystems = tuple(trim_filesystems(g, [disk.device for disk in disks]))
            g.shutdown()  # what could not be written shows now
        shrunk = tuple(_over(disk, layers[disk.device]) for disk in disks)
        after = _count_data(shrunk, stop)
        is_kept = after < before
        for layer in layers.values() if is_kept else ():
            with storage_errors(layer):
                sync_file(layer)
                sync_directory(layer.parent)
    except TrimSpoilt as error:
        raise GuestError(str(error), "have the guest check its file systems (fsck), then export it anew") from error
    finally:
        for layer in layers.values() if not is_kept else ():
            layer.unlink(missing_ok=True)
    kept = shrunk if is_kept else tuple(disks)
    shrink = Shrink(disks=kept, filesystems=filesystems, before=before, after=min(before, after))
    log.info("%s", shrink)
    return shrink


def _copy_layer(disk: Disk, layer: Path) -> None:
    """Copy a layer of ours to another folder; it may have named the disk under it relatively."""
    assert disk.base is not None  # noqa: S101  # asked by the caller
    base_format = DiskFormat.from_suffix(disk.base.suffix) or DiskFormat.RAW
    check_stands_alone(ImageFile(path=disk.path.absolute(), format=disk.format), disk.base)
    with storage_errors(layer):
        shutil.copyfile(disk.path, layer)
    run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", base_format, "-b", disk.base, layer])


def _over(disk: Disk, layer: Path) -> Disk:
    base = disk.base or disk.path.absolute()
    return replace(disk, path=layer, format=DiskFormat.QCOW2, base=base, crc64=None, proof="")


def _count_data(disks: Sequence[Disk], stop: Stop | None) -> int:
    return sum(count_data(ImageFile(path=disk.path.absolute(), format=disk.format), stop=stop) for disk in disks)


def _are_current(files: Sequence[tuple[Path, Fingerprint]]) -> bool:
    return all(find_fingerprint(path) == known for path, known in files)
