"""Knows where everything should lie, and names what lies where nothing should."""

import hashlib
import os
from typing import Dict, List, Optional, Set, Tuple

from private_cloud.bundle.far_side.look import Look, Place
from private_cloud.bundle.far_side.manifest import Manifest, Piece, manifest_sum_text, sums_text
from private_cloud.bundle.far_side.names import (
    MANIFEST,
    MANIFEST_SUM,
    REQUEST,
    SIGNATURE,
    SUMS,
    sums_name,
    volume_name,
)
from private_cloud.bundle.far_side.reading import read_small


def find_places(
    look: Look,
    manifest: Manifest,
    roots: Dict[str, str],
    found: Dict[str, Dict[str, str]],
    volume: Optional[int],
    in_volumes: bool,
) -> List[Place]:
    """Return where everything should lie that was asked for; what should lie nowhere is blamed."""
    [first, *_] = roots
    cut = {piece.path for entry in manifest.files if len(entry.pieces) > 1 for piece in entry.pieces}
    in_pieces = in_volumes or volume is not None or not cut.isdisjoint(found[first])
    in_pieces = in_pieces or (SUMS not in found[first] and any(path.startswith(SUMS) for path in found[first]))
    asked = [volume] if volume is not None else list(range(1, manifest.volumes + 1))
    places: List[Place] = []
    heads: Dict[str, Set[str]] = {}
    for root, name in roots.items():
        here = [number for number in asked if name in ("", volume_name(number) + "/")]
        sums = [sums_name(number) for number in here] if in_pieces else [sums_name(None)]
        heads[root] = check_heads(look, manifest, root, name, found[root], sums)
        if not in_volumes:  # what is left of the volumes after they were put together, or lie in one folder
            heads[root].update(sums_name(number) for number in range(1, manifest.volumes + 1))
    for entry in manifest.files:
        if not in_pieces:
            places.append(Place(first, entry, Piece(entry.path, 1, 0, entry.size, entry.sha256)))
        for piece in entry.pieces if in_pieces else ():
            root = os.path.join(look.bundle, volume_name(piece.volume)) if in_volumes else look.bundle
            if piece.volume in asked:
                places.append(Place(root, entry, piece))
    _blame_extras(look, manifest, roots, found, places, heads, volume)
    return places


def _blame_extras(
    look: Look,
    manifest: Manifest,
    roots: Dict[str, str],
    found: Dict[str, Dict[str, str]],
    places: List[Place],
    heads: Dict[str, Set[str]],
    volume: Optional[int],
) -> None:
    """Name what belongs nowhere. Where one volume is looked at, pieces of the others may lie beside it."""
    expected = {(place.root, place.piece.path) for place in places}
    unasked = {piece.path for entry in manifest.files for piece in entry.pieces} if volume is not None else set()
    for root, name in roots.items():
        here = {path for where, path in expected if where == root}
        allowed = here | heads[root] | unasked
        folders = {path.rpartition("/")[0] for path in here | unasked}
        for path, kind in sorted(found[root].items()):
            if path in allowed or (kind == "folder" and any((one + "/").startswith(path + "/") for one in folders)):
                continue
            if not any(path.startswith(other + "/") for other in here):  # what lies in a folder that should be a file
                look.blame("EXTRA", name + path, "not part of the bundle" + _twin(root, path, kind, expected))


def _twin(root: str, path: str, kind: str, expected: Set[Tuple[str, str]]) -> str:
    """Say what an additional file may be."""
    if kind == "link":
        return "; it is a symbolic link"
    elsewhere = [os.path.basename(other) for other, name in expected if name == path and other != root]
    if elsewhere:
        return "; it belongs to %s" % elsewhere[0]
    twins = [name for _, name in expected if name.lower() == path.lower()]
    return "; only its upper and lower case differ from %s" % twins[0] if twins else ""


def check_heads(
    look: Look, manifest: Manifest, root: str, name: str, found: Dict[str, str], sums: List[str]
) -> Set[str]:
    """Prove the files that every volume has; return the names that they have in one."""
    texts = {MANIFEST_SUM: manifest_sum_text(manifest.digest)}
    for one in sums:
        number = None if one == SUMS else int(one.rpartition("-")[2])
        texts[one] = sums_text(manifest, number)
    digests = {one: (len(text), hashlib.sha256(text.encode()).hexdigest()) for one, text in texts.items()}
    digests.update((one.name, (one.size, one.sha256)) for one in manifest.head)
    for one, (size, digest) in sorted(digests.items()):
        if one not in found:
            look.blame("MISSING", name + one, "not here")
            look.want(one)
        elif found[one] != "file":
            look.blame("NOT A FILE", name + one, "a %s is in its place" % found[one])
            look.want(one)
        else:
            try:
                data = read_small(os.path.join(root, one), size)
            except OSError as error:
                look.blame_error(name + one, error)
                continue
            if hashlib.sha256(data).hexdigest() != digest:
                look.blame("DAMAGED", name + one, "not what the manifest says")
                look.want(one)
    if manifest.is_signed and found.get(SIGNATURE) != "file":
        look.blame("SIGNATURE", name + SIGNATURE, "the manifest says that it is signed, and the signature is not here")
        look.want(SIGNATURE)
    return {MANIFEST, SIGNATURE, REQUEST, *digests}
