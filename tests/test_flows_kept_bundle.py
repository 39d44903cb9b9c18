from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from flows.kept_bundle import find_kept_bundle, remember_bundle
from migration.artifact import Artifact
from migration.disk import DiskFormat, DiskRole
from migration.workspace import open_workspace
from private_cloud.bundle.contents import Bundle, BundleSettings
from private_cloud.bundle.far_side.names import volume_name

SETTINGS = BundleSettings(name="web")
IMAGE = Artifact(
    device="xvda", role=DiskRole.SYSTEM, path=Path("/w/images/system.qcow2"), format=DiskFormat.QCOW2,
    virtual_size=512, file_size=512, sha256="aa", proof="",
)  # fmt: skip


@pytest.mark.parametrize("volume", ["", volume_name(1)], ids=["one folder", "volumes"])
def test_bundle_of_the_same_images_is_found_until_its_manifest_is_another(volume: str, tmp_path: Path) -> None:
    manifest = tmp_path / "bundles" / "web" / volume / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")
    bundle = Bundle(
        path=tmp_path / "bundles" / "web", manifest_sha256=hashlib.sha256(b"{}").hexdigest(), fingerprint="f",
        size=1, files=1, volumes=1, is_signed=False,
    )  # fmt: skip
    with open_workspace(tmp_path / "w") as space:
        assert find_kept_bundle(space, SETTINGS, [IMAGE]) is None
        remember_bundle(space, SETTINGS, [IMAGE], bundle)
        assert find_kept_bundle(space, SETTINGS, [IMAGE]) == bundle
        assert find_kept_bundle(space, replace(SETTINGS, split=4), [IMAGE]) is None
        assert find_kept_bundle(space, SETTINGS, [replace(IMAGE, sha256="bb")]) is None
        manifest.write_text("{ }")
        assert find_kept_bundle(space, SETTINGS, [IMAGE]) is None
