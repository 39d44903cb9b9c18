"""Makes an image for the other side from a disk, and proves that a guest will find the same bytes in it."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from converters import qemu_img
from converters.extents import find_extents
from converters.qemu_img import COMPRESSIBLE, ImageFile, OnShare, no_share
from converters.sparse_vmdk import LARGEST_DISK, write_sparse_vmdk
from converters.stream_optimized import write_stream_optimized
from migration.artifact import Artifact
from migration.disk import Disk, DiskFormat
from migration.errors import InvalidInput, SourceChanged
from migration.let_go import find_stand_in
from migration.progress import Progress, Stop, no_progress
from migration.storage import (
    Fingerprint,
    allocated,
    check_free_space,
    disk_full,
    fingerprint_of,
    format_size,
    is_full,
    sha256_of_file,
    sync_directory,
)
from migration.workspace import Workspace

log = logging.getLogger(__name__)

SECTOR = 512
STEP = "convert:"  # what the journal's names of conversions begin with
AT_ONCE = len(os.sched_getaffinity(0))  # conversions; each keeps a core busy, and compression all of them
PHASES = 3  # converting, proving, computing the digest: each reads the disk or the image once


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """A finished conversion as the journal remembers it."""

    artifact: Artifact
    compress: bool
    source: Fingerprint
    source_crc64: int | None
    target: Fingerprint


def convert_disk(
    workspace: Workspace,
    disk: Disk,
    to: DiskFormat,
    *,
    compress: bool = False,
    progress: Progress = no_progress,
    stop: Stop | None = None,
) -> Artifact:
    """Return the image of `disk` among the workspace's images, converting only if it is not there yet.

    An image that was made before from this very disk, and not touched since, is returned at once; so is one that
    stands in for its disk. Else as `convert_file`; what had its name is removed first, so that a failure leaves none.
    """
    step = f"{STEP}{disk.stem}:{to}"
    known = workspace.journal.get(step, Conversion)
    if _target(disk, workspace.images, to) == disk.path:  # it stands in for a disk that was let go
        if known is None or find_stand_in(workspace, disk.stem) is None:
            raise SourceChanged(f"{disk.path} was changed since it was made", "download the disk again, and convert it")
        return replace(known.artifact, path=disk.path)
    if known is not None and _is_current(known, disk, workspace.images, to, compress=compress):
        log.info("%s is there already", known.artifact.path.name)
        total = PHASES * disk.virtual_size
        progress(total, total)
        return known.artifact
    workspace.journal.forget(step)
    _target(disk, workspace.images, to).unlink(missing_ok=True)
    before = fingerprint_of(disk.path)
    artifact = convert_file(disk, workspace.images, to, compress=compress, progress=progress, stop=stop)
    conversion = Conversion(
        artifact=artifact,
        compress=compress,
        source=before,
        source_crc64=disk.crc64,
        target=fingerprint_of(artifact.path),
    )
    workspace.journal.record(step, conversion)
    return artifact


def convert_file(
    disk: Disk,
    directory: Path,
    to: DiskFormat,
    *,
    compress: bool = False,
    overwrite: bool = False,
    progress: Progress = no_progress,
    stop: Stop | None = None,
) -> Artifact:
    """Convert `disk` to the format `to` in `directory`, as `system.qcow2` or `data_xvdb.vmdk`.

    The name appears once the image is whole, proven equal to its source and on stable storage. A file
    that has it already is refused, or with `overwrite` replaced then. `compress` makes a zstd (or zlib) qcow2
    or a streamOptimized VMDK. `progress` counts three times the disk's bytes: converted, proven, digested.

    Raises `InvalidInput` (the disk cannot be meant, the name is taken, or the format has no compression), `NoSpace`,
    `CorruptData` (the proof failed; `SourceChanged` if someone wrote to the disk meanwhile),
    `CommandFailed`, `ToolMissing`, `Interrupted`.
    """
    check_request(disk, to, compress=compress)
    source = ImageFile(path=disk.path.absolute(), format=disk.format)
    target = check_target(disk, directory, to, overwrite=overwrite)
    qemu_img.check_stands_alone(source, disk.base)
    read = [source.path] if disk.base is None else [source.path, disk.base]
    before = [fingerprint_of(path) for path in read]
    _check_size(disk, source)
    with _partial(target) as partial:
        # Never more than the disk holds: its holes stay holes, and zeros become holes.
        check_free_space(partial.parent, sum(map(allocated, read)), f"converting {disk.path.name} to {to}")
        log.info("Converting %s to %s (%s)", disk.path.name, to, format_size(disk.virtual_size))
        made = ImageFile(path=partial, format=to)
        digest = _convert_and_prove(
            source, disk.base, made, disk.virtual_size, compress=compress, progress=progress, stop=stop
        )
        if [fingerprint_of(path) for path in read] != before:
            raise SourceChanged(
                f"{disk.path}: something wrote to the disk while it was converted", "stop what uses it, then run again"
            )
        partial.replace(target)
    sync_directory(target.parent)
    return Artifact(
        device=disk.device,
        role=disk.role,
        path=target,
        format=to,
        virtual_size=disk.virtual_size,
        file_size=target.stat().st_size,
        sha256=digest,
        proof=_proof(disk, to),
    )


def _convert_and_prove(
    source: ImageFile,
    base: Path | None,
    made: ImageFile,
    size: int,
    *,
    compress: bool,
    progress: Progress,
    stop: Stop | None,
) -> str:
    """Write `made`, flush it, read it back against `source`, and return its SHA-256."""

    def phase(number: int) -> Callable[[float], None]:
        return lambda share: progress(int((number + share) * size), PHASES * size)

    progress(0, PHASES * size)
    write_image(source, base, made, size, compress=compress, on_share=phase(0), stop=stop)
    _flush(made.path)
    qemu_img.prove_equal(source, made, on_share=phase(1), stop=stop)
    qemu_img.check(made, stop=stop)
    return sha256_of_file(made.path, on_share=phase(2), stop=stop)


def write_image(
    source: ImageFile,
    base: Path | None,
    made: ImageFile,
    size: int,
    *,
    compress: bool,
    on_share: OnShare = no_share,
    stop: Stop | None = None,
) -> None:
    """Write `made`: VMDK by ourselves, on all cores, everything else by qemu-img. Nothing is proven yet."""
    if made.format is DiskFormat.VMDK and size <= LARGEST_DISK:
        extents = find_extents(source, base, stop=stop)
        if extents is not None:
            write = write_stream_optimized if compress else write_sparse_vmdk
            write(made.path, extents, size, on_share=on_share, stop=stop)
            return
    compression = qemu_img.choose_compression(made.format) if compress else None
    qemu_img.convert(source, made, compression=compression, on_share=on_share, stop=stop)


def check_target(disk: Disk, directory: Path, to: DiskFormat, *, overwrite: bool) -> Path:
    """Return where the image of `disk` will lie, or raise `InvalidInput` if that place is taken."""
    target = _target(disk, directory.absolute(), to)
    if target.is_dir():
        raise InvalidInput(f"{target}: a folder has the image's name", "choose another folder for the images")
    if target.exists() and any(target.samefile(path) for path in (disk.path, disk.base) if path is not None):
        raise InvalidInput(f"{target}: the image would replace the disk it is made of", "choose another folder")
    if target.exists() and not overwrite:
        raise InvalidInput(f"{target} is there already", "choose another folder, or say --overwrite to replace it")
    return target


def check_request(disk: Disk, to: DiskFormat, *, compress: bool) -> None:
    """Raise `InvalidInput` where the disk cannot be meant, or the format has no compression."""
    if compress and to not in COMPRESSIBLE:
        able = " and ".join(sorted(COMPRESSIBLE))
        raise InvalidInput(f"{to} images cannot be compressed", f"{able} can; or leave compression off")
    if not disk.path.is_file():
        raise InvalidInput(f"{disk.path}: there is no such file", "give the path of a disk image")
    if disk.virtual_size <= 0 or disk.virtual_size % SECTOR:
        # qemu-img would round up to a sector and call the result equal.
        raise InvalidInput(
            f"{disk.path}: {disk.virtual_size} bytes are not a whole number of {SECTOR}-byte sectors",
            "no disk has such a size: the file was cut off, or is not a disk image",
        )


def _check_size(disk: Disk, source: ImageFile) -> None:
    """Raise unless the file holds the disk we were told about."""
    raw = disk.format is DiskFormat.RAW
    size = source.path.stat().st_size if raw else qemu_img.read_virtual_size(source)
    if size != disk.virtual_size:
        raise SourceChanged(
            f"{disk.path}: the disk is {size} bytes long, expected were {disk.virtual_size}", "download it again"
        )


def _target(disk: Disk, directory: Path, to: DiskFormat) -> Path:
    return directory / f"{disk.stem}{to.suffix}"


@contextmanager
def _partial(target: Path) -> Iterator[Path]:
    """Offer a path for the length of the block to write what will be `target`; what lies there then is removed.

    A folder `….partial` with the final name in it, as a VMDK holds its own file name in its descriptor.
    """
    folder = target.with_name(f"{target.name}.partial")
    shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        if is_full(error):
            raise disk_full(folder, error) from error
        raise InvalidInput(f"{folder}: cannot be made: {error.strerror}", "choose a folder you can write to") from error
    try:
        yield folder / target.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_current(known: Conversion, disk: Disk, directory: Path, to: DiskFormat, *, compress: bool) -> bool:
    target = _target(disk, directory, to)
    return (
        known.artifact.path == target
        and known.compress == compress
        and known.source_crc64 == disk.crc64
        and disk.path.is_file()
        and known.source == fingerprint_of(disk.path)
        and target.is_file()
        and known.target == fingerprint_of(target)
    )


def _flush(path: Path) -> None:
    """Bring the file to stable storage, and forget it, so that the proof reads what lies there."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError as error:
        if is_full(error):  # some file systems find out only now
            raise disk_full(path, error) from error
        raise
    finally:
        os.close(descriptor)


def _proof(disk: Disk, to: DiskFormat) -> str:
    """Say what was shown, for the report; what the disk itself was shown to be, its own `proof` says."""
    checked = "; qemu-img check: no errors" if to in qemu_img.CHECKABLE else ""
    over = f" (a layer over {disk.base.name})" if disk.base is not None else ""
    return f"qemu-img compare: identical to {disk.path.name}{over}{checked}"
