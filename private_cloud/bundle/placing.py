"""Brings one file into a bundle, in its pieces, and proves it while it is read."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from migration.errors import CorruptData, SourceChanged
from migration.progress import Stop, check_stop
from migration.storage import Fingerprint, fingerprint_of, storage_errors, sync_file
from private_cloud.bundle.digests import Digests
from private_cloud.bundle.layout import Cut

FICLONE = 0x40049409  # linux/fs.h: share the blocks of a file, copy on write
BLOCK = 4 << 20
PAGE = 4096
WORTH_LINKING = 1 << 20  # bytes; below it a copy costs nothing, and is nobody else's file
_ZEROS = bytes(BLOCK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """The digests of a file that lies in the bundle; `linked` is its source's fingerprint if both are one file."""

    sha256: str
    chunks: tuple[str, ...]
    pieces: tuple[str, ...]
    linked: Fingerprint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What is to be placed: a source that must have a digest, and where each of its cuts goes."""

    source: Path
    sha256: str
    cuts: tuple[tuple[Cut, Path], ...]
    chunk_size: int
    link: bool


def place_file(work: Placement, advance: Callable[[int], None], stop: Stop | None = None) -> Proven:
    """Return the digests of the file once it lies in its places, proven to be what it should be.

    Pieces that lie there from an earlier attempt are read instead of the source, and kept if the whole then proves.
    Raises `SourceChanged` where the source is not what it was, and `NoSpace`.
    """
    kept = [target for cut, target in work.cuts if _is_there(target, cut, work)]
    proven = _place(work, advance, stop)
    if proven.sha256 != work.sha256 and kept:
        advance(-sum(cut.size for cut, _ in work.cuts))
        for target in kept:
            target.unlink()
        proven = _place(work, advance, stop)
    if proven.sha256 != work.sha256:
        for _, target in work.cuts:
            target.unlink(missing_ok=True)
        raise SourceChanged(
            f"{work.source}: it is not the file that it was when it was made: SHA-256 {proven.sha256}, and not "
            f"{work.sha256}",
            "an image: run `ferry convert` again, which makes it anew; another file: run `ferry bundle` again",
        )
    return proven


def _place(work: Placement, advance: Callable[[int], None], stop: Stop | None) -> Proven:
    linked: Fingerprint | None = None
    with ThreadPoolExecutor(max_workers=3, thread_name_prefix="digest") as pool:
        digests = Digests(pool, in_one_piece=len(work.cuts) == 1)
        for cut, target in work.cuts:
            target.parent.mkdir(parents=True, exist_ok=True)
            if _is_there(target, cut, work):
                if target.samefile(work.source):
                    linked = fingerprint_of(work.source)
                _read(target, 0, cut, work.chunk_size, digests, None, advance, stop)
                continue
            target.unlink(missing_ok=True)
            partial = target.with_name(f"{target.name}.partial")
            partial.unlink(missing_ok=True)
            is_all = len(work.cuts) == 1
            if is_all and work.link and cut.size >= WORTH_LINKING and share(work.source, partial):
                if partial.samefile(work.source):
                    linked = fingerprint_of(work.source)
                _read(partial, 0, cut, work.chunk_size, digests, None, advance, stop)
                sync_file(partial)
            else:
                with storage_errors(partial), partial.open("wb") as file:
                    _read(work.source, cut.start, cut, work.chunk_size, digests, file.fileno(), advance, stop)
                    os.ftruncate(file.fileno(), cut.size)
                    os.fsync(file.fileno())
            partial.replace(target)
    if linked is not None and fingerprint_of(work.source) != linked:
        # Renaming a link changes its ctime too, on some file systems; size and time of writing tell of writers.
        now = fingerprint_of(work.source)
        if (now.size, now.mtime_ns) != (linked.size, linked.mtime_ns):
            raise SourceChanged(f"{work.source}: something wrote to it meanwhile", "stop what uses it, then run again")
        linked = now
    return Proven(
        sha256=digests.whole(), chunks=tuple(digests.chunks), pieces=tuple(digests.pieces), linked=linked
    )  # fmt: skip


def _is_there(target: Path, cut: Cut, work: Placement) -> bool:
    if not target.is_file() or target.is_symlink() or target.stat().st_size != cut.size:
        return False
    return work.link or not target.samefile(work.source)


def share(source: Path, target: Path) -> bool:
    """Make `target` of the blocks of `source` without copying them; return whether that can be done here."""
    try:
        with source.open("rb") as given, target.open("xb") as file:
            fcntl.ioctl(file.fileno(), FICLONE, given.fileno())
    except OSError:
        target.unlink(missing_ok=True)
    else:
        return True
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        return False
    return True


def _read(
    path: Path, start: int, cut: Cut, chunk_size: int, digests: Digests, copy_to: int | None,
    advance: Callable[[int], None], stop: Stop | None,
) -> None:  # fmt: skip
    """Feed a stretch of a file to the digests, and write it to an empty file, as holes where it is zeros."""
    buffer = bytearray(min(BLOCK, chunk_size))
    with storage_errors(path), path.open("rb", buffering=0) as file:
        file.seek(start)
        done = 0
        while done < cut.size:
            check_stop(stop)
            within = (cut.start + done) % chunk_size
            length = min(len(buffer), cut.size - done, chunk_size - within)
            view = memoryview(buffer)[:length]
            got = 0
            while got < length:
                more = file.readinto(view[got:])
                if not more:
                    raise CorruptData(f"{path}: it ends after {done + got} bytes", "make it anew, then run again")
                got += more
            position = done

            def copy(length: int = length, position: int = position) -> None:
                if copy_to is not None:
                    write_sparsely(copy_to, buffer, length, position)

            digests.feed(view, copy)
            done += length
            if (cut.start + done) % chunk_size == 0:
                digests.end_chunk()
            advance(length)
    digests.end_chunk()
    digests.end_piece()


def write_sparsely(descriptor: int, buffer: bytearray, length: int, position: int) -> None:
    """Write what is not zeros, in runs of whole pages, into a file that has nothing there yet."""
    if buffer.startswith(_ZEROS[:length], 0, length):
        return
    start, view = 0, memoryview(buffer)
    while start < length:
        end = start
        while end < length and not _is_zero(buffer, end, length):
            end = min(end + PAGE, length)
        while start < end:  # a nearly full disk takes a part, and says so only then
            start += os.pwrite(descriptor, view[start:end], position + start)
        while start < length and _is_zero(buffer, start, length):
            start = min(start + PAGE, length)


def _is_zero(buffer: bytearray, start: int, length: int) -> bool:
    end = min(start + PAGE, length)
    return buffer.startswith(_ZEROS[: end - start], start, end)
