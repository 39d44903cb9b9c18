"""Reads a disk grain by grain on several cores at once, in order, and passes over what is zeros."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from converters.extents import ExtentReader
from converters.vmdk_layout import GRAIN
from migration.progress import Stop, check_stop

T = TypeVar("T")

BATCH = 64  # grains that a thread reads at a time: 4 MiB
_ZEROS = bytes(GRAIN)


@dataclass(frozen=True, slots=True)
class Batch(Generic[T]):
    """What was made of the grains that are not zeros, by their number, and the number of the first grain behind all."""

    grains: list[tuple[int, T]]
    end: int


def read_grains(
    reader: ExtentReader, size: int, make: Callable[[memoryview], T], *, threads: int, stop: Stop | None
) -> Iterator[tuple[int, Batch[T]]]:
    """Yield all batches in order, each with how many bytes of the disk are done with it.

    `make` is called in a thread, with each grain that is not all zeros; the last one is filled up.
    """
    step = BATCH * GRAIN
    with ThreadPoolExecutor(threads, thread_name_prefix="grains") as pool:
        running: deque[tuple[int, Future[Batch[T]]]] = deque()
        try:
            for start in range(0, size, step):
                check_stop(stop)
                running.append((start + step, pool.submit(_read, reader, start, min(step, size - start), make)))
                if len(running) > 2 * threads:
                    done, batch = running.popleft()
                    yield done, batch.result()
            while running:
                check_stop(stop)
                done, batch = running.popleft()
                yield done, batch.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _read(reader: ExtentReader, start: int, length: int, make: Callable[[memoryview], T]) -> Batch[T]:
    first, end = start // GRAIN, -(-(start + length) // GRAIN)
    data = reader.read(start, length)
    if data is None:
        return Batch([], end)
    view, grains = memoryview(data), []
    for number in range(first, end):
        at = number * GRAIN - start
        if data.startswith(_ZEROS, at):  # memcmp, where comparing memoryviews goes byte by byte
            continue
        grain = view[at : at + GRAIN]
        if len(grain) < GRAIN:  # readers expect whole grains
            grain = memoryview(bytes(grain).ljust(GRAIN, b"\0"))
            if grain == _ZEROS:
                continue
        grains.append((number, make(grain)))
    return Batch(grains, end)
