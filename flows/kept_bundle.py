"""Remembers the bundle that a run has made, so that running again with the same images makes no other.

Its report differs from run to run, so that for `make_bundle` it would be another bundle each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from migration.artifact import Artifact
from migration.workspace import Workspace
from private_cloud.bundle.contents import Bundle, BundleSettings
from private_cloud.bundle.make import is_as_made

STEP = "bundle-of-run"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptBundle:
    """The bundle, and what was asked for: its settings, and the images by their digests."""

    bundle: Bundle
    settings: BundleSettings
    images: tuple[str, ...]


def find_kept_bundle(workspace: Workspace, settings: BundleSettings, artifacts: Sequence[Artifact]) -> Bundle | None:
    """Return the bundle that was made of these images, if its manifest lies there as it was made."""
    known = workspace.journal.get(STEP, KeptBundle)
    if known is None or (known.settings, known.images) != (settings, _digests(artifacts)):
        return None
    return known.bundle if is_as_made(known.bundle) else None


def remember_bundle(
    workspace: Workspace, settings: BundleSettings, artifacts: Sequence[Artifact], bundle: Bundle
) -> None:
    """Remember the bundle."""
    workspace.journal.record(STEP, KeptBundle(bundle=bundle, settings=settings, images=_digests(artifacts)))


def _digests(artifacts: Sequence[Artifact]) -> tuple[str, ...]:
    return tuple(sorted(artifact.sha256 for artifact in artifacts))
