"""Knows how a file becomes durable, how to tell that one has changed, and what a full disk means to an operator."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from migration.errors import MigrationError, NoSpace
from migration.progress import Stop, check_stop

# EFBIG: more than the file system, or a limit on this process, lets one file have.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_WORDS = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT))
MORE_SPACE = (
    "free some space or put the workspace on a larger disk, then run the same command again: what is finished is kept"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """Changes whenever someone writes to a file. `size` is bytes.

    Tools set the time of modification back; that of the last change of the inode they cannot. It changes with a copy
    or a move to another file system too: then a file is read once more than it had to be.
    """

    size: int
    mtime_ns: int
    ctime_ns: int = 0  # of what an earlier version recorded, and so equal to none


def find_fingerprint(path: Path) -> Fingerprint | None:
    """Return the fingerprint of the file at `path`, None where there is no file."""
    return fingerprint_of(path) if path.is_file() else None


def fingerprint_of(path: Path) -> Fingerprint:
    """Return the fingerprint of a file that is there."""
    status = path.stat()
    return Fingerprint(size=status.st_size, mtime_ns=status.st_mtime_ns, ctime_ns=status.st_ctime_ns)


def sha256_of_file(path: Path, *, on_share: Callable[[float], None] | None = None, stop: Stop | None = None) -> str:
    """Return the SHA-256 of the file at `path`; `on_share` is told how much of it is read, from 0.0 to 1.0."""
    digest, done, size = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(1 << 20):
            check_stop(stop)
            digest.update(chunk)
            done += len(chunk)
            if on_share is not None:
                on_share(done / size)
    return digest.hexdigest()


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says of the storage under `path` into a `MigrationError`."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise disk_full(path, error) from error
        raise MigrationError(
            f"{error.filename or path}: {error.strerror or error}", "check the storage under the workspace"
        ) from error


def is_full(error: OSError) -> bool:
    """Return whether `error` says that there is no room: on the disk, in our quota, in one file."""
    return error.errno in _FULL


def says_full(said: str) -> bool:
    """Return whether a program says so of the storage it wrote to."""
    return any(words in said for words in _FULL_WORDS)


def disk_full(path: Path, why: OSError | str) -> NoSpace:
    """Return the error for storage under `path` that has no room; nothing that is finished is lost by it."""
    return NoSpace(f"{path}: {why.strerror if isinstance(why, OSError) else why}", MORE_SPACE)


def no_room_for(file: Path) -> NoSpace:
    """Return the error for a file that found no room beside a disk, or in the folder for temporary files."""
    temporary = Path(tempfile.gettempdir())
    if temporary not in file.absolute().parents:
        return disk_full(file.parent, "no space is left here, or in our quota")
    return NoSpace(
        f"{temporary}: no space is left in this folder for temporary files, or in our quota there",
        "free some space, or choose a folder on a larger disk: TMPDIR=/path/of/folder before the same command",
    )


def check_free_space(directory: Path, needed: int, purpose: str) -> None:
    """Raise `NoSpace` if the file system of `directory` has fewer than `needed` bytes left for us."""
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise NoSpace(f"{directory}: {purpose} needs {format_size(needed)}, {format_size(free)} are free", MORE_SPACE)


def write_atomically(path: Path, text: str) -> None:
    """Replace the file at `path` by `text`, whole or not at all, and on stable storage. Raises `NoSpace`."""
    partial = path.with_name(f".{path.name}.partial")
    with storage_errors(path):
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_directory(path.parent)


def allocated(path: Path) -> int:
    """Return how many bytes the file takes on disk, holes not counted."""
    return path.stat().st_blocks * 512  # of 512 bytes whatever the file system's (POSIX stat)


def sync_file(path: Path) -> None:
    """Bring what was written to a file to stable storage, by whomever. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(directory: Path) -> None:
    """Make a rename inside `directory` survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def format_size(size: float) -> str:
    """Return a number of bytes for people: `1.5 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def format_share(part: int, whole: int) -> str:
    """Return how much of `whole` bytes `part` is, for people: `21.0 MiB of 3.0 GiB (0.7 %)`."""
    return f"{format_size(part)} of {format_size(whole)} ({100 * part / whole:.2g} %)"
