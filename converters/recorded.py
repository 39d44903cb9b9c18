"""Finds the images that earlier runs converted in a workspace, as far as nobody has touched them since."""

from __future__ import annotations

from converters.convert import Conversion
from migration.artifact import Artifact
from migration.disk import DiskFormat, DiskRole
from migration.storage import find_fingerprint
from migration.workspace import Workspace


def find_artifacts(workspace: Workspace, disk_format: DiskFormat) -> tuple[Artifact, ...]:
    """Return the converted images of that format, the system disk's first."""
    found = []
    for step in workspace.journal.steps():
        if not step.startswith("convert:") or not step.endswith(f":{disk_format}"):
            continue
        known = workspace.journal.get(step, Conversion)
        if known is not None and find_fingerprint(known.artifact.path) == known.target:
            found.append(known.artifact)
    return tuple(sorted(found, key=lambda one: (one.role is not DiskRole.SYSTEM, len(one.device), one.device)))
