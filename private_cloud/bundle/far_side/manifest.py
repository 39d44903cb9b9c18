"""Reads a manifest, of which no word is trusted, into what a bundle consists of."""

import hashlib
import json
import re
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from private_cloud.bundle.far_side.names import (
    FORMAT,
    MANIFEST,
    README,
    VERIFIER,
    VERSION,
    BadManifest,
    check_distinct,
    check_path,
    piece_name,
    shown,
)

MAX_MANIFEST = 256 << 20  # bytes: that of 60 TiB
MAX_CHUNK = 64 << 20  # bytes: one is held in memory for each core when chunks are put in
MAX_SIZE = 1 << 62
_HEX = re.compile(r"[0-9a-f]{64}")


class Piece(NamedTuple):
    """A stretch of a file that lies on one volume as a file of its own: all of it, or one part of several."""

    path: str
    volume: int
    start: int
    size: int
    sha256: str


class Entry(NamedTuple):
    """A file of the bundle, and the SHA-256 of each of its chunks."""

    path: str
    size: int
    sha256: str
    chunks: Tuple[str, ...]
    pieces: Tuple[Piece, ...]


class Head(NamedTuple):
    """A file that every volume has."""

    name: str
    size: int
    sha256: str


class Manifest(NamedTuple):
    """What the bundle is said to be. `digest` is the SHA-256 of the manifest itself."""

    name: str
    chunk_size: int
    volumes: int
    is_signed: bool
    head: Tuple[Head, ...]
    files: Tuple[Entry, ...]
    digest: str

    def span(self, entry: Entry, index: int) -> Tuple[int, int]:
        """Return where chunk `index` of a file begins, and its length."""
        start = index * self.chunk_size
        return start, min(self.chunk_size, entry.size - start)


def read_manifest(data: bytes) -> Manifest:
    """Return what the bytes of a manifest say, or raise `BadManifest`. They are not trusted in any way."""
    document = _parse_json(data)
    if document.get("format") != FORMAT or _whole(document, "version") != VERSION:
        raise BadManifest("not a manifest of version %d" % VERSION)
    chunk_size = _whole(document, "chunk_size")
    if not 4096 <= chunk_size <= MAX_CHUNK or chunk_size & (chunk_size - 1):
        raise BadManifest("chunk_size is no power of two between 4 KiB and 64 MiB")
    volumes = _whole(document, "volumes", least=1)
    head = tuple(_read_head(raw) for raw in _items(document, "head"))
    files = tuple(_read_entry(raw, chunk_size, volumes) for raw in _items(document, "files"))
    _check_names(head, files)
    is_signed = document.get("signature")
    if is_signed not in (None, "ssh"):
        raise BadManifest("a signature of an unknown kind")
    name = check_path(_text(document, "name"))
    digest = hashlib.sha256(data).hexdigest()
    return Manifest(name, chunk_size, volumes, is_signed is not None, head, files, digest)


def _parse_json(data: bytes) -> Dict[str, Any]:
    if len(data) > MAX_MANIFEST:
        raise BadManifest("larger than any manifest")
    try:
        document = json.loads(data.decode("utf-8"), object_pairs_hook=_no_twins, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadManifest("not JSON as it is written for bundles: %s" % error) from error
    if not isinstance(document, dict):
        raise BadManifest("not a JSON object")
    return document


def _no_twins(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise BadManifest("a key is there twice")
    return document


def _no_constant(word: str) -> None:
    raise BadManifest("%s is no number" % word)


def _whole(document: Dict[str, Any], key: str, least: int = 0) -> int:
    value = document.get(key)
    if type(value) is not int or not least <= value <= MAX_SIZE:
        raise BadManifest("%s is no whole number from %d on" % (key, least))
    return value


def _text(document: Dict[str, Any], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str):
        raise BadManifest("%s is no text" % key)
    return value


def _digest(value: object) -> str:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise BadManifest("a SHA-256 is none")
    return value


def _items(document: Dict[str, Any], key: str) -> List[Dict[str, Any]]:
    value = document.get(key)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadManifest("%s is no list of objects" % key)
    return value


def _read_head(raw: Dict[str, Any]) -> Head:
    name = _text(raw, "name")
    if name not in (VERIFIER, README):
        raise BadManifest("%s is no file that every volume has" % shown(name))
    return Head(name, _whole(raw, "size"), _digest(raw.get("sha256")))


def _read_entry(raw: Dict[str, Any], chunk_size: int, volumes: int) -> Entry:
    path, size, chunks = check_path(_text(raw, "path")), _whole(raw, "size"), raw.get("chunks")
    if not isinstance(chunks, list) or len(chunks) != -(-size // chunk_size):
        raise BadManifest("%s has another number of chunks than its size asks for" % path)
    parts, pieces, start = _items(raw, "pieces"), [], 0
    for number, part in enumerate(parts, 1):
        length, volume = _whole(part, "size"), _whole(part, "volume", least=1)
        if volume > volumes or start % chunk_size or (length == 0 and size != 0):
            raise BadManifest("%s is cut where no file is cut" % path)
        name = path if len(parts) == 1 else piece_name(path, number)
        pieces.append(Piece(name, volume, start, length, _digest(part.get("sha256"))))
        start += length
    if start != size or not pieces:
        raise BadManifest("the pieces of %s are not as large as the file" % path)
    return Entry(path, size, _digest(raw.get("sha256")), tuple(map(_digest, chunks)), tuple(pieces))


def _check_names(head: Tuple[Head, ...], files: Tuple[Entry, ...]) -> None:
    """Raise unless every name is there once."""
    if len({one.name for one in head}) != len(head):
        raise BadManifest("a file of every volume is there twice")
    names = [entry.path for entry in files]
    names += [piece.path for entry in files if len(entry.pieces) > 1 for piece in entry.pieces]
    check_distinct(names)


def sums_text(manifest: Manifest, volume: Optional[int]) -> str:
    """Return what that file says."""
    sums = {MANIFEST: manifest.digest}
    sums.update((one.name, one.sha256) for one in manifest.head)
    for entry in manifest.files:
        if volume is None:
            sums[entry.path] = entry.sha256
        else:
            sums.update((piece.path, piece.sha256) for piece in entry.pieces if piece.volume == volume)
    return "".join("%s  %s\n" % (sums[name], name) for name in sorted(sums))


def manifest_sum_text(digest: str) -> str:
    """Return what the manifest's own digest file says."""
    return "%s  %s\n" % (digest, MANIFEST)
