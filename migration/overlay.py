"""Puts a throw-away layer over each disk, so that looking (journals are replayed) leaves the original as it is.

libguestfs can do this itself, but 1.48 then lets QEMU guess the format of what the guest sees: a RAW disk that
begins like a qcow2 names any file of this machine as its backing file, and the appliance shows it. (Seen with
libguestfs 1.48.6 and QEMU 7.2; a LUKS disk does not open at all.) In an overlay of ours every format is told.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from migration.disk import Disk, DiskFormat
from migration.errors import CommandFailed, GuestError
from migration.progress import Stop
from migration.run import run
from migration.served_disk import ReadableDisk
from migration.storage import no_room_for, says_full
from migration.verdict import printable


def overlay_argv(disk: ReadableDisk, overlay: Path) -> list[str]:
    """Return the command that makes `overlay`; beside its disk it names it relatively, so that both can be moved."""
    is_beside = isinstance(disk, Disk) and disk.path.absolute().parent == overlay.absolute().parent
    return [
        "qemu-img", "create", "-q", "-f", "qcow2",
        "-F", str(disk.format), "-b", f"./{disk.name}" if is_beside else disk.location,
        str(overlay),
    ]  # fmt: skip


def make_overlay(disk: ReadableDisk, overlay: Path, *, stop: Stop | None = None) -> Path:
    """Make a qcow2 at `overlay` that shows `disk` and takes the writes. Raises `GuestError`, `NoSpace`."""
    try:
        if isinstance(disk, Disk) and disk.format is not DiskFormat.RAW:
            _check_stands_alone(disk, stop)
        run(overlay_argv(disk, overlay), stop=stop)
    except CommandFailed as error:
        if says_full(error.stderr):
            raise no_room_for(overlay) from error
        said = printable(" ".join(error.stderr.split()))
        raise GuestError(
            f"{disk.name} cannot be opened as {disk.format}: {said}",
            f"see what it is with `qemu-img info {disk.name}`, and name its format",
        ) from error
    return overlay


def _check_stands_alone(disk: Disk, stop: Stop | None) -> None:
    """Refuse an image that names other files: whoever made it would choose what we read."""
    answer = json.loads(run(["qemu-img", "info", "-f", disk.format, "--output", "json", disk.path], stop=stop))
    base_format = DiskFormat.from_suffix(disk.base.suffix) if disk.base is not None else None
    if disk.base is not None and base_format is not None:
        # A layer of ours: it must be over what we were told, and that must stand alone.
        told = (Path(answer.get("full-backing-filename", "")), answer.get("backing-filename-format"))
        if told == (disk.base, base_format):
            if base_format is not DiskFormat.RAW:
                _check_stands_alone(replace(disk, path=disk.base, format=base_format, base=None), stop)
            return
    others = sorted(set(_files_named(answer)) - {str(disk.path)})
    if others:
        raise GuestError(
            f"{disk.path.name} is not complete in itself: it names {', '.join(map(repr, others))}",
            "make one file of it where it comes from: qemu-img convert",
        )


def _files_named(info: dict[str, Any]) -> Iterator[str]:
    """Yield the files that an image's own bytes ask QEMU to open, out of `qemu-img info`."""
    yield from (info[key] for key in ("backing-filename", "full-backing-filename") if key in info)
    data = info.get("format-specific", {}).get("data", {})
    if "data-file" in data:
        yield data["data-file"]
    yield from (extent["filename"] for extent in data.get("extents", []))
