"""What a workspace keeps of a bundle, so that pieces of it can be sent again when the bundle itself is away."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from migration.errors import InvalidInput
from migration.storage import write_atomically
from migration.workspace import Workspace
from private_cloud.bundle.contents import Item
from private_cloud.bundle.far_side.names import MANIFEST, README, VERIFIER, fingerprint

FOLDER = "bundles"
SOURCES = "sources.json"


@dataclass(frozen=True, slots=True)
class Kept:
    """The folder for one bundle, `bundles/NAME`: its manifest, where its files come from, and copies of small ones."""

    path: Path

    @property
    def manifest(self) -> Path:
        return self.path / MANIFEST

    def take_text(self, path: str, text: str) -> Item:
        """Keep a small file that is made for the bundle."""
        return self._take(path, text.encode())

    def take_copy(self, item: Item) -> Item:
        """Keep a small file as it is now, whatever becomes of it later."""
        return self._take(item.path, item.source.read_bytes())

    def _take(self, path: str, data: bytes) -> Item:
        digest = hashlib.sha256(data).hexdigest()
        copy = self.path / "files" / digest
        if not copy.is_file() or copy.read_bytes() != data:
            copy.parent.mkdir(parents=True, exist_ok=True)
            partial = copy.with_name(f"{digest}.partial")
            partial.write_bytes(data)
            partial.replace(copy)
        return Item(path=path, source=copy, sha256=digest)

    def finish(self, manifest: bytes, items: Sequence[Item], head: Mapping[str, bytes]) -> None:
        """Remember the manifest, where each file comes from, and what every volume has."""
        for name, data in head.items():
            write_atomically(self.path / name, data.decode())
        write_atomically(self.path / SOURCES, json.dumps({item.path: str(item.source) for item in items}, indent=1))
        write_atomically(self.manifest, manifest.decode())
        wanted = {item.source for item in items}
        for copy in (self.path / "files").glob("*"):
            if copy not in wanted:
                copy.unlink()

    def head(self) -> dict[str, bytes]:
        """Return what every volume has; a newer Ferry would bring another verifier."""
        return {name: (self.path / name).read_bytes() for name in (VERIFIER, README)}

    def sources(self) -> dict[str, Path]:
        """Return where each file of the bundle lies in this workspace."""
        document = json.loads((self.path / SOURCES).read_text(encoding="utf-8"))
        return {path: Path(source) for path, source in document.items()}


@contextmanager
def open_kept(workspace: Workspace, name: str) -> Iterator[Kept]:
    """Offer the folder for a bundle; if there is none yet and nothing comes of it, there is none after either."""
    path = workspace.path / FOLDER / name
    path.mkdir(parents=True, exist_ok=True)
    kept = Kept(path)
    try:
        yield kept
    finally:
        if not kept.manifest.is_file():
            shutil.rmtree(path)


def find_kept(workspace: Workspace, digest: str) -> Kept:
    """Return what is kept of the bundle whose manifest's SHA-256 begins so. Raises `InvalidInput`."""
    for manifest in sorted((workspace.path / FOLDER).glob(f"*/{MANIFEST}")):
        if hashlib.sha256(manifest.read_bytes()).hexdigest().startswith(digest):
            return Kept(manifest.parent)
    raise InvalidInput(
        f"{workspace.path}: no bundle with the fingerprint {fingerprint(digest)} was made here",
        "give the workspace it was made from; a bundle that was made anew under its name has another fingerprint",
    )
