"""A workspace with small images, bundles made of it, and the verifier as it runs on the far side."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migration.workspace import Workspace, open_workspace
from private_cloud.bundle.contents import Bundle, BundleSettings, Contents, Item
from private_cloud.bundle.make import make_bundle

CHUNK = 64 << 10
SYSTEM, DATA, CONSOLE = "images/system.qcow2", "images/data_xvdb.qcow2", "logs/console.log"
SYSTEM_CHUNKS, DATA_CHUNKS = 10, 6


def write_image(path: Path, chunks: int, seed: int, *, more: int = 0) -> Path:
    """Write random chunks, one of them all zeros (the third), and a last one of `more` bytes."""
    source = random.Random(seed)
    blocks = [source.randbytes(CHUNK) if number != 2 else bytes(CHUNK) for number in range(chunks)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(blocks) + source.randbytes(more))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fill_workspace(folder: Path) -> Contents:
    """Put two images and what belongs to them into a workspace's folder, and say what is to be bundled."""
    system = write_image(folder / "images/system.qcow2", SYSTEM_CHUNKS - 1, 1, more=1000)
    data = write_image(folder / "images/data_xvdb.qcow2", DATA_CHUNKS, 2)
    (folder / "console.log").write_text("login:\n", encoding="utf-8")
    (folder / "report.md").write_text("# web1\n", encoding="utf-8")
    (folder / "empty.txt").write_text("", encoding="utf-8")
    return Contents(
        items=(
            Item(path=SYSTEM, source=system, sha256=sha256(system)),
            Item(path=DATA, source=data, sha256=sha256(data)),
            Item(path=CONSOLE, source=folder / "console.log"),
            Item(path="report/report.md", source=folder / "report.md"),
            Item(path="definitions/empty.txt", source=folder / "empty.txt"),
        ),
        texts={"report/verdict.json": "{}\n"},
        provenance={"image": "m-bp1", "note": "\u202e\x1b[31m"},
    )


@contextmanager
def workspace_with_contents(folder: Path) -> Iterator[tuple[Workspace, Contents]]:
    """Offer a workspace that is ready to be bundled."""
    with open_workspace(folder) as workspace:
        yield workspace, fill_workspace(workspace.path)


def settings(**changes: Any) -> BundleSettings:
    return BundleSettings(**{"name": "web1", "chunk_size": CHUNK, "link": False, **changes})


def bundle_of(folder: Path, output: Path, **changes: Any) -> Bundle:
    """Make a bundle of a workspace that is filled for it."""
    with workspace_with_contents(folder) as (workspace, contents):
        return make_bundle(workspace, contents, settings(**changes), output)


@dataclass(frozen=True)
class Answer:
    """What the verifier said, and its exit status."""

    code: int
    said: dict[str, Any]
    request: Path

    @property
    def problems(self) -> set[tuple[str, str, int]]:
        return {(one["kind"], one["path"], one["chunk"]) for one in self.said["problems"]}

    def detail(self, path: str, chunk: int = 0) -> str:
        return next(str(o["detail"]) for o in self.said["problems"] if (o["path"], o["chunk"]) == (path, chunk))


def verify(verifier: Path, *argv: str | Path, where: Path) -> Answer:
    """Run a verifier as the far side does, without anything but the standard library; where it must not crash."""
    request = where / "resend-request.txt"
    request.unlink(missing_ok=True)
    command = [sys.executable, "-I", "-S", str(verifier), "--json", "--request", str(request), *map(str, argv)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return Answer(done.returncode, json.loads(done.stdout), request)


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """Mount a file system of its own at `folder`, in memory."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
