"""The nouns of a bundle: what goes into it, how it is to be cut and signed, and what came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from migration.storage import Fingerprint

CHUNK = 16 << 20  # bytes; as large as the ranges of the download: 2 TiB make a manifest of 10 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A file for the bundle: its path in there, and where it lies here. `sha256` is what it must have, if known.

    A file without one is small or large, and is taken as it is at the beginning.
    """

    path: str
    source: Path
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """All that goes into a bundle. `texts` are small files made for it; `provenance` is JSON for its manifest."""

    items: tuple[Item, ...]
    texts: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleSettings:
    """How a bundle is made. `split` is what a medium takes, in bytes, None for one folder; `sign` is a key's path.

    `link` lets a file of the workspace and one of the bundle share their bytes where both are on one file system.
    """

    name: str
    split: int | None = None
    sign: Path | None = None
    link: bool = True
    chunk_size: int = CHUNK


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A finished bundle: a folder with everything, or one with a folder for each volume.

    `fingerprint` is what one reads over the phone. `linked` are files of the workspace that are now the bundle's too,
    each as it was when it was proven: a hard link changes a file's ctime, so that whoever remembers a fingerprint of
    it has to learn the new one.
    """

    path: Path
    manifest_sha256: str
    fingerprint: str
    size: int
    files: int
    volumes: int
    is_signed: bool
    linked: tuple[tuple[Path, Fingerprint], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedBundle:
    """A bundle as the journal remembers it. `request` changes with whatever went into it, and how."""

    bundle: Bundle
    request: str
