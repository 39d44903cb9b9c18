"""Re-reads a finished disk from storage, says where it is not what came, and makes ready to fetch just that again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from image_download import crc64
from image_download.part_map import KnownParts, read_part_map
from image_download.part_store import reopen_part_store
from image_download.records import DISK_STEP, DiskRecord, parts_beside
from image_download.settings import MIB
from image_download.sparse_file import crc64_of_range, open_storage
from migration.progress import Progress, Stop, no_progress
from migration.storage import find_fingerprint, storage_errors
from migration.workspace import Workspace

STRETCH = 64 * MIB  # bytes read between two reports of progress, where nothing is known of parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What re-reading a finished disk has shown.

    `damaged` are ranges of the file, start and end in bytes, where that can be told; `problem` says in words what is
    wrong, "" where nothing is. `crc64` is of the file, None where it is gone.
    """

    device: str
    path: Path
    crc64: int | None
    problem: str
    damaged: tuple[tuple[int, int], ...] = ()

    @property
    def is_whole(self) -> bool:
        return not self.problem


def verify_disks(
    workspace: Workspace, *, progress: Progress = no_progress, stop: Stop | None = None
) -> list[Verification]:
    """Re-read all finished downloads of the workspace, in the order of their devices. `progress` counts bytes.

    The disks are only read. One that is damaged is not believed any more: the next download looks at it again, and
    mends it. Raises `Interrupted`, or `MigrationError` where storage gives an error.
    """
    records = list(finished_downloads(workspace))
    total = sum(record.fingerprint.size for record in records)
    done, found = 0, []
    for record in records:

        def report(position: int, _: int, before: int = done) -> None:
            progress(before + position, total)

        verification = verify_disk(workspace, record, progress=report, stop=stop)
        if not verification.is_whole:
            unbelieved = replace(record, fingerprint=replace(record.fingerprint, mtime_ns=0))
            workspace.journal.record(f"{DISK_STEP}{record.disk.stem}", unbelieved)
        found.append(verification)
        done += record.fingerprint.size
    return found


def finished_downloads(workspace: Workspace) -> Iterator[DiskRecord]:
    """Yield what the journal says of finished disks, the system disk first."""
    steps = [step for step in workspace.journal.steps() if step.startswith(DISK_STEP)]
    for step in sorted(steps, key=lambda name: (not name.endswith("system"), len(name), name)):
        record = workspace.journal.get(step, DiskRecord)
        if record is not None:
            yield record


def verify_disk(
    workspace: Workspace, record: DiskRecord, *, progress: Progress = no_progress, stop: Stop | None = None
) -> Verification:
    """Re-read one finished disk from storage and compare it with what was recorded when it was proven."""
    path = workspace.disks / record.disk.path.name  # the workspace may have moved
    fingerprint = find_fingerprint(path)
    if fingerprint is None:
        return Verification(device=record.disk.device, path=path, crc64=None, problem="the file is gone")
    known = read_part_map(parts_beside(path), record.object)
    with storage_errors(path):
        found, damaged = _read(path, fingerprint.size, known, progress, stop)
    if found == record.file_crc64 and fingerprint.size == record.fingerprint.size:
        return Verification(device=record.disk.device, path=path, crc64=found, problem="")
    problem = f"its CRC-64 is {found}, recorded was {record.file_crc64}"
    if fingerprint.size != record.fingerprint.size:
        problem = f"it has {fingerprint.size} bytes, recorded were {record.fingerprint.size}"
    return Verification(device=record.disk.device, path=path, crc64=found, problem=problem, damaged=tuple(damaged))


def take_back(record: DiskRecord, verification: Verification, unfinished: Path) -> bool:
    """Turn a damaged disk into the unfinished download `unfinished` that lacks only what is damaged.

    Returns whether that could be done: what an archive was unpacked into has to be downloaded anew as a whole.
    """
    path = verification.path
    if not verification.damaged or find_fingerprint(path) is None or path.stat().st_size != record.object.size:
        return False
    return reopen_part_store(path, parts_beside(path), unfinished, record.object, verification.damaged)


def _read(
    path: Path, size: int, known: KnownParts | None, progress: Progress, stop: Stop | None
) -> tuple[int, list[tuple[int, int]]]:
    """Return the CRC-64 of the file and the parts of it, as ranges, that are not as they came."""
    stretch = STRETCH if known is None else known.part_size
    crcs = {} if known is None else known.crcs
    whole, damaged = crc64.EMPTY, []
    with path.open("rb") as file:
        os.fdatasync(file.fileno())
    with open_storage(path) as descriptor:
        for number, start in enumerate(range(0, size, stretch)):
            end = min(start + stretch, size)
            found = crc64_of_range(descriptor, start, end, stop)
            if crcs.get(number, found) != found:
                damaged.append((start, end))
            whole = crc64.combine(whole, found, end - start)
            progress(end, size)
    return whole, damaged
