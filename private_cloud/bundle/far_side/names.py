"""Knows what things in a bundle are called, what may be called so, and how they are told to people."""

import re
from typing import Iterable, List, Optional

FORMAT, VERSION = "ferry-bundle", 1
MANIFEST, MANIFEST_SUM, SIGNATURE = "manifest.json", "manifest.sha256", "manifest.json.sig"
VERIFIER, README, SUMS = "verify.py", "README.txt", "SHA256SUMS"
REQUEST, REQUEST_TITLE = "resend-request.txt", "ferry-resend 1"
CHUNKS = "chunks"  # the folder of chunks that are sent again
NAMESPACE = "ferry-bundle"  # of the signature, so that none made for something else is taken for it
PARTIAL = ".partial"
WHOLE, DAMAGED, NO_LOOK, NO_SPACE, STOPPED = 0, 1, 2, 6, 130
_WORD = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._+-]{0,118}[A-Za-z0-9_+-])?")
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)  # files of no name on Windows
VOLUME_WORD = re.compile(r"volume-[0-9]{3,}")


class BadManifest(ValueError):
    """The manifest is none, or one that nobody honest wrote."""


class Refusal(Exception):
    """Nothing can be said of the bundle, or nothing done for it; `code` is the exit status."""

    def __init__(self, message: str, code: int = NO_LOOK) -> None:
        super().__init__(message)
        self.code = code


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
    if top in ours or top.startswith(SUMS.lower()) or VOLUME_WORD.fullmatch(top):
        raise BadManifest("%s has a name that bundles keep for themselves" % path)
    return path


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
