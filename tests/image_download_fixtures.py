"""What the tests of the downloads share: disks with known bytes, objects that hold them, a place to put them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from isal import igzip

from emulator.server import EmulatedCloud
from image_download.download import download_disk
from image_download.settings import DownloadSettings
from migration.disk import Disk, DiskFormat, DiskRole
from migration.exported_object import ExportedObject, Packing
from migration.workspace import Workspace, open_workspace
from tests.conftest import BUCKET, RawMaker

KIB = 1024
MIB = 1024**2
SIZE = 2 * MIB  # of the disk that `raw` and `exported` hold: 32 parts

# Small parts, so that a small object has many; no long pauses, so that a fault costs milliseconds.
QUICK = DownloadSettings(part_size=64 * KIB, first_pause=0.01, longest_pause=0.05, idle_timeout=5, read_timeout=5)

TAR_FORMATS = {
    "plain": [],
    "gnu sparse": ["--format=gnu", "--sparse"],
    "pax sparse 0.0": ["--format=posix", "--sparse-version=0.0", "--sparse"],
    "pax sparse 0.1": ["--format=posix", "--sparse-version=0.1", "--sparse"],
    "pax sparse 1.0": ["--format=posix", "--sparse-version=1.0", "--sparse"],
}


def pack_tar(path: Path, *options: str) -> bytes:
    """Return what GNU tar makes of the file at `path`, compressed."""
    argv = ["tar", *options, "-C", str(path.parent), "-cf", "-", path.name]
    return igzip.compress(subprocess.run(argv, check=True, capture_output=True).stdout)


def put_disk(
    cloud: EmulatedCloud,
    content: bytes | Path,
    *,
    key: str = "m-bp1test_system.raw",
    packing: Packing = Packing.NONE,
    disk_size: int | None = None,
    disk_format: DiskFormat = DiskFormat.RAW,
) -> ExportedObject:
    """Put an object into the bucket, and return it as the export would have found it."""
    metadata = cloud.put_object(BUCKET, key, content)
    role, device = (DiskRole.DATA, "xvdb") if "_data_xvdb" in key else (DiskRole.SYSTEM, "xvda")
    return ExportedObject(
        bucket=BUCKET, key=key, size=metadata.size, etag=metadata.etag, crc64=metadata.crc64,
        last_modified=metadata.last_modified, storage_class=metadata.storage_class,
        role=role, device=device, format=disk_format, packing=packing, disk_size=disk_size,
    )  # fmt: skip


@dataclass(frozen=True)
class Home:
    """A workspace, and the cloud it is filled from."""

    workspace: Workspace
    cloud: EmulatedCloud

    def download(self, exported: ExportedObject, settings: DownloadSettings = QUICK, **options: Any) -> Disk:
        """Download with small parts and short pauses."""
        keys = options.pop("credentials", self.cloud.credentials)
        return download_disk(self.workspace, self.cloud.cloud, keys, exported, settings=settings, **options)

    @property
    def ranges(self) -> list[str]:
        """The Range headers of all GETs so far."""
        return [found for method, _, found in self.cloud.requests if method == "GET"]

    @property
    def left_behind(self) -> list[str]:
        """The names of everything in the workspace that is no finished disk."""
        disks = (path for path in self.workspace.disks.iterdir() if path.suffix == ".partial")
        return sorted(path.name for path in [*self.workspace.objects.iterdir(), *disks])


@contextmanager
def open_home(cloud: EmulatedCloud, path: Path) -> Iterator[Home]:
    """Open the workspace at `path`, to be filled from `cloud`."""
    with open_workspace(path) as workspace:
        yield Home(workspace, cloud)


@pytest.fixture
def home(tmp_path: Path, emulated_cloud: EmulatedCloud) -> Iterator[Home]:
    """Somewhere to download to."""
    with open_home(emulated_cloud, tmp_path / "workspace") as opened:
        yield opened


@pytest.fixture
def raw(make_raw: RawMaker) -> Path:
    """A RAW disk of `SIZE` bytes. Do not write to it."""
    return make_raw("system.raw", SIZE, seed=11)


@pytest.fixture
def exported(emulated_cloud: EmulatedCloud, raw: Path) -> ExportedObject:
    """The same disk as an object in the bucket."""
    return put_disk(emulated_cloud, raw, disk_size=SIZE)
