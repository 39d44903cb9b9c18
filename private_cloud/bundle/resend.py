"""Makes just those pieces of a bundle again that the far side asks for."""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from migration.errors import InvalidInput, SourceChanged
from migration.progress import Progress, Stop, check_stop, no_progress
from migration.storage import check_free_space, storage_errors, sync_directory
from migration.workspace import Workspace
from private_cloud.bundle.far_side.manifest import Entry, Manifest, read_manifest
from private_cloud.bundle.far_side.names import (
    MANIFEST,
    MANIFEST_SUM,
    README,
    REQUEST_TITLE,
    SIGNATURE,
    SUMS,
    VERIFIER,
    chunk_name,
)
from private_cloud.bundle.kept import find_kept
from private_cloud.bundle.make import write_head

LARGEST = 64 << 20  # bytes of a request: every chunk of 60 TiB
_NUMBERS = re.compile(r"[0-9]{1,9}(?:-[0-9]{1,9})?(?:,[0-9]{1,9}(?:-[0-9]{1,9})?)*")


@dataclass(frozen=True, slots=True)
class Request:
    """What the far side lacks. `digest` begins the manifest's SHA-256; no chunks: the whole file. They count from 0."""

    digest: str
    chunks: dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resend:
    """A folder with pieces that are sent again; `size` is theirs, in bytes."""

    path: Path
    chunks: int
    size: int


def read_request(path: Path) -> Request:
    """Return what a request says, written by the verifier or typed by hand. Raises `InvalidInput`."""
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST).decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a text"
        raise InvalidInput(f"{path}: {why}", "give the resend-request.txt that verify.py wrote") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    digest = re.sub(r"[\s-]", "", lines[1].removeprefix("bundle").lower()) if len(lines) > 1 else ""
    if not lines or lines[0] != REQUEST_TITLE or not re.fullmatch("[0-9a-f]{32,64}", digest):
        raise InvalidInput(
            f"{path}: not a request for pieces of a bundle",
            f"its first lines are {REQUEST_TITLE!r} and 'bundle', with the 32 digits of the fingerprint",
        )
    chunks: dict[str, tuple[int, ...]] = {}
    for line in lines[2:]:
        name, _, numbers = line.partition(" ")
        if numbers and not _NUMBERS.fullmatch(numbers.replace(" ", "")):
            raise InvalidInput(
                f"{path}: {line!r} is no request", "it is a file's path and its chunks: images/a.raw 3,5-7"
            )
        chunks[name] = tuple(dict.fromkeys((*chunks.get(name, ()), *_parse_numbers(numbers))))
    if not chunks:
        raise InvalidInput(
            f"{path}: it asks for nothing", "below the fingerprint, name a file in each line: images/a.raw 3,5-7"
        )
    return Request(digest, chunks)


def _parse_numbers(text: str) -> list[int]:
    numbers: list[int] = []
    for part in filter(None, text.replace(" ", "").split(",")):
        first, _, last = part.partition("-")
        if int(last or first) < int(first):
            raise InvalidInput(f"{part} counts backwards", "write the lower number first")
        if int(last or first) - int(first) > 1 << 24:
            raise InvalidInput(f"{part} are more chunks than any file has", "check the numbers")
        numbers += [number - 1 for number in range(int(first), int(last or first) + 1)]
    return numbers


def make_resend(
    workspace: Workspace, request: Request, output: Path, *, progress: Progress = no_progress, stop: Stop | None = None
) -> Resend:
    """Return a folder in `output` with the chunks that are asked for, each proven, and what every volume has.

    Raises `InvalidInput` (another bundle, no such chunk, the folder is there), `SourceChanged`, `NoSpace`.
    """
    kept = find_kept(workspace, request.digest)
    data = kept.manifest.read_bytes()
    manifest = read_manifest(data)
    work = _find_chunks(manifest, request)
    total = sum(manifest.span(entry, index)[1] for entry, index in work)
    tag = hashlib.sha256(repr(sorted(request.chunks.items())).encode()).hexdigest()[:8]
    final = output.expanduser().absolute() / f"{manifest.name}.resend-{tag}"
    if final.exists():
        raise InvalidInput(f"{final} is there already", "send it, or delete it")
    partial = final.with_name(f"{final.name}.partial")
    with storage_errors(partial):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        check_free_space(partial, total, "what is to be sent again")
        sources, done, sums = kept.sources(), 0, {MANIFEST: manifest.digest}
        for entry, index in work:
            check_stop(stop)
            chunk = _read_chunk(sources[entry.path], manifest, entry, index)
            target = partial / chunk_name(entry.path, index)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(chunk)
            sums[chunk_name(entry.path, index)] = entry.chunks[index]
            done += len(chunk)
            progress(done, total)
        text = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
        signature = kept.manifest.with_name(SIGNATURE) if manifest.is_signed else None
        write_head(partial, manifest, data, kept.head(), {SUMS: text}, signature)
        partial.rename(final)
        sync_directory(final.parent)
    return Resend(path=final, chunks=len(work), size=total)


def _find_chunks(manifest: Manifest, request: Request) -> list[tuple[Entry, int]]:
    """Return the chunks that are meant; what every volume has is sent along in any case."""
    entries = {entry.path: entry for entry in manifest.files}
    always = {MANIFEST, MANIFEST_SUM, SIGNATURE, VERIFIER, README}
    work = []
    for path, chunks in request.chunks.items():
        if path in always or path.startswith(SUMS):
            continue
        entry = entries.get(path)
        if entry is None:
            raise InvalidInput(f"{path}: the bundle has no such file", "check how the request was typed")
        wrong = [index + 1 for index in chunks if not 0 <= index < len(entry.chunks)]
        if wrong:
            raise InvalidInput(
                f"{path} has {len(entry.chunks)} chunks, counted from 1, and no chunk {wrong[0]}", "check the request"
            )
        work += [(entry, index) for index in chunks or range(len(entry.chunks))]
    return work


def _read_chunk(source: Path, manifest: Manifest, entry: Entry, index: int) -> bytes:
    start, length = manifest.span(entry, index)
    chunk = b""
    if source.is_file():
        with source.open("rb") as file:
            file.seek(start)
            chunk = file.read(length)
    if hashlib.sha256(chunk).hexdigest() != entry.chunks[index]:
        raise SourceChanged(
            f"{source}: it is not what was bundled as {entry.path}, or not there any more",
            "take the piece from the bundle, if that is still there; else make a new one with `ferry bundle`",
        )
    return chunk
