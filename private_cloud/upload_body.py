"""Streams a file as the body of a request, and knows the digests of exactly what was sent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from migration.errors import SourceChanged
from migration.progress import Progress, Stop, check_stop, no_progress
from migration.storage import Fingerprint, fingerprint_of, storage_errors

CHUNK = 1 << 20


class UploadBody:
    """The bytes of a file, as an iterable with a length: a request sends it in chunks, with a Content-Length.

    Each iteration starts at the beginning, with digests of its own: after a redirect or a renewed token the request is
    sent again. The last chunk is given away only when the file turned out to be what was promised, so that a
    server never gets all of a wrong one.
    """

    def __init__(
        self, path: Path, *, sha256: str, progress: Progress = no_progress, stop: Stop | None = None,
    ) -> None:  # fmt: skip
        self.path, self._expected = path, sha256
        self._progress, self._stop = progress, stop
        with storage_errors(path):
            self._before: Fingerprint = fingerprint_of(path)
        self.sent = 0
        self.sha512 = ""  # of what was sent, once all of it was

    def __len__(self) -> int:
        return self._before.size

    def __iter__(self) -> Iterator[bytes]:
        sha256, sha512, size = hashlib.sha256(), hashlib.sha512(), self._before.size
        self.sent, self.sha512 = 0, ""
        with storage_errors(self.path), self.path.open("rb", buffering=0) as file:
            while self.sent < size:
                check_stop(self._stop)
                chunk = file.read(min(CHUNK, size - self.sent))
                if not chunk:
                    raise _changed(self.path)
                sha256.update(chunk)
                sha512.update(chunk)
                if self.sent + len(chunk) == size:
                    self._check(sha256.hexdigest())
                    self.sha512 = sha512.hexdigest()
                yield chunk
                self.sent += len(chunk)
                self._progress(self.sent, size)

    def _check(self, sha256: str) -> None:
        if fingerprint_of(self.path) != self._before or sha256 != self._expected:
            raise _changed(self.path)


def digest_of(path: Path, algorithm: str, stop: Stop | None = None, progress: Progress = no_progress) -> str:
    """Return the digest of a file by the name that hashlib has for the algorithm. Raises ValueError for none."""
    digest, done = hashlib.new(algorithm, usedforsecurity=False), 0
    with storage_errors(path), path.open("rb", buffering=0) as file:
        size = path.stat().st_size
        while chunk := file.read(CHUNK):
            check_stop(stop)
            digest.update(chunk)
            done += len(chunk)
            progress(done, size)
    return digest.hexdigest()


def _changed(path: Path) -> SourceChanged:
    return SourceChanged(
        f"{path}: the file is not what it was when its SHA-256 was computed",
        "stop what writes to it, convert the disk again, then run this command again",
    )
