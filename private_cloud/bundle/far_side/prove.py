"""Reads every chunk and names those that are not as they should be, and why."""

import os
import threading
from typing import Dict, List, Optional, Tuple

from private_cloud.bundle.far_side.look import Look, Place, chunks_of, find_manifest, volume_folders
from private_cloud.bundle.far_side.manifest import Manifest
from private_cloud.bundle.far_side.names import DAMAGED, REQUEST, SUMS, Refusal, shown, sums_name, volume_name
from private_cloud.bundle.far_side.places import find_places
from private_cloud.bundle.far_side.reading import Meter, digest_of, in_parallel, open_plain, walk, zero_digest


def examine(look: Look, volume: Optional[int], trusted: str = "") -> None:
    """Find all that is wrong with a bundle: in one folder, in volumes side by side, or with one volume."""
    names = [name for name in volume_folders(look.bundle) if volume is None or name == volume_name(volume)]
    if not names and volume_folders(look.bundle):
        raise Refusal("%s is not in %s" % (volume_name(volume or 0), shown(look.bundle)), DAMAGED)
    roots = {os.path.join(look.bundle, name): name + "/" for name in names} or {look.bundle: ""}
    manifest = look.manifest = find_manifest(look, roots, trusted)
    if manifest is None:
        look.notes.append("without its manifest, nothing else of the bundle can be proven")
        return
    if volume is not None and volume > manifest.volumes:
        raise Refusal("the bundle has %d volumes, and no volume %d" % (manifest.volumes, volume))
    found = {root: walk(root) for root in roots}
    places = find_places(look, manifest, roots, found, volume, in_volumes=bool(names))
    if names and volume is None:
        for path in sorted(os.listdir(look.bundle)):
            if path not in names and path != REQUEST:
                look.blame("EXTRA", path, "not part of the bundle")
    prove(look, manifest, places, found)


def prove(look: Look, manifest: Manifest, places: List[Place], found: Dict[str, Dict[str, str]]) -> None:
    """Read every chunk that is there and compare it; name all that is not as it should be."""
    lost = [place for place in places if place.piece.path not in found.get(place.root, {})]
    gone = {place.piece.volume for place in lost if not _is_started(place, found)}
    for volume in sorted(gone):
        look.blame("MISSING", volume_name(volume), "the whole volume is not here", volume=volume)
    for place in lost:
        if place.piece.volume not in gone:
            look.blame("MISSING", place.piece.path, "not here" + _renamed(look, manifest, place), 0, place.piece.volume)
        look.want(place.entry.path, chunks_of(manifest, place))
    present = []
    for place in places:
        kind = found.get(place.root, {}).get(place.piece.path)
        if kind == "file" and _check_length(look, manifest, place):
            present.append(place)
        elif kind not in (None, "file"):
            what = "a symbolic link" if kind == "link" else "a folder" if kind == "folder" else "no regular file"
            look.blame("NOT A FILE", place.piece.path, "%s is in its place" % what, 0, place.piece.volume)
            look.want(place.entry.path, chunks_of(manifest, place))
    owners = _Owners(manifest)
    meter = Meter("proving", sum(place.piece.size for place in present), look.quiet)
    work = ((place, index) for place in present for index in chunks_of(manifest, place))
    in_parallel(work, lambda item: _prove_chunk(look, manifest, item[0], item[1], owners, meter), look.jobs)
    meter.close()


def _is_started(place: Place, found: Dict[str, Dict[str, str]]) -> bool:
    """Return whether anything of a piece's volume is there, so that its pieces are missed one by one."""
    here = found.get(place.root, {})
    if os.path.basename(place.root) == volume_name(place.piece.volume):
        return bool(here)
    return SUMS in here or sums_name(place.piece.volume) in here


def _check_length(look: Look, manifest: Manifest, place: Place) -> bool:
    """Blame a file for its length; return whether there is something to read."""
    path = os.path.join(place.root, place.piece.path)
    try:
        with open_plain(path) as file:
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        look.blame_error(place.piece.path, error, 0, place.piece.volume)
        look.want(place.entry.path, chunks_of(manifest, place))
        return False
    if size < place.piece.size:
        detail = "it ends after %d of %d bytes" % (size, place.piece.size)
        look.blame("TOO SHORT", place.piece.path, detail, 0, place.piece.volume)
    if size > place.piece.size:
        detail = "%d bytes too many; to mend it: truncate -s %d %s" % (
            size - place.piece.size,
            place.piece.size,
            place.piece.path,
        )
        look.blame("TOO LONG", place.piece.path, detail, 0, place.piece.volume)
    return True


def _prove_chunk(look: Look, manifest: Manifest, place: Place, index: int, owners: "_Owners", meter: Meter) -> None:
    start, length = manifest.span(place.entry, index)
    offset, path = start - place.piece.start, place.piece.path
    try:
        with open_plain(os.path.join(place.root, path)) as file:
            digest, got = digest_of(file, offset, length)
    except OSError as error:
        look.blame_error(path, error, index + 1, place.piece.volume)
        look.want(place.entry.path, [index])
        return
    meter.add(length)
    if digest == place.entry.chunks[index]:
        with look.lock:
            look.proven += length
        return
    look.want(place.entry.path, [index])
    if got < length:
        detail = "%d of %d bytes are there" % (got, length)
    elif digest == zero_digest(length):
        detail = "all zeros"
    else:
        detail = owners.name(digest)
    where = "bytes %d-%d of %s" % (start, start + length - 1, place.entry.path)
    if path != place.entry.path:
        where += ", bytes %d-%d of this part" % (offset, offset + length - 1)
    look.blame("DAMAGED", path, where + (": " + detail if detail else ""), index + 1, place.piece.volume)


class _Owners:
    """Knows which chunk has a digest: what is in the wrong place is there after all."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest, self.lock = manifest, threading.Lock()
        self.known: Optional[Dict[str, Tuple[str, int]]] = None

    def name(self, digest: str) -> str:
        with self.lock:
            if self.known is None:  # only where something is damaged is it needed
                self.known = {}
                for entry in self.manifest.files:
                    for index, one in enumerate(entry.chunks):
                        self.known.setdefault(one, (entry.path, index))
            owner = self.known.get(digest)
        return "" if owner is None else "it holds what chunk %d of %s should hold" % (owner[1] + 1, owner[0])


def _renamed(look: Look, manifest: Manifest, place: Place) -> str:
    """Say under which name a missing file lies, if one of those that are too many has its very bytes."""
    for problem in look.problems:
        if problem.kind != "EXTRA":
            continue
        try:
            with open_plain(os.path.join(look.bundle, problem.path)) as file:
                if os.fstat(file.fileno()).st_size == place.piece.size and all(
                    digest_of(
                        file,
                        manifest.span(place.entry, index)[0] - place.piece.start,
                        manifest.span(place.entry, index)[1],
                    )[0]
                    == place.entry.chunks[index]
                    for index in chunks_of(manifest, place)
                ):
                    return "; it lies here as %s" % shown(problem.path)
        except OSError:
            continue
    return ""
