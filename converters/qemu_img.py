"""Speaks to `qemu-img`: which command converts, compares and checks an image, and what its answers mean."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migration.disk import DiskFormat
from migration.errors import CommandFailed, CorruptData, InvalidInput
from migration.progress import Stop
from migration.qcow2_header import read_qcow2_header
from migration.run import run
from migration.storage import disk_full, says_full
from migration.str_enum import StrEnum

PROGRESS = re.compile(r"\((?P<percent>\d+(?:\.\d+)?)/100%\)")

IDENTICAL, DIFFERENT = 0, 1  # exit statuses of `qemu-img compare`; above is a failure (man 1 qemu-img)

# Formats whose own structures `qemu-img check` can walk; the others answer "does not support checks".
CHECKABLE = frozenset({DiskFormat.QCOW2, DiskFormat.VMDK, DiskFormat.VHDX, DiskFormat.VDI})
COMPRESSIBLE = frozenset({DiskFormat.QCOW2, DiskFormat.VMDK})


# Receives how much of a command is done, from 0.0 to 1.0, never going back.
OnShare = Callable[[float], None]


def no_share(share: float) -> None:
    """Take no notice of how much is done."""


class Compression(StrEnum):
    """An algorithm, spelled as qcow2 spells it."""

    ZSTD = "zstd"
    DEFLATE = "zlib"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFile:
    """A file and how to read it.

    The format is always named: a guest controls the first bytes of its disk, and probing would believe them.
    """

    path: Path  # absolute: qemu-img takes `name:rest` and `-name` for something else
    format: DiskFormat


def convert_argv(source: ImageFile, target: ImageFile, *, compression: Compression | None = None) -> list[str]:
    """Return the command that writes `source` anew as `target`.

    The target's cache mode stays `unsafe`, qemu-img's default here: whoever calls flushes the file once, at the end.
    """
    argv = ["qemu-img", "convert", "-p", "-f", source.format, "-O", target.format, "-m", "16"]
    if compression is not None:
        argv.append("-c")
    if not (target.format is DiskFormat.VMDK and compression is not None):
        argv.append("-W")  # streamOptimized is a stream: its grains stay in order
    if options := target_options(target.format, compression=compression):
        argv += ["-o", ",".join(options)]
    return [*argv, os.fspath(source.path), os.fspath(target.path)]


def target_options(to: DiskFormat, *, compression: Compression | None = None) -> list[str]:
    """Return the `-o` options that make a `to` image what hypervisors want of it."""
    if to is DiskFormat.QCOW2:
        return ["compat=1.1"] if compression is None else ["compat=1.1", f"compression_type={compression}"]
    if to is DiskFormat.VMDK:
        # streamOptimized is what ESXi imports (OVF); lsilogic because VMware gives Linux guests a SCSI bus.
        subformat = "monolithicSparse" if compression is None else "streamOptimized"
        return [f"subformat={subformat}", "adapter_type=lsilogic"]
    if to is DiskFormat.VPC:
        return ["force_size=on"]  # else the size is rounded up to cylinders
    return []


def compare_argv(one: ImageFile, other: ImageFile) -> list[str]:
    """Return the command that reads both images through and tells whether a guest would see the same."""
    return [
        "qemu-img", "compare", "-p",
        "-f", one.format, "-F", other.format,
        os.fspath(one.path), os.fspath(other.path),
    ]  # fmt: skip


def check_argv(image: ImageFile) -> list[str]:
    """Return the command that checks the format's own structures."""
    return ["qemu-img", "check", "-f", image.format, os.fspath(image.path)]


def info_argv(image: ImageFile) -> list[str]:
    """Return the command that describes an image as JSON."""
    return ["qemu-img", "info", "--output=json", "-f", image.format, os.fspath(image.path)]


def parse_share(line: str) -> float | None:
    """Return how much is done according to a line of `-p` output, `(12.34/100%)`, or None."""
    match = PROGRESS.search(line)
    return min(float(match["percent"]) / 100, 1.0) if match else None


def convert(
    source: ImageFile, target: ImageFile, *, compression: Compression | None, on_share: OnShare, stop: Stop | None
) -> None:
    """Write `source` anew as `target`. Raises `NoSpace` where the disk is full, else `CommandFailed`."""
    argv = convert_argv(source, target, compression=compression)
    try:
        run(argv, on_line=_forward_only(on_share), stop=stop)
    except CommandFailed as error:
        if says_full(error.stderr):
            raise disk_full(target.path, "the disk became full, or our quota on it, while this was written") from error
        raise


def prove_equal(source: ImageFile, target: ImageFile, *, on_share: OnShare, stop: Stop | None) -> None:
    """Raise `CorruptData` unless a guest would read the same bytes from both, to the same end."""
    size, expected = read_virtual_size(target), read_virtual_size(source)
    if size != expected:
        raise _unequal(source, target, f"it is {size} bytes long, the source {expected}")
    # By itself, compare forgives a longer image whose rest is zeros.
    argv = compare_argv(source, target)
    try:
        run(argv, on_line=_forward_only(on_share), stop=stop)
    except CommandFailed as error:
        if error.returncode == DIFFERENT:
            raise _unequal(source, target, "the contents differ") from error
        raise


def check(image: ImageFile, *, stop: Stop | None) -> None:
    """Raise `CorruptData` if the format's own structures are broken, where qemu-img can tell."""
    if image.format not in CHECKABLE:
        return
    try:
        run(check_argv(image), stop=stop)
    except CommandFailed as error:
        raise CorruptData(f"{image.path.name}: qemu-img check found errors\n{error}", RUN_AGAIN) from error


def read_virtual_size(image: ImageFile) -> int:
    """Return how many bytes long a guest would see the disk."""
    return int(_read_info(image)["virtual-size"])


def check_stands_alone(image: ImageFile, base: Path | None = None) -> None:
    """Raise `InvalidInput` if reading `image` would read other files of this machine, or another host.

    A qcow2 header can name a backing file or a data file, and a VMDK any number of extents: whoever
    made the image would choose what ends up in the conversion. Looks at the header without qemu-img.
    Only a layer of ours may be over another file, over `base` and in the format of its name.
    """
    if image.format is DiskFormat.VMDK:
        raise InvalidInput(f"{image.path.name}: VMDK is a format to convert to, not from", "give the RAW disk")
    if image.format is not DiskFormat.QCOW2:
        return
    header = read_qcow2_header(image.path)
    if header is None or header.stands_alone:
        return  # what is no qcow2 at all, qemu-img says better
    base_format = DiskFormat.from_suffix(base.suffix) if base is not None else None
    is_ours = base is not None and base_format is not None and not header.has_data_file
    if is_ours and Path(image.path.parent, header.backing) == base and header.backing_format == base_format:
        check_stands_alone(ImageFile(path=base, format=base_format))
        return
    raise InvalidInput(
        f"{image.path.name}: the image refers to another file, which is not followed",
        "make it stand alone where it comes from: qemu-img convert",
    )


def choose_compression(to: DiskFormat) -> Compression:
    """Return the fastest algorithm that the format knows and this qemu-img was built with."""
    if to is not DiskFormat.QCOW2:
        return Compression.DEFLATE
    with tempfile.TemporaryDirectory() as folder:
        probe = os.fspath(Path(folder) / "probe.qcow2")
        try:
            run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "compression_type=zstd", probe, "1M"])
        except CommandFailed:
            return Compression.DEFLATE
    return Compression.ZSTD


RUN_AGAIN = "run it again; if this repeats, doubt the memory and the disk of this machine"


def _unequal(source: ImageFile, target: ImageFile, how: str) -> CorruptData:
    return CorruptData(f"{target.path.name} is not equal to {source.path.name}: {how}", RUN_AGAIN)


def _read_info(image: ImageFile) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(run(info_argv(image)))
    return described


def _forward_only(on_share: OnShare) -> Callable[[str], None]:
    """Return a reader of output lines that calls `on_share` when more is done than ever before."""
    furthest = 0.0

    def read(line: str) -> None:
        nonlocal furthest
        share = parse_share(line)
        if share is not None and share > furthest:
            furthest = share
            on_share(share)

    return read
