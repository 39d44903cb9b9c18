"""Reads a medium without being led astray: no link is followed, no pipe waited for, no hole read."""

import errno
import hashlib
import os
import stat
import sys
import threading
import time
from typing import BinaryIO, Callable, Dict, Iterable, List, Tuple, TypeVar

from private_cloud.bundle.far_side.names import size_text

READ = 1 << 20
_O_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
T = TypeVar("T")


def walk(root: str) -> Dict[str, str]:
    """Return all that lies below `root`, by path: "file", "folder", "link" or "other". No link is followed."""
    found: Dict[str, str] = {}
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(os.path.join(root, folder)) as items:
            for item in items:
                path = folder + "/" + item.name if folder else item.name
                if item.is_symlink():
                    found[path] = "link"
                elif item.is_dir(follow_symlinks=False):
                    found[path] = "folder"
                    waiting.append(path)
                else:
                    found[path] = "file" if item.is_file(follow_symlinks=False) else "other"
    return found


def open_plain(path: str) -> BinaryIO:
    """Open a file that is one: no link, no pipe that would wait for a writer."""
    descriptor = os.open(path, _O_READ)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return os.fdopen(descriptor, "rb", buffering=0)


def read_small(path: str, most: int) -> bytes:
    """Return the bytes of a file, of which no more than `most` and one are read."""
    with open_plain(path) as file:
        data = bytearray()
        while len(data) <= most:
            block = file.read(min(READ, most + 1 - len(data)))
            if not block:
                break
            data += block
        return bytes(data)


def is_hole(file: BinaryIO, start: int, length: int) -> bool:
    """Return whether the range is known to hold zeros without reading it."""
    if not hasattr(os, "SEEK_DATA"):
        return False
    try:
        return os.lseek(file.fileno(), start, os.SEEK_DATA) >= start + length
    except OSError as error:
        return error.errno == errno.ENXIO and os.fstat(file.fileno()).st_size >= start + length


_zeros: Dict[int, str] = {}


def zero_digest(length: int) -> str:
    """Return the SHA-256 of so many zeros."""
    if length not in _zeros:
        _zeros[length] = hashlib.sha256(bytes(length)).hexdigest()
    return _zeros[length]


def digest_of(file: BinaryIO, start: int, length: int) -> Tuple[str, int]:
    """Return the SHA-256 of a range of a file, and how many bytes of it there were."""
    if is_hole(file, start, length):
        return zero_digest(length), length
    digest, got = hashlib.sha256(), 0
    file.seek(start)
    while got < length:
        block = file.read(min(READ, length - got))
        if not block:
            break
        digest.update(block)
        got += len(block)
    return digest.hexdigest(), got


def in_parallel(work: Iterable[T], act: Callable[[T], None], jobs: int) -> None:
    """Do `act` for each item, several at once; what one raises ends the others and is passed on."""
    source, taking, stop = iter(work), threading.Lock(), threading.Event()
    failures: List[BaseException] = []

    def toil() -> None:
        try:
            while not stop.is_set():
                with taking:
                    item = next(source)
                act(item)
        except StopIteration:
            pass
        except BaseException as error:
            failures.append(error)
            stop.set()

    crew = [threading.Thread(target=toil, daemon=True) for _ in range(max(1, jobs))]
    for one in crew:
        one.start()
    try:
        for one in crew:
            while one.is_alive():
                one.join(0.2)  # in slices, so that Ctrl-C is heard
    finally:
        stop.set()
        for one in crew:
            one.join()
    if failures:
        raise failures[0]


class Meter:
    """Says on stderr how far it is: often on a terminal, now and then elsewhere."""

    def __init__(self, what: str, total: int, quiet: bool) -> None:
        self.what, self.total, self.quiet, self.done = what, total, quiet, 0
        self.terminal = sys.stderr.isatty()
        self.lock, self.told = threading.Lock(), time.monotonic()

    def add(self, size: int) -> None:
        with self.lock:
            self.done += size
            now = time.monotonic()
            if self.quiet or not self.total or now - self.told < (0.5 if self.terminal else 10):
                return
            self.told = now
            share = 100 * self.done // self.total
            text = "%s: %d %% of %s" % (self.what, share, size_text(self.total))
            sys.stderr.write("\r%s " % text if self.terminal else text + "\n")
            sys.stderr.flush()

    def close(self) -> None:
        if self.terminal and not self.quiet:
            sys.stderr.write("\r%s\r" % (" " * 60))
