"""Knows which images were migrated into the workspaces under one folder: the workspaces themselves say so.

There is no second record that could say otherwise: a workspace that is moved away, deleted or changed is no longer
counted, and one that is put back is.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from migration.artifact import Artifact
from migration.errors import InvalidInput, MigrationError, WorkspaceInUse
from migration.exported_object import ExportedObject
from migration.image import Image
from migration.journal import Journal
from migration.storage import Fingerprint, find_fingerprint, fingerprint_of
from migration.str_enum import StrEnum
from migration.workspace import IDENTITY, Workspace

log = logging.getLogger(__name__)

STEP = "migrated"
JOURNAL = "journal.json"
CLAIMS = ".ferry"  # folder under the root for the locks on images


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeImage:
    """One converted image as it was when the migration ended. `name` is its file's, under `images/`."""

    name: str
    format: str
    fingerprint: Fingerprint
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrated:
    """What the journal says of a migration that went through to its end. `finished` is Unix time."""

    image: Image
    objects: tuple[ExportedObject, ...]
    made: tuple[MadeImage, ...]
    booted: bool  # a boot test was part of it
    bundled: bool = False  # a bundle was
    finished: float


class Standing(StrEnum):
    """How far a migration can be relied on."""

    PROVEN = "proven"  # its images lie there as they were made, from bytes that equal OSS's
    UNPROVEN = "unproven"  # the same, but OSS told no CRC-64 of some object
    TOUCHED = "touched"  # an image was changed or removed since
    UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One workspace as seen from outside. `touched` is when something was last recorded in it, in Unix time."""

    path: Path
    image_id: str
    region_id: str
    bucket: str
    standing: Standing
    recorded: Migrated | None
    touched: float

    @property
    def is_complete(self) -> bool:
        return self.standing in {Standing.PROVEN, Standing.UNPROVEN}

    def covers(self, formats: Sequence[str], *, boot_test: bool = False, bundle: bool = False) -> bool:
        """Return whether all that a run would make is here already."""
        known = self.recorded
        if not self.is_complete or known is None:
            return False
        has_formats = set(formats) <= {made.format for made in known.made}
        return has_formats and (known.booted or not boot_test) and (known.bundled or not bundle)


def record_migrated(
    workspace: Workspace, image: Image, objects: Sequence[ExportedObject], artifacts: Sequence[Artifact],
    *, booted: bool, bundled: bool = False,
) -> None:  # fmt: skip
    """Remember in the workspace that its migration went through to the end."""
    made = tuple(
        MadeImage(
            name=artifact.path.name, format=str(artifact.format), fingerprint=fingerprint_of(artifact.path),
            sha256=artifact.sha256,
        )
        for artifact in artifacts
    )  # fmt: skip
    now = Migrated(
        image=image, objects=tuple(objects), made=made, booted=booted, bundled=bundled, finished=time.time()
    )  # fmt: skip
    known = workspace.journal.get(STEP, Migrated)
    if known is None or replace(known, finished=now.finished) != now:
        # A run that found everything done makes nothing newer than it is.
        workspace.journal.record(STEP, now)


def accept_links(workspace: Workspace, linked: Mapping[Path, Fingerprint]) -> None:
    """Remember the new fingerprints of images that somebody has linked to, which changes nothing but their ctime."""
    known = workspace.journal.get(STEP, Migrated)
    if known is None:
        return
    made = []
    for one in known.made:
        new = linked.get(workspace.images / one.name)
        is_same = new is not None and (new.size, new.mtime_ns) == (one.fingerprint.size, one.fingerprint.mtime_ns)
        made.append(replace(one, fingerprint=new) if new is not None and is_same else one)
    if tuple(made) != known.made:
        workspace.journal.record(STEP, replace(known, made=tuple(made)))


def read_migration(path: Path) -> Migration | None:
    """Return the migration in the workspace at `path`; None where there is none, or its journal cannot be read."""
    file = path / JOURNAL
    try:
        touched = file.stat().st_mtime
        journal = Journal(file)
        identity = journal.get(IDENTITY, dict)
        recorded = journal.get(STEP, Migrated)
    except FileNotFoundError:
        return None
    except (OSError, MigrationError) as error:
        log.warning("Left alone: %s", error)
        return None
    if identity is None or not isinstance(identity.get("image_id"), str):
        return None  # of disks that never saw the cloud
    return Migration(
        path=path, image_id=identity["image_id"], region_id=str(identity.get("region_id", "")),
        bucket=str(identity.get("bucket", "")), standing=_stand(path, recorded), recorded=recorded, touched=touched,
    )  # fmt: skip


def find_migrations(root: Path, *, depth: int = 1) -> tuple[Migration, ...]:
    """Return the migrations in workspaces under `root`, `depth` folders down; links are not followed."""
    found = (read_migration(path) for path in _folders(root, depth))
    return tuple(sorted((one for one in found if one is not None), key=lambda one: one.path))


def is_in_use(path: Path) -> bool:
    """Return whether a process owns the workspace at `path` now."""
    try:
        lock = os.open(path / ".lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


@contextmanager
def image_claimed(root: Path, image_id: str) -> Iterator[None]:
    """Keep other runs with workspaces under `root` away from the image for the length of the block.

    A workspace's own lock does not do it where each month has a workspace of its own.
    Raises `WorkspaceInUse`, or `InvalidInput` for a folder that cannot be written to.
    """
    folder = root / CLAIMS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / f"{image_id}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InvalidInput(f"{folder}: {error.strerror}", "choose a folder you can write to") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WorkspaceInUse(
                f"another run has {image_id} under way in {root}", "wait for it, or stop it; then run again"
            ) from None
        yield
    finally:
        os.close(lock)


def _stand(path: Path, recorded: Migrated | None) -> Standing:
    if recorded is None:
        return Standing.UNFINISHED
    if any(find_fingerprint(path / "images" / made.name) != made.fingerprint for made in recorded.made):
        return Standing.TOUCHED
    if any(exported.crc64 is None for exported in recorded.objects):
        return Standing.UNPROVEN
    return Standing.PROVEN


def _folders(root: Path, depth: int) -> Iterator[Path]:
    try:
        entries = sorted(entry.path for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return
    except OSError as error:
        raise InvalidInput(f"{root}: {error.strerror}", "give a folder that holds workspaces") from error
    for entry in entries:
        path = Path(entry)
        if depth > 1 and not (path / JOURNAL).exists():
            yield from _folders(path, depth - 1)
        elif not path.name.startswith("."):
            yield path
