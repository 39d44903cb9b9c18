"""Finds the images that earlier runs converted in a workspace, and whether anybody has touched them since."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from converters.convert import STEP, Conversion
from migration.artifact import Artifact
from migration.disk import DiskFormat, guest_order
from migration.storage import find_fingerprint
from migration.workspace import Workspace


def recorded_conversions(workspace: Workspace) -> Iterator[tuple[str, Conversion]]:
    """Yield the journal's step and record of every image that was made, whether it is there or not."""
    for step in workspace.journal.steps():
        known = workspace.journal.get(step, Conversion) if step.startswith(STEP) else None
        if known is not None:
            path = workspace.images / known.artifact.path.name  # the workspace may have moved
            yield step, replace(known, artifact=replace(known.artifact, path=path))


def find_artifacts(workspace: Workspace, disk_format: DiskFormat) -> tuple[Artifact, ...]:
    """Return the images of that format that are as they were made, the system disk's first."""
    found = [
        known.artifact
        for _, known in recorded_conversions(workspace)
        if known.artifact.format is disk_format and find_fingerprint(known.artifact.path) == known.target
    ]
    return tuple(sorted(found, key=guest_order))
