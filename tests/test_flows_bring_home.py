"""The flow judges a guest before it pays for the download, as far as the bytes can be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.guest_image import PARTITION
from demo.guest_root import FSTAB
from emulator.account import add_image
from emulator.object_store import add_bucket
from emulator.server import Variants, emulated_cloud
from emulator.variants import ExportPacking
from migration.disk import Disk
from migration.run import run
from tests.conftest import BUCKET
from tests.prefect_fixtures import PrefectServer, copy_disks, demo_disks, prefect_server
from tests.test_ferry_check_fstab_in_bucket import bytes_served
from tests.test_flows_export_to_private_cloud import DEMO_IMAGE, parameters, start

__all__ = ["demo_disks", "prefect_server"]

pytestmark = pytest.mark.slow

ENDED = ("COMPLETED", "FAILED", "CRASHED")


@pytest.mark.exhaustive
def test_mismatch_seen_in_the_bucket_stops_before_the_download(
    prefect_server: PrefectServer, demo_disks: tuple[Disk, ...], tmp_path: Path
) -> None:
    add_image(tmp_path / "cloud", DEMO_IMAGE, demo_disks[:2])  # fstab still mounts the third disk
    add_bucket(tmp_path / "cloud", BUCKET)
    with emulated_cloud(tmp_path / "cloud", variants=Variants(packing=ExportPacking.RAW)) as cloud:
        given = parameters(cloud, DEMO_IMAGE, tmp_path / "w")
        refused = start(prefect_server, given)
        state, message = prefect_server.wait_for(refused, *ENDED)
        assert state == "FAILED", prefect_server.logs(refused)
        assert "tag-unmatched; nothing more was downloaded" in message
        assert list((tmp_path / "w" / "disks").iterdir()) == []
        assert bytes_served(cloud) < 0.05 * sum(disk.virtual_size for disk in demo_disks[:2])
        report = prefect_server.artifacts(refused)["migration-report"]
        assert "Looked at in the bucket before the download" in report
        assert "/srv/archive" in report
        assert "Traceback" not in prefect_server.all_logs(refused)

        warned = start(prefect_server, {**given, "on_fstab_mismatch": "warn"})
        assert prefect_server.wait_for(warned, *ENDED)[0] == "COMPLETED"
        assert len(list((tmp_path / "w" / "images").iterdir())) == 2
        assert cloud.count("ExportImage") == 1
        assert cloud.access_key_secret not in prefect_server.all_logs(refused) + prefect_server.all_logs(warned)


def test_archives_are_judged_by_the_system_disk_before_the_data_disks_are_fetched(
    prefect_server: PrefectServer, demo_disks: tuple[Disk, ...], tmp_path: Path
) -> None:
    disks = copy_disks(demo_disks, tmp_path / "disks")
    (tmp_path / "fstab").write_text(FSTAB + "/dev/vdd1 /late ext4 defaults 0 0\n", encoding="utf-8")
    change = f"rm /etc/fstab\nwrite {tmp_path / 'fstab'} /etc/fstab\n"
    run(["debugfs", "-w", "-f", "-", f"{disks[0].path}?offset={PARTITION}"], stdin=change)
    add_image(tmp_path / "cloud", DEMO_IMAGE, disks)
    add_bucket(tmp_path / "cloud", BUCKET)
    with emulated_cloud(tmp_path / "cloud") as cloud:
        refused = start(prefect_server, parameters(cloud, DEMO_IMAGE, tmp_path / "w"))
        state, message = prefect_server.wait_for(refused, *ENDED)
        assert state == "FAILED", prefect_server.logs(refused)
        assert "device-not-exported; nothing more was downloaded" in message
        assert [path.name for path in (tmp_path / "w" / "disks").iterdir()] == ["system.raw"]
        fetched = {path for method, path, header in cloud.requests if method == "GET" and header}
        assert [path for path in fetched if "_data_" in path] == []
    report = prefect_server.artifacts(refused)["migration-report"]
    assert "Looked at with the system disk alone" in report
    assert "xvdd" in report
    assert "may be on a disk that has not come yet" in report
