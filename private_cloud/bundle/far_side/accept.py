"""Puts in what was sent again, and puts volumes together: finds what is offered, and sees that it may go in."""

import hashlib
import os
import shutil
from typing import Dict, List, Optional, Tuple

from private_cloud.bundle.far_side.filling import finish, take_chunks
from private_cloud.bundle.far_side.look import Look, Offer, Place, chunks_of, find_manifest, roots_of, volume_folders
from private_cloud.bundle.far_side.manifest import MAX_MANIFEST, Manifest, Piece, manifest_sum_text, sums_text
from private_cloud.bundle.far_side.names import (
    DAMAGED,
    MANIFEST,
    MANIFEST_SUM,
    NO_SPACE,
    PARTIAL,
    REQUEST,
    SIGNATURE,
    SUMS,
    Refusal,
    chunk_name,
    fingerprint,
    shown,
    size_text,
)
from private_cloud.bundle.far_side.reading import read_small, walk, zero_digest


def find_offers(manifest: Manifest, sources: List[str]) -> Dict[Tuple[str, int], List[Offer]]:
    """Return where each chunk lies in the folders: as itself, in a part, or in its file."""
    offers: Dict[Tuple[str, int], List[Offer]] = {}
    for source in sources:
        for root in roots_of(source):
            files = {path for path, kind in walk(root).items() if kind == "file"}
            for entry in manifest.files:
                whole = Piece(entry.path, 1, 0, entry.size, entry.sha256)
                for piece in entry.pieces if len(entry.pieces) == 1 else (*entry.pieces, whole):
                    if piece.path in files:
                        for index in chunks_of(manifest, Place(root, entry, piece)):
                            offer = Offer(os.path.join(root, piece.path), index * manifest.chunk_size - piece.start)
                            offers.setdefault((entry.path, index), []).append(offer)
                for index in range(len(entry.chunks)):
                    if chunk_name(entry.path, index) in files:
                        offer = Offer(os.path.join(root, chunk_name(entry.path, index)), 0)
                        offers.setdefault((entry.path, index), []).insert(0, offer)
    return offers


def accept(look: Look, sources: List[str], trusted: str) -> None:
    """Put into the bundle what the folders have of it and it lacks; a file gets its name once all of it is proven."""
    bundle = look.bundle
    for source in sources:
        if not os.path.isdir(source):
            raise Refusal("%s: there is no such folder" % shown(source))
        if os.path.realpath(source) == os.path.realpath(bundle):
            raise Refusal("%s is the bundle itself: name another folder to put it together in" % shown(source))
    os.makedirs(bundle, exist_ok=True)
    with Hold(bundle):
        manifest, data, first = _agree(look, sources, trusted)
        cut = {piece.path for entry in manifest.files if len(entry.pieces) > 1 for piece in entry.pieces}
        if volume_folders(bundle) or not cut.isdisjoint(walk(bundle)):
            raise Refusal(
                "%s holds volumes: name another folder with --assemble, and this one as what it is made from"
                % shown(bundle)
            )
        _check_ground(bundle, manifest)
        offers = find_offers(manifest, sources)
        _check_room(bundle, manifest, offers)
        _take_heads(bundle, manifest, data, first, sources)
        take_chunks(look, manifest, offers)
        finish(look, manifest, {path for path, _ in offers})


class Hold:
    """Keeps two of us from writing into one bundle, where the system can do that."""

    def __init__(self, bundle: str) -> None:
        self.bundle, self.descriptor = bundle, -1

    def __enter__(self) -> None:
        try:
            import fcntl
        except ImportError:  # Windows
            return
        self.descriptor = os.open(self.bundle, os.O_RDONLY)
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self.descriptor)
            raise Refusal("%s: another run is writing here" % shown(self.bundle))
        except OSError:  # a file system without locks
            pass

    def __exit__(self, *_: object) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


def _agree(look: Look, sources: List[str], trusted: str) -> Tuple[Manifest, bytes, str]:
    """Return the one manifest that the bundle and the folders have, its bytes, and the folder it was found in."""
    fresh = MANIFEST not in os.listdir(look.bundle) and MANIFEST_SUM not in os.listdir(look.bundle)
    target = Look(look.bundle, True, 1)
    expected = trusted
    if not fresh:
        find_manifest(target, {look.bundle: ""}, trusted)
        expected = target.digest
    elif [name for name in os.listdir(look.bundle) if name != REQUEST]:
        raise Refusal("%s is not empty and no bundle: name an empty folder, or a new one" % shown(look.bundle))
    chosen: Optional[Tuple[Manifest, bytes, str]] = None
    for source in sources:
        for root in roots_of(source):
            other = Look(root, True, 1)
            found = find_manifest(other, {root: ""}, expected)
            if found is None:
                raise Refusal("%s: its manifest is damaged" % shown(root), DAMAGED)
            if not found.digest.startswith(expected):
                raise Refusal(
                    "%s belongs to another bundle: %s, and not %s"
                    % (shown(root), fingerprint(found.digest), fingerprint(expected)),
                    DAMAGED,
                )
            expected = found.digest
            chosen = chosen or (found, read_small(os.path.join(root, MANIFEST), MAX_MANIFEST), root)
    assert chosen is not None
    return chosen


def _check_ground(bundle: str, manifest: Manifest) -> None:
    """Refuse to write where something else than a file or a folder of ours would be written through."""
    found = walk(bundle)
    names = [MANIFEST, MANIFEST_SUM, SIGNATURE, SUMS, *(one.name for one in manifest.head)]
    for entry in manifest.files:
        names += [entry.path, entry.path + PARTIAL]
    for name in names:
        words = name.split("/")
        for depth in range(1, len(words) + 1):
            path = "/".join(words[:depth])
            if found.get(path, "file" if depth == len(words) else "folder") != (
                "file" if depth == len(words) else "folder"
            ):
                raise Refusal("%s: a %s is in its place; move it away" % (path, found[path]), DAMAGED)


def _check_room(bundle: str, manifest: Manifest, offers: Dict[Tuple[str, int], List[Offer]]) -> None:
    needed = 0
    for entry in manifest.files:
        path = os.path.join(bundle, entry.path)
        if os.path.exists(path) or not any((entry.path, index) in offers for index in range(len(entry.chunks))):
            continue
        spans = [(manifest.span(entry, index)[1], digest) for index, digest in enumerate(entry.chunks)]
        size = sum(length for length, digest in spans if digest != zero_digest(length))
        if os.path.exists(path + PARTIAL):
            size -= getattr(os.stat(path + PARTIAL), "st_blocks", 0) * 512
        needed += max(0, size)
    free = shutil.disk_usage(bundle).free
    if free < needed:
        raise Refusal("%s: %s are needed, %s are free" % (shown(bundle), size_text(needed), size_text(free)), NO_SPACE)


def _take_heads(bundle: str, manifest: Manifest, data: bytes, first: str, sources: List[str]) -> None:
    texts = {
        MANIFEST: data,
        MANIFEST_SUM: manifest_sum_text(manifest.digest).encode(),
        SUMS: sums_text(manifest, None).encode(),
    }
    roots = [root for source in sources for root in roots_of(source)]
    for one in manifest.head:
        for root in roots:
            try:
                found = read_small(os.path.join(root, one.name), one.size)
            except OSError:
                continue
            if hashlib.sha256(found).hexdigest() == one.sha256:
                texts[one.name] = found
                break
    if manifest.is_signed:
        try:
            texts[SIGNATURE] = read_small(os.path.join(first, SIGNATURE), 1 << 16)
        except OSError:
            pass
    for name, content in sorted(texts.items()):
        path = os.path.join(bundle, name)
        try:
            if read_small(path, len(content)) == content:
                continue
        except OSError:
            pass
        with open(path + PARTIAL, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(path + PARTIAL, path)
