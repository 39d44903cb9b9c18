"""Reads from a qcow2's first bytes which other file it is a layer over; QEMU, if asked, would open that file.

Source: QEMU's docs/interop/qcow2.txt.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MAGIC = b"QFI\xfb"
LONGEST_HEADER = 64 * 1024  # bytes: the smallest cluster is 512, what is read here lies in the first one
_BACKING_FORMAT = 0xE2792ACA
_END = 0
_EXTERNAL_DATA = 0b100  # a feature that a reader must know: the clusters are in another file


@dataclass(frozen=True, slots=True, kw_only=True)
class Qcow2Header:
    """What an image refers to: the name of its backing file as written and the format told of it, "" for none."""

    backing: str = ""
    backing_format: str = ""
    has_data_file: bool = False

    @property
    def stands_alone(self) -> bool:
        return not self.backing and not self.has_data_file


def read_qcow2_header(path: Path) -> Qcow2Header | None:
    """Return what the image at `path` refers to, None where its first bytes are no qcow2 header."""
    with path.open("rb") as file:
        head = file.read(LONGEST_HEADER)
    if head[:4] != MAGIC or len(head) < 72:
        return None
    version, offset, length = _number(head, 4, 4), _number(head, 8, 8), _number(head, 16, 4)
    features = _number(head, 72, 8) if version >= 3 else 0
    name = head[offset : offset + length].decode("utf-8", "surrogateescape") if offset else ""
    return Qcow2Header(
        # An offset behind what was read is no name we could show, and a reference all the same.
        backing=name or ("?" if offset else ""),
        backing_format=_extensions(head, _number(head, 100, 4) if version >= 3 else 72),
        has_data_file=bool(features & _EXTERNAL_DATA),
    )


def _extensions(head: bytes, position: int) -> str:
    """Return the backing file's format out of the header's extensions, "" where it is not told."""
    while position + 8 <= len(head):
        kind, length = _number(head, position, 4), _number(head, position + 4, 4)
        if kind == _END:
            break
        if kind == _BACKING_FORMAT:
            return head[position + 8 : position + 8 + length].decode("ascii", "replace")
        position += 8 + (length + 7) // 8 * 8
    return ""


def _number(head: bytes, offset: int, size: int) -> int:
    return int.from_bytes(head[offset : offset + size], "big")
