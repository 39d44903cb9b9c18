"""Finds where the bytes of a disk lie in the files that it is made of, so that they can be read without a program."""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.qemu_img import ImageFile
from migration.errors import SourceChanged
from migration.progress import Stop
from migration.run import run
from migration.storage import disk_full, is_full


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """A stretch of the disk that is not known to be zeros: `length` bytes from `start` lie in `path` from `offset`."""

    start: int
    length: int
    path: Path
    offset: int

    @property
    def end(self) -> int:
        return self.start + self.length


def find_extents(image: ImageFile, base: Path | None = None, *, stop: Stop | None = None) -> list[Extent] | None:
    """Return the extents of `image`, which may be a layer over `base`, in their order; the rest of it reads as zeros.

    None where something in it has no place in a file, as a compressed cluster has not.
    """
    files = [image.path] if base is None else [image.path, base]
    extents: list[Extent] = []
    for part in _map(image, stop):
        if part["zero"] or not part["data"]:
            continue
        if "offset" not in part or part["depth"] >= len(files):
            return None
        extents.append(
            Extent(start=part["start"], length=part["length"], path=files[part["depth"]], offset=part["offset"])
        )
    return extents


def count_data(image: ImageFile, *, stop: Stop | None = None) -> int:
    """Return how many bytes of the disk are not known to be zeros."""
    return sum(part["length"] for part in _map(image, stop) if part["data"] and not part["zero"])


def _map(image: ImageFile, stop: Stop | None) -> list[dict[str, Any]]:
    argv = ["qemu-img", "map", "--output=json", "-f", image.format, os.fspath(image.path)]
    told: list[dict[str, Any]] = json.loads(run(argv, stop=stop))
    return told


class ExtentReader:
    """Reads the disk that `extents` describe; for use by several threads at once."""

    def __init__(self, extents: Sequence[Extent], descriptors: dict[Path, int]) -> None:
        self._extents = extents
        self._descriptors = descriptors

    def read(self, start: int, length: int) -> bytearray | None:
        """Return `length` bytes from `start`, None where all of them are known to be zeros.

        Raises `EOFError` if a file is shorter than the extents say.
        """
        data: bytearray | None = None
        end = start + length
        index = bisect_right(self._extents, start, key=lambda extent: extent.end)
        while index < len(self._extents) and self._extents[index].start < end:
            extent = self._extents[index]
            begin, until = max(start, extent.start), min(end, extent.end)
            if data is None:
                data = bytearray(length)
            view = memoryview(data)[begin - start : until - start]
            _read_fully(self._descriptors[extent.path], view, extent.offset + begin - extent.start, extent.path)
            index += 1
        return data


@contextmanager
def open_extents(extents: Sequence[Extent]) -> Iterator[ExtentReader]:
    """Open the files of `extents` for reading."""
    with ExitStack() as stack:
        descriptors = {}
        for path in {extent.path for extent in extents}:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            descriptors[path] = descriptor
        yield ExtentReader(extents, descriptors)


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Say in the operator's words what ends the writing of `target` from extents: `SourceChanged`, `NoSpace`."""
    try:
        yield
    except EOFError as error:
        raise SourceChanged(str(error), "something cut the disk short while it was converted: run again") from error
    except OSError as error:
        if is_full(error):
            raise disk_full(target, error) from error
        raise


def _read_fully(descriptor: int, view: memoryview, offset: int, path: Path) -> None:
    while view:
        count = os.preadv(descriptor, [view], offset)
        if count == 0:
            raise EOFError(f"{path}: it ends before byte {offset}")
        view, offset = view[count:], offset + count
