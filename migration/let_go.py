"""Lets a downloaded disk go once an image holds the same guest, and remembers which image stands in for it.

A later run finds the image where it would find the disk, and downloads nothing again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from migration.artifact import Artifact
from migration.disk import Disk, DiskFormat, guest_order
from migration.disk_file import find_disks_in
from migration.errors import InvalidInput, SourceChanged
from migration.storage import Fingerprint, allocated, find_fingerprint, format_size, sha256_of_file, sync_directory
from migration.workspace import Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """A disk as its image holds it, and that image as it was then."""

    disk: Disk
    fingerprint: Fingerprint
    sha256: str


def let_go(workspace: Workspace, artifact: Artifact, files: Iterable[Path]) -> None:
    """Remove `files`, a downloaded disk and layers over it: the proven qcow2 `artifact` stands in for them from now on.

    Only files of the workspace's own are removed. Raises `InvalidInput` (an image in another format),
    `SourceChanged` (the image is not what was proven).
    """
    if artifact.format is not DiskFormat.QCOW2:
        raise InvalidInput(f"{artifact.path.name} cannot stand in for its disk", "convert to qcow2 too")
    found = find_fingerprint(artifact.path)
    if found is None or found.size != artifact.file_size:
        raise SourceChanged(
            f"{artifact.path}: the image is not as it was made, so its disk is kept", "convert it again"
        )
    disk = Disk(
        device=artifact.device, role=artifact.role, path=artifact.path, format=artifact.format,
        virtual_size=artifact.virtual_size, proof=artifact.proof,
    )  # fmt: skip
    workspace.journal.record(_step(disk.stem), StandIn(disk=disk, fingerprint=found, sha256=artifact.sha256))
    for path in files:
        if path.parent in {workspace.disks, workspace.trimmed} and path.exists():
            log.info(
                "%s is let go (%s): %s has all of it", path.name, format_size(allocated(path)),
                artifact.path.name,
            )  # fmt: skip
            path.unlink()
            sync_directory(path.parent)


def find_stand_in(workspace: Workspace, stem: str) -> Disk | None:
    """Return the image that stands in for the disk `stem`, None if there is none, or it is not what it was.

    An image that was touched, or came here with its workspace, is read through.
    """
    known = workspace.journal.get(_step(stem), StandIn)
    if known is None:
        return None
    path = workspace.images / known.disk.path.name  # the workspace may have moved
    found = find_fingerprint(path)
    if found is not None and found != known.fingerprint:
        log.info("%s was touched since its disk was let go: reading it again", path.name)
        if sha256_of_file(path) == known.sha256:
            workspace.journal.record(_step(stem), replace(known, fingerprint=found))
        else:
            found = None
    if found is None:
        log.warning("%s stood in for a disk that was let go, and was changed or removed since", path.name)
        return None
    return replace(known.disk, path=path)


def stands_in(workspace: Workspace, disk: Disk) -> bool:
    """Return whether `disk` is an image of the workspace, in the place of a disk that was let go."""
    return disk.path.parent == workspace.images


def find_workspace_disks(workspace: Workspace) -> tuple[Disk, ...]:
    """Return the disks of the workspace, the system disk first; an image where it stands in for one that was let go.

    Raises `InvalidInput` where there are neither.
    """
    stems = [step.removeprefix(_step("")) for step in workspace.journal.steps() if step.startswith(_step(""))]
    stand_ins = [disk for stem in stems if (disk := find_stand_in(workspace, stem)) is not None]
    try:
        disks = {disk.device: disk for disk in find_disks_in(workspace.disks)}
    except InvalidInput:
        if not stand_ins:
            raise
        disks = {}
    found = [*disks.values(), *(disk for disk in stand_ins if disk.device not in disks)]
    return tuple(sorted(found, key=guest_order))


def accept_fingerprint(workspace: Workspace, path: Path, fingerprint: Fingerprint) -> None:
    """Take note that an image was touched by us, and proven since, should it stand in for a disk."""
    for step in workspace.journal.steps():
        known = workspace.journal.get(step, StandIn) if step.startswith(_step("")) else None
        if known is not None and known.disk.path.name == path.name:
            workspace.journal.record(step, replace(known, fingerprint=fingerprint))


def _step(stem: str) -> str:
    return f"let-go:{stem}"
