"""A process that is killed, or a disk that is full, costs only what was on its way."""

from __future__ import annotations

import gzip
import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from emulator.server import EmulatedCloud, Variants
from image_download.settings import DownloadSettings
from migration.errors import (
    NoSpace,
)
from migration.exported_object import ExportedObject, Packing
from tests.conftest import RawMaker
from tests.image_download_fixtures import KIB, MIB, QUICK, SIZE, Home, home, open_home, pack_tar, put_disk, raw

__all__ = ["home", "raw"]

pytestmark = pytest.mark.slow

CHILD = """
import json, sys
from pathlib import Path
from image_download.download import download_disk
from image_download.settings import DownloadSettings
from migration.cloud import Cloud
from migration.credentials import Credentials
from migration.exported_object import ExportedObject
from migration.workspace import open_workspace
from pydantic import TypeAdapter

given = json.load(sys.stdin)
exported = TypeAdapter(ExportedObject).validate_python(given["exported"])
cloud = Cloud(region_id="cn-hangzhou", oss_endpoint=given["endpoint"])
keys = Credentials(access_key_id=given["id"], access_key_secret=given["secret"])
with open_workspace(Path(given["workspace"])) as workspace:
    download_disk(
        workspace, cloud, lambda: keys, exported, settings=DownloadSettings(part_size=given["part_size"]),
        progress=lambda done, total: print(done, flush=True),
    )
"""


@contextmanager
def child_download(
    cloud: EmulatedCloud, exported: ExportedObject, workspace: Path, part_size: int
) -> Iterator[subprocess.Popen[str]]:
    """Download in a process of its own, which prints how far it is; killed at the end of the block."""
    given = {
        "exported": TypeAdapter(ExportedObject).dump_python(exported, mode="json"), "endpoint": cloud.oss_endpoint,
        "id": cloud.access_key_id, "secret": cloud.access_key_secret, "workspace": str(workspace),
        "part_size": part_size,
    }  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parent.parent,
    ) as child:  # fmt: skip
        assert child.stdin is not None
        child.stdin.write(json.dumps(given))
        child.stdin.close()
        try:
            yield child
        finally:
            child.send_signal(signal.SIGKILL)


def test_killed_download_goes_on_and_repeats_only_what_was_on_its_way(
    tmp_path: Path, emulated_cloud: EmulatedCloud, make_raw: RawMaker
) -> None:
    size = 8 * MIB
    raw = make_raw("large.raw", size, seed=4)
    exported = put_disk(emulated_cloud, raw)
    emulated_cloud.variants = Variants(bytes_per_second=1_500_000)
    with child_download(emulated_cloud, exported, tmp_path / "workspace", QUICK.part_size) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) > size // 3:
                break
    assert child.returncode == -signal.SIGKILL
    emulated_cloud.variants = Variants()
    with open_home(emulated_cloud, tmp_path / "workspace") as home:
        disk = home.download(exported)
    assert disk.path.read_bytes() == raw.read_bytes()
    asked = home.ranges
    assert len(asked) - len(set(asked)) <= DownloadSettings().connections


def test_kill_while_unpacking_does_not_download_again(home: Home, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exported = put_disk(home.cloud, pack_tar(raw), key="m-bp1test_system.raw.tar.gz", packing=Packing.TAR_GZIP)

    class Killed(BaseException):
        """Stands for SIGKILL: nothing that could tidy up runs between it and the next attempt."""

    def killed(*_: object, **__: object) -> None:
        (home.workspace.disks / "system.raw.partial").write_bytes(b"half a disk")
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("image_download.download.unpack_disk", killed)
        with pytest.raises(Killed):
            home.download(exported)
    before = len(home.cloud.calls)
    disk = home.download(exported)
    assert disk.path.read_bytes() == raw.read_bytes()
    assert len(home.cloud.calls) == before
    assert home.left_behind == []


@contextmanager
def small_file_system(folder: Path, size: int) -> Iterator[Path]:
    """Mount a tmpfs of `size` bytes at `folder`. Skips the test where that is not allowed."""
    folder.mkdir(exist_ok=True)
    argv = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if subprocess.run(argv, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system takes root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_full_disk_keeps_what_has_come(tmp_path: Path, emulated_cloud: EmulatedCloud) -> None:
    content = random.Random(6).randbytes(SIZE)
    exported = put_disk(emulated_cloud, content)
    with small_file_system(tmp_path / "small", SIZE // 2) as folder:
        with open_home(emulated_cloud, folder / "workspace") as home:
            with pytest.raises(NoSpace) as caught:
                home.download(exported)
            assert "free some space" in caught.value.remedy
            assert not (home.workspace.disks / "system.raw").exists()
        before = len(home.ranges)
        subprocess.run(["mount", "-o", f"remount,size={2 * SIZE}", folder], check=True)
        with open_home(emulated_cloud, folder / "workspace") as home:
            disk = home.download(exported)
            assert disk.path.read_bytes() == content
        assert len(home.ranges) - before <= 24


def test_packed_object_that_cannot_fit_is_refused_before_a_byte_is_fetched(
    tmp_path: Path, emulated_cloud: EmulatedCloud
) -> None:
    content = gzip.compress(random.Random(6).randbytes(SIZE))
    exported = put_disk(emulated_cloud, content, key="m-bp1test_system.raw.gz", packing=Packing.GZIP)
    with small_file_system(tmp_path / "small", MIB) as folder, open_home(emulated_cloud, folder / "workspace") as home:
        with pytest.raises(NoSpace):
            home.download(exported)
        assert home.cloud.calls == []


def test_disk_that_does_not_fit_unpacked_keeps_its_object(tmp_path: Path, emulated_cloud: EmulatedCloud) -> None:
    content = random.Random(6).randbytes(64 * KIB) * 64  # 4 MiB that deflate cannot shrink by much
    packed = gzip.compress(content)
    exported = put_disk(emulated_cloud, packed, key="m-bp1test_system.raw.gz", packing=Packing.GZIP)
    with small_file_system(tmp_path / "small", 6 * MIB) as folder:
        with open_home(emulated_cloud, folder / "workspace") as home:
            with pytest.raises(NoSpace):
                home.download(exported)
            assert list(home.workspace.disks.iterdir()) == []
        subprocess.run(["mount", "-o", f"remount,size={16 * MIB}", folder], check=True)
        with open_home(emulated_cloud, folder / "workspace") as home:
            disk = home.download(exported)
            assert disk.path.read_bytes() == content
        asked = (
            home.ranges
        )  # the download was given up as soon as that was clear; nothing that had come is fetched again
        assert len(asked) - len(set(asked)) <= QUICK.connections
