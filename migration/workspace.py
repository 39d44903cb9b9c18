"""A folder for one migration: its journal, its disks, its converted images, its report; one owner at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from migration.errors import InvalidInput, WorkspaceInUse, WorkspaceMismatch
from migration.journal import Journal

IDENTITY = "migration"
REPORT_DOCUMENT = "report.json"
STAGE_TIMES = "stage-times"  # what the stages took so far; that a stage was begun is nothing done


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folder and its journal. Made by `open_workspace`, valid while that block lasts."""

    path: Path
    journal: Journal

    @property
    def objects(self) -> Path:
        """Downloaded objects that are packed (`.tar.gz`), and unfinished downloads."""
        return self.path / "objects"

    @property
    def disks(self) -> Path:
        """Finished RAW disks: `system.raw`, `data_xvdb.raw`."""
        return self.path / "disks"

    @property
    def images(self) -> Path:
        """Converted images: `system.qcow2`, `data_xvdb.vmdk`."""
        return self.path / "images"

    @property
    def trimmed(self) -> Path:
        """Layers over the disks in which their free space is given back: `system.trimmed.qcow2`."""
        return self.path / "trimmed"

    @property
    def definitions(self) -> Path:
        """Definitions of the machine for the platforms of the other side, which refer to the images."""
        return self.path / "definitions"

    @property
    def report(self) -> Path:
        """The report as Markdown."""
        return self.path / "report.md"

    @property
    def report_page(self) -> Path:
        """The report as one page for a browser, with all that it needs."""
        return self.path / "report.html"

    @property
    def report_document(self) -> Path:
        """The report for programs; the other two can be made from it."""
        return self.path / REPORT_DOCUMENT

    @property
    def console(self) -> Path:
        """What the guest said on its serial console when it was last booted, in lines."""
        return self.path / "console.log"

    def claim(self, identity: dict[str, str]) -> None:
        """Bind the workspace to one migration, or raise `WorkspaceMismatch` if it serves another.

        A claim after which nothing was done binds nobody: a misspelt bucket that was refused can be corrected.
        """
        known = self.journal.get(IDENTITY, dict)
        if known == identity:
            return
        if known is None or {*self.journal.steps()} <= {IDENTITY, STAGE_TIMES}:
            self.journal.forget(STAGE_TIMES)
            self.journal.record(IDENTITY, identity)
        else:
            changed = ", ".join(
                f"{key} is {known.get(key)!r}, asked for {identity.get(key)!r}"
                for key in sorted({*known, *identity})
                if known.get(key) != identity.get(key)
            )
            raise WorkspaceMismatch(f"{self.path} belongs to another migration: {changed}", "use another workspace")


@contextmanager
def open_workspace(path: Path) -> Iterator[Workspace]:
    """Own the workspace at `path` for the length of the block, making the folder if it is missing.

    The lock is the kernel's and dies with the process that holds it, however that dies.
    Raises `WorkspaceInUse`, `WorkspaceMismatch` (unreadable journal) or `InvalidInput`.
    """
    path = path.expanduser().absolute()
    try:
        for folder in (path, path / "objects", path / "disks", path / "images"):
            folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InvalidInput(
            f"{path}: cannot be a workspace: {error.strerror}", "choose a folder you can write to"
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise WorkspaceInUse(
                f"{path} is in use by another run (process {owner})", "wait for it, stop it, or use another workspace"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        yield Workspace(path, Journal(path / "journal.json"))
    finally:
        os.close(lock)
