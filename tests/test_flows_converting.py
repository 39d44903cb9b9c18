from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from emulator.account import add_image
from emulator.object_store import add_bucket
from emulator.server import Variants, emulated_cloud
from flows.run_settings import ConversionSettings
from migration.disk import Disk, DiskFormat
from migration.errors import InvalidInput
from tests.conftest import BUCKET
from tests.fleet_fixtures import NO_APPLIANCE
from tests.prefect_fixtures import PrefectServer, demo_disks, prefect_server
from tests.test_flows_export_to_private_cloud import DEMO_IMAGE, parameters, start

__all__ = ["demo_disks", "prefect_server"]

ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def test_disks_are_let_go_only_where_something_stands_in() -> None:
    with pytest.raises(InvalidInput, match="qcow2"):
        ConversionSettings(formats=(DiskFormat.VMDK,), keep_raw=False).check()
    ConversionSettings(formats=(DiskFormat.VMDK,)).check()
    ConversionSettings(formats=(DiskFormat.VMDK, DiskFormat.QCOW2), keep_raw=False).check()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shrink", "env"),
    [
        pytest.param(True, {}, id="shrunk", marks=pytest.mark.exhaustive),
        pytest.param(False, NO_APPLIANCE, id="as-they-are"),
    ],
)
def test_run_without_raw_disks_takes_less_room_and_never_pays_twice(
    prefect_server: PrefectServer, demo_disks: tuple[Disk, ...], tmp_path: Path, *, shrink: bool, env: dict[str, str]
) -> None:
    add_image(tmp_path / "cloud", DEMO_IMAGE, demo_disks)
    add_bucket(tmp_path / "cloud", BUCKET)
    with emulated_cloud(tmp_path / "cloud", variants=Variants(export_seconds=0.5)) as cloud:
        given = parameters(cloud, DEMO_IMAGE, tmp_path / "w", keep_raw=False, shrink=shrink, on_fstab_mismatch="warn")
        first = start(prefect_server, given, env=env)
        state, message = prefect_server.wait_for(first, *ENDED)
        logs = prefect_server.all_logs(first)
        assert state == "COMPLETED", f"{message}\n{logs}"
        assert list((tmp_path / "w" / "disks").glob("[!.]*")) == []
        assert len(re.findall(r"is let go \(", logs)) == 3
        [used] = [line for line in logs.splitlines() if line.startswith("Disk use: ")]
        peak, final = re.findall(r"([\d.]+) MiB", used)[:2]
        # All disks and images together would be twice what is left in the end.
        assert float(final) + 20 < float(peak) < 1.8 * float(final), used

        asked = len(cloud.requests)
        again = start(prefect_server, {**given, "formats": ["qcow2", "vmdk"]}, env=env)
        state, message = prefect_server.wait_for(again, *ENDED)
        assert state == "COMPLETED", f"{message}\n{prefect_server.all_logs(again)}"
        ranges = [call for call in cloud.requests[asked:] if call[0] == "GET" and ".tar.gz" in call[1]]
        assert ranges == [], "the images stand in for the disks"
    for disk in demo_disks:
        qcow2, vmdk = (tmp_path / "w" / "images" / f"{disk.stem}.{suffix}" for suffix in ("qcow2", "vmdk"))
        assert is_equal("qcow2", qcow2, "vmdk", vmdk)
        assert shrink or is_equal("raw", disk.path, "qcow2", qcow2)


def is_equal(one_format: str, one: Path, other_format: str, other: Path) -> bool:
    argv: list[str | Path] = ["qemu-img", "compare", "-f", one_format, "-F", other_format, one, other]
    return subprocess.run(argv, check=False).returncode == 0
