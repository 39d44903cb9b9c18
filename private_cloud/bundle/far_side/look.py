"""What is found out about a bundle, and which of its manifests the most witnesses speak for."""

import errno
import hashlib
import os
import re
import threading
from typing import Dict, Iterable, List, NamedTuple, Optional, Set, Tuple

from private_cloud.bundle.far_side.manifest import MAX_MANIFEST, Entry, Manifest, Piece, read_manifest
from private_cloud.bundle.far_side.names import (
    DAMAGED,
    MANIFEST,
    MANIFEST_SUM,
    NO_LOOK,
    SUMS,
    VOLUME_WORD,
    WHOLE,
    BadManifest,
    Refusal,
    shown,
)
from private_cloud.bundle.far_side.reading import read_small


class Problem(NamedTuple):
    """One thing that is wrong. `chunk` counts from 1, and is 0 where it is about the file; `volume` likewise."""

    kind: str
    path: str
    detail: str
    chunk: int = 0
    volume: int = 0


class Place(NamedTuple):
    """Where a piece, or a whole file, should lie."""

    root: str
    entry: Entry
    piece: Piece


class Offer(NamedTuple):
    """Where the bytes of a chunk may be had."""

    path: str
    start: int


class Look:
    """What is found out about a bundle."""

    def __init__(self, bundle: str, quiet: bool, jobs: int) -> None:
        self.bundle, self.quiet, self.jobs = bundle, quiet, jobs
        self.digest = ""
        self.manifest: Optional[Manifest] = None
        self.problems: List[Problem] = []
        self.denied: List[str] = []
        self.wanted: Dict[str, Set[int]] = {}
        self.notes: List[str] = []
        self.proven = 0
        self.lock = threading.Lock()

    def blame(self, kind: str, path: str, detail: str, chunk: int = 0, volume: int = 0) -> None:
        with self.lock:
            self.problems.append(Problem(kind, path, detail, chunk, volume))

    def want(self, path: str, chunks: Iterable[int] = ()) -> None:
        with self.lock:
            self.wanted.setdefault(path, set()).update(chunks)

    def blame_error(self, path: str, error: OSError, chunk: int = 0, volume: int = 0) -> None:
        if error.errno in (errno.EACCES, errno.EPERM):
            with self.lock:
                self.denied.append(path)
        self.blame("UNREADABLE", path, error.strerror or str(error), chunk, volume)

    @property
    def code(self) -> int:
        if not self.problems:
            return WHOLE
        denied = set(self.denied)
        return NO_LOOK if all(p.kind == "UNREADABLE" and p.path in denied for p in self.problems) else DAMAGED


def volume_folders(bundle: str) -> List[str]:
    """Return the names of the volumes that lie side by side in a folder."""
    with os.scandir(bundle) as items:
        return sorted(
            one.name for one in items if VOLUME_WORD.fullmatch(one.name) and one.is_dir(follow_symlinks=False)
        )


def find_manifest(look: Look, roots: Dict[str, str], trusted: str) -> Optional[Manifest]:
    """Return the manifest that the most witnesses speak for; what is wrong with its copies is blamed.

    `roots` are folders and what they are called in messages. Witnesses of its digest: its own digest file and those for
    sha256sum, in each folder. None: a manifest is there, and it is damaged.
    """
    copies, claims = _gather_copies(look, roots)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in copies.items()}
    for digest in digests.values():
        claims[digest] = claims.get(digest, 0)  # does not speak for itself, but is there
    there = set(digests.values())
    read_to_us = [digest for digest in claims if trusted and digest.startswith(trusted)]
    best = max(read_to_us or sorted(claims), key=lambda digest: (claims[digest], digest in there))
    look.digest = best
    manifest = None
    for name, data in sorted(copies.items()):
        if digests[name] != best:
            look.blame("MANIFEST", name, "not what its digest files, or its other copies, say that it is")
        elif manifest is None:
            try:
                manifest = read_manifest(data)
            except BadManifest as error:
                look.blame("MANIFEST", name, str(error))
                return None
    if look.problems:
        look.want(MANIFEST)
    return manifest


def _gather_copies(look: Look, roots: Dict[str, str]) -> Tuple[Dict[str, bytes], Dict[str, int]]:
    """Return the copies of the manifest, and how many files say of a digest that it is the manifest's."""
    copies: Dict[str, bytes] = {}
    claims: Dict[str, int] = {}
    for root, name in roots.items():
        for witness in sorted(os.listdir(root)):
            if witness == MANIFEST_SUM or witness.startswith(SUMS):
                claim = _claim(os.path.join(root, witness))
                claims[claim] = claims.get(claim, 0) + 1
        try:
            copies[name + MANIFEST] = read_small(os.path.join(root, MANIFEST), MAX_MANIFEST)
        except OSError as error:
            missing = error.errno == errno.ENOENT
            look.blame("MISSING" if missing else "UNREADABLE", name + MANIFEST, error.strerror or str(error))
    claims.pop("", None)
    if not copies and not claims:
        raise Refusal("%s: there is no %s here: not a bundle of Ferry" % (shown(look.bundle), MANIFEST))
    return copies, claims


def _claim(path: str) -> str:
    """Return the digest that a file for sha256sum names for the manifest, "" if none."""
    try:
        text = read_small(path, MAX_MANIFEST).decode("utf-8", "replace")
    except OSError:
        return ""
    match = re.search("^([0-9a-f]{64})  %s$" % re.escape(MANIFEST), text, re.MULTILINE)
    return match.group(1) if match else ""


def chunks_of(manifest: Manifest, place: Place) -> range:
    """Return the numbers of the chunks that lie in a place, from 0."""
    first = place.piece.start // manifest.chunk_size
    return range(first, first + -(-place.piece.size // manifest.chunk_size))


def roots_of(bundle: str) -> List[str]:
    """Return the folders of the volumes that lie side by side in a folder, or the folder itself."""
    return [os.path.join(bundle, name) for name in volume_folders(bundle)] or [bundle]
