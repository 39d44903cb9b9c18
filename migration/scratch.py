"""Folders for temporary files: gone when their block ends or, after a kill -9 or a power cut, at the next start.

Whoever has one holds a lock on a file in it, which the kernel drops when that process dies, however it dies. So a
folder whose lock nobody holds is left over, and the next that makes one with the same prefix removes it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from migration.errors import MigrationError
from migration.storage import is_full, no_room_for

log = logging.getLogger(__name__)

_LOCK = ".in-use"


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """Offer an empty folder that only this user can read, named `prefix` and something, for the length of the block.

    Removes what dead processes of this user have left of the same prefix. Raises `NoSpace`, `MigrationError`.
    """
    _remove_left_over(prefix)
    try:
        folder, lock = _make(prefix)
    except OSError as error:
        place = Path(tempfile.gettempdir(), prefix)
        if is_full(error):
            raise no_room_for(place) from error
        raise MigrationError(
            f"{place.parent}: no folder can be made here for temporary files: {error.strerror}",
            "make this folder writable, or choose another: TMPDIR=/path/of/folder before the same command",
        ) from error
    try:
        yield folder
    finally:
        _remove(folder)
        os.close(lock)


def _make(prefix: str) -> tuple[Path, int]:
    """Return a new folder, and the descriptor that holds its lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix))
        lock = -1
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            # Until the lock is held the folder looks left over, and another process may take it for that.
            if _try_lock(lock) is not False and _is_at(folder / _LOCK, lock):
                return folder, lock
        except FileNotFoundError:
            pass
        except BaseException:
            _remove(folder)
            if lock >= 0:
                os.close(lock)
            raise
        if lock >= 0:
            os.close(lock)


def _remove_left_over(prefix: str) -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        # Not ours to judge: links, other users' folders, and those without our kind of lock.
        with suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                if _try_lock(lock) and _is_at(folder / _LOCK, lock):
                    log.debug("removing %s, which a process that was killed has left", folder)
                    _remove(folder)
            finally:
                os.close(lock)


def _try_lock(lock: int) -> bool | None:
    """Return whether the lock is ours now; None where the file system has no locks, and nobody will hold it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    """Return whether the file that is open is still the one at `path`."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _remove(folder: Path) -> None:
    """Remove a folder whose lock we hold: the lock last, so that what a kill leaves here is known for left over too."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.name == _LOCK:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        if [path.name for path in folder.iterdir()] in ([_LOCK], []):
            (folder / _LOCK).unlink(missing_ok=True)
            folder.rmdir()
