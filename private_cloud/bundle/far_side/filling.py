"""Writes chunks in their places, proven before and after; a file gets its name once all of it is proven."""

import hashlib
import os
from typing import Dict, List, Optional, Set, Tuple

from private_cloud.bundle.far_side.look import Look, Offer
from private_cloud.bundle.far_side.manifest import Entry, Manifest
from private_cloud.bundle.far_side.names import PARTIAL, ranges_text, shown
from private_cloud.bundle.far_side.reading import Meter, digest_of, in_parallel, is_hole, open_plain, zero_digest

STRIDE = 64 << 10


def take_chunks(look: Look, manifest: Manifest, offers: Dict[Tuple[str, int], List[Offer]]) -> None:
    entries = {entry.path: entry for entry in manifest.files}
    work = sorted(offers)
    meter = Meter("putting in", sum(manifest.span(entries[path], index)[1] for path, index in work), look.quiet)
    for path in sorted({path for path, _ in work} | {entry.path for entry in manifest.files if not entry.size}):
        whole = os.path.join(look.bundle, path)
        os.makedirs(os.path.dirname(whole), exist_ok=True)
        if not os.path.exists(whole):
            with open(whole + PARTIAL, "ab") as file:
                file.truncate(entries[path].size)

    def take(item: Tuple[str, int]) -> None:
        path, index = item
        start, length = manifest.span(entries[path], index)
        target = os.path.join(look.bundle, path)
        target = target if os.path.exists(target) else target + PARTIAL
        digest = entries[path].chunks[index]
        with open_plain(target) as file:
            known = digest_of(file, start, length)
        if known != (digest, length):
            problem = _take_one(target, start, length, digest, offers[item])
            if problem:
                look.blame("DAMAGED", path, "what was sent of it is not what was asked for: " + problem, index + 1)
                look.want(path, [index])
        meter.add(length)

    in_parallel(work, take, look.jobs)
    meter.close()


def _take_one(target: str, start: int, length: int, digest: str, offers: List[Offer]) -> str:
    """Write a chunk in its place if one of the offers is the right one; return what is wrong with the last if none."""
    problem = ""
    for offer in offers:
        try:
            with open_plain(offer.path) as file:
                file.seek(offer.start)
                data = bytearray()
                while len(data) < length:
                    block = file.read(length - len(data))
                    if not block:
                        break
                    data += block
        except OSError as error:
            problem = "%s: %s" % (shown(offer.path), error.strerror)
            continue
        if hashlib.sha256(data).hexdigest() != digest:
            problem = "%s: another SHA-256" % shown(offer.path)
            continue
        _write(target, start, data)
        return ""
    return problem


def _write(target: str, start: int, data: bytearray) -> None:
    """Write a chunk; zeros where there is a hole stay one."""
    with open(target, "r+b", buffering=0) as file:
        empty = is_hole(file, start, len(data))
        for place in range(0, len(data), STRIDE):
            view = memoryview(data)[place : place + STRIDE]
            if empty and data.startswith(bytes(len(view)), place):
                continue
            file.seek(start + place)
            while view:  # a nearly full disk takes a part, and says so only then
                view = view[file.write(view) :]


def finish(look: Look, manifest: Manifest, touched: Set[str]) -> None:
    """Flush what was written; give those files their names that are whole now, read back from storage."""
    for entry in manifest.files:
        whole = os.path.join(look.bundle, entry.path)
        if os.path.exists(whole):
            if entry.path in touched:
                flush(whole, entry.size if os.path.getsize(whole) > entry.size else None)
            continue
        if not os.path.exists(whole + PARTIAL):
            look.blame("MISSING", entry.path, "not here yet")
            look.want(entry.path, range(len(entry.chunks)))
            continue
        flush(whole + PARTIAL, entry.size)
        missing = _missing_chunks(look, manifest, entry, whole + PARTIAL)
        if missing:
            detail = "chunks %s are not here yet" % ranges_text(index + 1 for index in missing)
            look.blame("MISSING", entry.path, detail)
            look.want(entry.path, missing)
            continue
        os.replace(whole + PARTIAL, whole)
        sync_folder(os.path.dirname(whole))


def _missing_chunks(look: Look, manifest: Manifest, entry: Entry, path: str) -> List[int]:
    """Return the chunks that are not there: holes where data should be, and if there are none, what does not prove."""
    missing: List[int] = []
    with open_plain(path) as file:
        for index, digest in enumerate(entry.chunks):
            start, length = manifest.span(entry, index)
            if digest != zero_digest(length) and is_hole(file, start, length):
                missing.append(index)
    if missing:
        return missing

    def check(index: int) -> None:
        with open_plain(path) as file:
            if digest_of(file, *manifest.span(entry, index))[0] != entry.chunks[index]:
                missing.append(index)

    in_parallel(range(len(entry.chunks)), check, look.jobs)
    return sorted(missing)


def flush(path: str, size: Optional[int]) -> None:
    """Bring a file to stable storage and forget it, so that it is read from there; cut it to `size` first."""
    with open(path, "r+b", buffering=0) as file:
        if size is not None:
            file.truncate(size)
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def sync_folder(path: str) -> None:
    """Make a rename survive a power cut, where the system can do that."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
