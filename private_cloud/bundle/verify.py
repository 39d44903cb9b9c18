#!/usr/bin/env python3
"""Proves a bundle of `ferry bundle`, chunk by chunk, and puts in what was sent again; needs Python 3.6 and nothing else.

    python3 verify.py                              prove the bundle that this file lies in
    python3 verify.py /mnt/disc --volume 2         prove one volume of a split bundle
    python3 verify.py --assemble /srv/b /mnt/disc  put the volumes together; once for each disc, or for all of them
    python3 verify.py --accept /mnt/stick          put in what was sent again, each chunk proven before and after

What is wrong is named, and written to resend-request.txt, from which `ferry bundle --resend` makes just those pieces.

Exit status: 0 whole; 1 something is damaged, missing, too much, or not signed as asked; 2 could not look;
6 no space; 130 stopped.
"""

import argparse
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
import time
from typing import Any, BinaryIO, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple, TypeVar

FORMAT, VERSION = "ferry-bundle", 1
MANIFEST, MANIFEST_SUM, SIGNATURE = "manifest.json", "manifest.sha256", "manifest.json.sig"
VERIFIER, README, SUMS = "verify.py", "README.txt", "SHA256SUMS"
REQUEST, REQUEST_TITLE = "resend-request.txt", "ferry-resend 1"
CHUNKS = "chunks"  # the folder of chunks that are sent again
NAMESPACE = "ferry-bundle"  # of the signature, so that none made for something else is taken for it
PARTIAL = ".partial"

MAX_MANIFEST = 256 << 20  # bytes: that of 60 TiB
MAX_CHUNK = 64 << 20  # bytes: one is held in memory for each core when chunks are put in
MAX_SIZE = 1 << 62
READ = 1 << 20
STRIDE = 64 << 10

WHOLE, DAMAGED, NO_LOOK, NO_SPACE, STOPPED = 0, 1, 2, 6, 130

_WORD = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._+-]{0,118}[A-Za-z0-9_+-])?")
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)  # files of no name on Windows
_HEX = re.compile(r"[0-9a-f]{64}")
_VOLUME = re.compile(r"volume-[0-9]{3,}")
_O_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

T = TypeVar("T")


class BadManifest(ValueError):
    """The manifest is none, or one that nobody honest wrote."""


class Refusal(Exception):
    """Nothing can be said of the bundle, or nothing done for it; `code` is the exit status."""

    def __init__(self, message: str, code: int = NO_LOOK) -> None:
        super().__init__(message)
        self.code = code


# What a bundle consists of -------------------------------------------------------------------------------------------


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


def check_path(path: str) -> str:
    """Return `path` if it is one that a bundle may hold, on any file system, or raise `BadManifest`."""
    words = path.split("/")
    if not path.isprintable() or len(path) > 400 or len(words) > 10:
        raise BadManifest("%s is no name for a file of a bundle" % shown(path[:100]))
    for word in words:
        if not _WORD.fullmatch(word) or _DEVICE.fullmatch(word) or word.lower().endswith(PARTIAL):
            raise BadManifest("%s is no name for a file of a bundle" % shown(path))
    top = words[0].lower()
    ours = {MANIFEST, MANIFEST_SUM, SIGNATURE, VERIFIER, README.lower(), REQUEST, CHUNKS}
    if top in ours or top.startswith(SUMS.lower()) or _VOLUME.fullmatch(top):
        raise BadManifest("%s has a name that bundles keep for themselves" % path)
    return path


def _check_names(head: Tuple[Head, ...], files: Tuple[Entry, ...]) -> None:
    """Raise unless every name is there once."""
    if len({one.name for one in head}) != len(head):
        raise BadManifest("a file of every volume is there twice")
    names = [entry.path for entry in files]
    names += [piece.path for entry in files if len(entry.pieces) > 1 for piece in entry.pieces]
    check_distinct(names)


def check_distinct(names: List[str]) -> None:
    """Raise unless no two names are one, nor one of them a folder of another, on a file system that ignores case."""
    taken = {name.lower() for name in names}
    if len(taken) != len(names):
        raise BadManifest("two files have the same name")
    for name in sorted(taken):
        words = name.split("/")
        if any("/".join(words[:depth]) in taken for depth in range(1, len(words))):
            raise BadManifest("%s lies in a folder that is a file" % name)


def piece_name(path: str, number: int) -> str:
    """Return the name of a part of a file that is cut."""
    return "%s.part-%04d" % (path, number)


def chunk_name(path: str, index: int) -> str:
    """Return where a chunk that is sent again lies; chunks are counted from 1 wherever people see them."""
    return "%s/%s.chunk-%06d" % (CHUNKS, path, index + 1)


def volume_name(volume: int) -> str:
    """Return the name of a volume's folder."""
    return "volume-%03d" % volume


def sums_name(volume: Optional[int]) -> str:
    """Return the name of the file for `sha256sum -c`: of one volume, or of the bundle in one folder."""
    return SUMS if volume is None else "%s.%s" % (SUMS, volume_name(volume))


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


def fingerprint(digest: str) -> str:
    """Return the first 128 bits of a digest, for reading aloud."""
    return " ".join(digest[place : place + 4] for place in range(0, 32, 4))


def shown(text: str) -> str:
    """Return `text` with everything escaped that a terminal might obey."""
    return text.encode("unicode_escape").decode("ascii")


def ranges_text(numbers: Iterable[int]) -> str:
    """Return numbers as people write them: `3,17-20`."""
    runs: List[List[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else "%d-%d" % (first, last) for first, last in runs)


def size_text(size: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return "%.0f B" % size if unit == "B" else "%.1f %s" % (size, unit)
        size /= 1024
    return "%.1f TiB" % size


# Reading without being led astray ------------------------------------------------------------------------------------


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


# The judgement -------------------------------------------------------------------------------------------------------


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
        return sorted(one.name for one in items if _VOLUME.fullmatch(one.name) and one.is_dir(follow_symlinks=False))


def find_manifest(look: Look, roots: Dict[str, str], trusted: str) -> Optional[Manifest]:
    """Return the manifest that the most witnesses speak for; what is wrong with its copies is blamed.

    `roots` are folders and what they are called in messages. Witnesses of its digest: its own digest file and those for
    sha256sum, in each folder. None: a manifest is there, and it is damaged.
    """
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


def _claim(path: str) -> str:
    """Return the digest that a file for sha256sum names for the manifest, "" if none."""
    try:
        text = read_small(path, MAX_MANIFEST).decode("utf-8", "replace")
    except OSError:
        return ""
    match = re.search("^([0-9a-f]{64})  %s$" % re.escape(MANIFEST), text, re.MULTILINE)
    return match.group(1) if match else ""


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
    in_pieces = in_pieces or (manifest.volumes > 1 and SUMS not in found[first] and sums_name(1) in found[first])
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
    expected = {(place.root, place.piece.path) for place in places}
    for root, name in roots.items():
        unasked = {piece.path for entry in manifest.files for piece in entry.pieces} if volume is not None else set()
        folders = {path.rpartition("/")[0] for where, path in expected if where == root}
        folders.update({path.rpartition("/")[0] for path in unasked})
        for path, kind in sorted(found[root].items()):
            if kind == "folder" and any(one == path or one.startswith(path + "/") for one in folders):
                continue
            if (root, path) not in expected and path not in heads[root] and path not in unasked:
                if not any(path.startswith(other + "/") for other in found[root] if (root, other) in expected):
                    look.blame("EXTRA", name + path, "not part of the bundle" + _twin(root, path, kind, expected))
    return places


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


def prove(look: Look, manifest: Manifest, places: List[Place], found: Dict[str, Dict[str, str]]) -> None:
    """Read every chunk that is there and compare it; name all that is not as it should be."""
    lost = [place for place in places if place.piece.path not in found.get(place.root, {})]
    gone = {place.piece.volume for place in lost if not _is_started(place, found)}
    for volume in sorted(gone):
        look.blame("MISSING", volume_name(volume), "the whole volume is not here", volume=volume)
    for place in lost:
        if place.piece.volume not in gone:
            look.blame("MISSING", place.piece.path, "not here" + _renamed(look, manifest, place), 0, place.piece.volume)
        look.want(place.entry.path, _chunks_of(manifest, place))
    present = []
    for place in places:
        kind = found.get(place.root, {}).get(place.piece.path)
        if kind == "file" and _check_length(look, manifest, place):
            present.append(place)
        elif kind not in (None, "file"):
            what = "a symbolic link" if kind == "link" else "a folder" if kind == "folder" else "no regular file"
            look.blame("NOT A FILE", place.piece.path, "%s is in its place" % what, 0, place.piece.volume)
            look.want(place.entry.path, _chunks_of(manifest, place))
    owners = _Owners(manifest)
    meter = Meter("proving", sum(place.piece.size for place in present), look.quiet)
    work = ((place, index) for place in present for index in _chunks_of(manifest, place))
    in_parallel(work, lambda item: _prove_chunk(look, manifest, item[0], item[1], owners, meter), look.jobs)
    meter.close()


def _is_started(place: Place, found: Dict[str, Dict[str, str]]) -> bool:
    """Return whether anything of a piece's volume is there, so that its pieces are missed one by one."""
    here = found.get(place.root, {})
    if os.path.basename(place.root) == volume_name(place.piece.volume):
        return bool(here)
    return SUMS in here or sums_name(place.piece.volume) in here


def _chunks_of(manifest: Manifest, place: Place) -> range:
    first = place.piece.start // manifest.chunk_size
    return range(first, first + -(-place.piece.size // manifest.chunk_size))


def _check_length(look: Look, manifest: Manifest, place: Place) -> bool:
    """Blame a file for its length; return whether there is something to read."""
    path = os.path.join(place.root, place.piece.path)
    try:
        with open_plain(path) as file:
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        look.blame_error(place.piece.path, error, 0, place.piece.volume)
        look.want(place.entry.path, _chunks_of(manifest, place))
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
                    for index in _chunks_of(manifest, place)
                ):
                    return "; it lies here as %s" % shown(problem.path)
        except OSError:
            continue
    return ""


# The signature -------------------------------------------------------------------------------------------------------


def check_signature(look: Look, allowed: Optional[str], signer: str) -> None:
    """Have ssh-keygen check the signature, if we know whom to trust; else say that nobody did."""
    manifest = look.manifest
    if manifest is None:
        return
    root = next(iter(_roots(look.bundle)))
    path = os.path.join(root, SIGNATURE)
    there = os.path.isfile(path) and not os.path.islink(path)
    if allowed is None:
        if there or manifest.is_signed:
            look.notes.append("signature: NOT CHECKED; --allowed-signers FILE checks it")
        else:
            look.notes.append("signature: none; compare the fingerprint with the one that the sender reads to you")
        return
    if not os.path.isfile(allowed):
        raise Refusal("%s: there is no such file; it should list who may sign" % shown(allowed))
    if not there:
        look.blame("SIGNATURE", SIGNATURE, "the bundle is not signed")
        return
    data = read_small(os.path.join(root, MANIFEST), MAX_MANIFEST)
    if hashlib.sha256(data).hexdigest() != manifest.digest:
        look.blame("SIGNATURE", SIGNATURE, "the manifest beside it is not the one that was proven")
        return
    who = signer
    if not who:
        code, said = _ssh_keygen(["-Y", "find-principals", "-s", path, "-f", allowed], b"")
        who = said.splitlines()[0] if code == 0 and said else ""
        if not who:
            look.blame("SIGNATURE", SIGNATURE, "made by none of those in %s" % shown(allowed))
            return
    code, said = _ssh_keygen(["-Y", "verify", "-f", allowed, "-I", who, "-n", NAMESPACE, "-s", path], data)
    if code == 0:
        look.notes.append("signature: good, by %s" % shown(who))
    else:
        look.blame("SIGNATURE", SIGNATURE, "not a good signature of this manifest: %s" % shown(said[-200:]))


def _ssh_keygen(words: List[str], data: bytes) -> Tuple[int, str]:
    try:
        done = subprocess.run(["ssh-keygen"] + words, input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except FileNotFoundError:
        raise Refusal("ssh-keygen is not installed here, so that no signature can be checked (OpenSSH 8.2 has it)")
    return done.returncode, done.stdout.decode("utf-8", "replace").strip()


def _roots(bundle: str) -> List[str]:
    return [os.path.join(bundle, name) for name in volume_folders(bundle)] or [bundle]


# Putting in what was sent again, and putting volumes together --------------------------------------------------------


class Offer(NamedTuple):
    """Where the bytes of a chunk may be had."""

    path: str
    start: int


def find_offers(manifest: Manifest, sources: List[str]) -> Dict[Tuple[str, int], List[Offer]]:
    """Return where each chunk lies in the folders: as itself, in a part, or in its file."""
    offers: Dict[Tuple[str, int], List[Offer]] = {}
    for source in sources:
        for root in _roots(source):
            files = {path for path, kind in walk(root).items() if kind == "file"}
            for entry in manifest.files:
                whole = Piece(entry.path, 1, 0, entry.size, entry.sha256)
                for piece in entry.pieces if len(entry.pieces) == 1 else entry.pieces + (whole,):
                    if piece.path in files:
                        for index in _chunks_of(manifest, Place(root, entry, piece)):
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
    with hold(bundle):
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
        _take_chunks(look, manifest, offers)
        _finish(look, manifest, {path for path, _ in offers})


class hold:
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
        for root in _roots(source):
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
    roots = [root for source in sources for root in _roots(source)]
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


def _take_chunks(look: Look, manifest: Manifest, offers: Dict[Tuple[str, int], List[Offer]]) -> None:
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


def _finish(look: Look, manifest: Manifest, touched: Set[str]) -> None:
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
    """Return the chunks that are not there: holes where data should be, and if there are none, all that do not prove."""
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


# What is said of it --------------------------------------------------------------------------------------------------


def request_text(look: Look) -> str:
    """Return what to ask for again; short enough to be typed, where nothing may leave the far side."""
    lines = [REQUEST_TITLE, "bundle %s" % fingerprint(look.digest).replace(" ", "")]
    for path, chunks in sorted(look.wanted.items()):
        lines.append("%s %s" % (path, ranges_text(index + 1 for index in chunks)) if chunks else path)
    return "\n".join(lines) + "\n"


def report(look: Look, as_json: bool, request: str) -> None:
    """Print what was found, and write the request."""
    problems = sorted(look.problems, key=lambda one: (one.path, one.chunk, one.kind))
    if look.wanted:
        try:
            with open(request, "w", encoding="ascii") as file:
                file.write(request_text(look))
        except OSError as error:
            look.notes.append(
                "%s could not be written (%s); it would say what stands below" % (request, error.strerror)
            )
            look.notes.append(request_text(look).strip())
    if as_json:
        print(
            json.dumps(
                {
                    "whole": look.code == WHOLE,
                    "exit_code": look.code,
                    "manifest_sha256": look.digest,
                    "notes": look.notes,
                    "proven_bytes": look.proven,
                    "problems": [one._asdict() for one in problems],
                    "request": request_text(look) if look.wanted else "",
                },
                indent=1,
            )
        )
        return
    manifest = look.manifest
    if manifest is not None:
        total = size_text(sum(entry.size for entry in manifest.files))
        print("bundle %s: %d files, %s, %d volume(s)" % (manifest.name, len(manifest.files), total, manifest.volumes))
        print("fingerprint: %s" % fingerprint(manifest.digest))
    for note in look.notes:
        print(note)
    for one in problems:
        chunk = " chunk %d" % one.chunk if one.chunk else ""
        volume = " (volume %d)" % one.volume if one.volume and manifest and manifest.volumes > 1 else ""
        print("%s: %s%s%s: %s" % (one.kind, shown(one.path), chunk, volume, one.detail))
    if look.code == WHOLE:
        print("WHOLE: every chunk that was asked for is proven, %s" % size_text(look.proven))
    else:
        print("NOT WHOLE: %d problem(s), %s proven" % (len(problems), size_text(look.proven)))
        if look.wanted:
            print("to ask for it again: ferry bundle --resend %s" % shown(request))


def parse_arguments(argv: Optional[List[str]]) -> argparse.Namespace:
    """Return what the command line asks for."""
    about, _, epilog = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=about, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folders", nargs="*", metavar="FOLDER", help="the bundle; the one this file is in, if not given"
    )
    parser.add_argument(
        "--accept", action="append", default=[], metavar="FOLDER", help="put in what it has of the bundle"
    )
    parser.add_argument("--assemble", metavar="OUT", help="put the volumes in the FOLDERs together in OUT")
    parser.add_argument("--volume", type=int, metavar="N", help="look at this volume only")
    parser.add_argument("--allowed-signers", metavar="FILE", help="check the signature, as ssh-keygen -Y does")
    parser.add_argument(
        "--signer", default="", metavar="WHO", help="who must have signed; any in that file, if not given"
    )
    parser.add_argument("--fingerprint", default="", metavar="HEX", help="what the sender read to you")
    parser.add_argument("--request", default=REQUEST, metavar="FILE", help="where to write what to ask for again")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="chunks at once; 1 is best for a disc")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    options = parser.parse_args(argv)
    if options.accept and (options.assemble or len(options.folders) > 1):
        parser.error("--accept works on one bundle")
    if options.assemble is None and len(options.folders) > 1:
        parser.error("one bundle at a time; --assemble puts several folders together")
    if options.volume is not None and (options.volume < 1 or options.accept or options.assemble):
        parser.error("--volume is for looking at one volume, counted from 1")
    return options


def run(options: argparse.Namespace) -> int:
    """Do what was asked for and return the exit status."""
    here = os.path.dirname(os.path.abspath(__file__))
    sources, folders = list(options.accept), options.folders or [here]
    bundle = folders[0]
    if options.assemble is not None:
        bundle, sources = options.assemble, folders
    look = Look(bundle, options.quiet or options.json, options.jobs)
    asked = re.sub("[^0-9a-f]", "", options.fingerprint.lower())
    if options.fingerprint and len(asked) < 32:
        raise Refusal("a fingerprint has 32 digits and letters (0-9, a-f), and this one %d" % len(asked))
    if sources:
        accept(look, sources, asked[:32])
    elif not os.path.isdir(bundle):
        raise Refusal("%s: there is no such folder" % shown(bundle))
    if not look.problems:
        examine(look, options.volume, asked[:32])
        check_signature(look, options.allowed_signers, options.signer)
    else:
        look.manifest = find_manifest(Look(bundle, True, 1), {bundle: ""}, "")
        look.digest = look.manifest.digest if look.manifest else ""
    if asked and not look.digest.startswith(asked[:32]):
        look.blame("FINGERPRINT", MANIFEST, "it is %s, and not the one that was read to you" % fingerprint(look.digest))
    report(look, options.json, options.request)
    return look.code


def main(argv: Optional[List[str]] = None) -> int:
    """Run the command line; whatever keeps us from looking is a message, and no traceback."""
    options = parse_arguments(argv)
    try:
        return run(options)
    except Refusal as error:
        message, code = str(error), error.code
    except KeyboardInterrupt:
        message, code = "stopped; the same command goes on from here", STOPPED
    except OSError as error:
        full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", -1), errno.EFBIG)
        message, code = "%s: %s" % (shown(str(error.filename or "")), error.strerror), NO_SPACE if full else NO_LOOK
    if options.json:
        print(json.dumps({"whole": False, "exit_code": code, "error": message}, indent=1))
    sys.stderr.write("verify: %s\n" % message)
    return code


if __name__ == "__main__":
    sys.exit(main())
