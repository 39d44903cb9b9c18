"""Computes all digests of a file in one reading: of the whole, of each piece, of each chunk, side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


class Digests:
    """Takes a file's bytes in order; blocks must not cross the end of a chunk or of a piece."""

    def __init__(self, pool: ThreadPoolExecutor, *, in_one_piece: bool) -> None:
        self._pool, self._in_one_piece = pool, in_one_piece
        self._whole, self._piece, self._chunk = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
        self._is_chunk_open = False
        self.chunks: list[str] = []
        self.pieces: list[str] = []

    def feed(self, block: memoryview, meanwhile: Callable[[], None]) -> None:
        """Take a block into all digests, each on a core of its own, and do something else with it meanwhile."""
        # hashlib lets go of the interpreter while it computes.
        asked = (self._whole, self._chunk) if self._in_one_piece else (self._whole, self._chunk, self._piece)
        work = [self._pool.submit(one.update, block) for one in asked]
        try:
            meanwhile()
        finally:
            for one in work:
                one.result()
        self._is_chunk_open = True

    def end_chunk(self) -> None:
        """Close the chunk, if it has any bytes."""
        if self._is_chunk_open:
            self.chunks.append(self._chunk.hexdigest())
            self._chunk, self._is_chunk_open = hashlib.sha256(), False

    def end_piece(self) -> None:
        """Close the piece."""
        self.pieces.append((self._whole if self._in_one_piece else self._piece).hexdigest())
        self._piece = hashlib.sha256()

    def whole(self) -> str:
        """Return the SHA-256 of all bytes."""
        return self._whole.hexdigest()
