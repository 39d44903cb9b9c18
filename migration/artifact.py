"""A converted disk image that has been proven equal to its source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from migration.disk import DiskFormat, DiskRole


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One image for the other side. `file_size` and `virtual_size` are bytes; `sha256` is of the file."""

    device: str
    role: DiskRole
    path: Path
    format: DiskFormat
    virtual_size: int
    file_size: int
    sha256: str
    proof: str  # how equality was shown, in words a report can print
