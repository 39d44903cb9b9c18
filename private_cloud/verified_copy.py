"""Copies an image and proves, by the digest that its conversion gave it, that it is the one that was proven then."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from migration.artifact import Artifact
from migration.errors import CorruptData
from migration.progress import Progress, Stop, check_stop

_CHUNK = 1 << 20
_ZEROS = bytes(_CHUNK)

OnBytes = Callable[[int], None]  # is told how many more bytes are done


def copy_into(target: BinaryIO, image: Artifact, *, on_bytes: OnBytes, stop: Stop | None = None) -> None:
    """Append the image's bytes to `target`. Raises `CorruptData` if they are not those of its digest."""
    _copy(image, target.write, on_bytes, stop)


def copy_to(target: Path, image: Artifact, *, on_bytes: OnBytes, stop: Stop | None = None) -> None:
    """Make `target`, a file of its own on stable storage, with holes where there are zeros."""

    def write(chunk: bytes) -> None:
        if chunk == _ZEROS:
            file.seek(len(chunk), os.SEEK_CUR)
        else:
            file.write(chunk)

    with target.open("xb") as file:
        _copy(image, write, on_bytes, stop)
        file.truncate(image.file_size)  # also where it ends with a hole
        file.flush()
        os.fsync(file.fileno())


def _copy(image: Artifact, write: Callable[[bytes], object], on_bytes: OnBytes, stop: Stop | None) -> None:
    digest, size = hashlib.sha256(), 0
    with image.path.open("rb", buffering=0) as source:
        while chunk := source.read(_CHUNK):
            check_stop(stop)
            digest.update(chunk)
            size += len(chunk)
            if size > image.file_size:
                break
            write(chunk)
            on_bytes(len(chunk))
    if size != image.file_size or digest.hexdigest() != image.sha256:
        raise CorruptData(
            f"{image.path}: the image is not the one that was proven: its SHA-256 is another", "convert the disk again"
        )


def counter(progress: Progress, total: int) -> OnBytes:
    """Return what adds up the bytes of several copies for one `progress`."""
    done = 0

    def add(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    return add
