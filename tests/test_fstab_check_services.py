"""Services are told of that say themselves which mount they need, where it is lost."""

from __future__ import annotations

import pytest

from fstab_check.codes import Code
from migration.target import Target
from migration.verdict import Severity
from tests.fstab_check_fixtures import (
    DATA_UUID,
    ETC,
    ROOT_LINE,
    USR,
    WANTED,
    XFS_LINE,
    config_of,
    finding,
    judge,
    unit,
)

LOST = ROOT_LINE + XFS_LINE + "LABEL=none /data ext4 nofail 0 0\n"


def service(text: str, drop_in: str = "", pulled_in_by: frozenset[str] = WANTED) -> object:
    return config_of(unit("db.service", text, folder=USR, pulled_in_by=pulled_in_by, drop_in=drop_in))


@pytest.mark.parametrize(
    ("text", "is_told"),
    [
        pytest.param("[Unit]\nRequiresMountsFor=/data", True, id="mount point"),
        pytest.param("[Unit]\nRequiresMountsFor=/x /data/db", True, id="below it, second word"),
        pytest.param("[Service]\nWorkingDirectory=-/data/db", True, id="working directory"),
        pytest.param("[Unit]\nConditionPathIsMountPoint=/data", True, id="condition"),
        pytest.param("[Unit]\nConditionPathIsMountPoint=!/data", False, id="condition the other way round"),
        pytest.param("[Unit]\nRequiresMountsFor=/database", False, id="another folder"),
        pytest.param("[Unit]\nRequiresMountsFor=/srv/db", False, id="mount that is good"),
        pytest.param("[Unit]\nRequiresMountsFor=/data/%i", False, id="specifier"),
        pytest.param("[Unit]\nRequiresMountsFor=/data\nRequiresMountsFor=", False, id="taken back"),
        pytest.param("[Service]\nWorkingDirectory=~", False, id="home"),
        pytest.param("[Service]\nExecStart=/data/db/run", False, id="nothing said"),
    ],
)
def test_service_is_told_if_it_says_that_it_needs_the_mount(text: str, is_told: bool) -> None:
    codes = [found.code for found in judge(LOST, config=service(text)).findings]
    assert (Code.SERVICE_NEEDS_MOUNT in codes) is is_told


def test_service_is_named_with_file_line_and_mount() -> None:
    found = finding(
        judge(LOST, config=service("[Unit]\n", drop_in="[Unit]\n\nRequiresMountsFor=/data/db\n")),
        Code.SERVICE_NEEDS_MOUNT,
    )
    assert (found.severity, found.file, found.line) == (Severity.WARNING, f"{ETC}/db.service.d/x.conf", 3)
    assert found.message.startswith("db.service needs /data/db, and line 3 of fstab does not mount /data there")


def test_mount_that_some_bus_finds_is_a_note() -> None:
    text = ROOT_LINE + XFS_LINE + "/dev/vdb1 /data ext4 nofail 0 0\n"
    found = finding(judge(text, config=service("[Unit]\nRequiresMountsFor=/data")), Code.SERVICE_NEEDS_MOUNT)
    assert found.severity is Severity.INFO
    assert Target.VIRTIO not in found.targets


def test_innermost_mount_counts() -> None:
    text = LOST + "tmpfs /data/fast tmpfs nofail\n"
    codes = {found.code for found in judge(text, config=service("[Unit]\nRequiresMountsFor=/data/fast/x")).findings}
    assert Code.SERVICE_NEEDS_MOUNT not in codes


def test_service_itself_has_a_noauto_line_mounted() -> None:
    good = ROOT_LINE + XFS_LINE + f"UUID={DATA_UUID} /data ext4 noauto 0 0\n"
    needs = service("[Unit]\nRequiresMountsFor=/data")
    assert Code.SERVICE_NEEDS_MOUNT not in {found.code for found in judge(good, config=needs).findings}
    bad = good.replace(DATA_UUID, "dead")
    assert finding(judge(bad, config=needs), Code.SERVICE_NEEDS_MOUNT)


def test_masked_mount_is_lost_to_its_service_and_services_that_do_not_run_are_left_alone() -> None:
    good = ROOT_LINE + XFS_LINE + f"UUID={DATA_UUID} /data ext4 defaults 0 0\n"
    needing = unit("db.service", "[Unit]\nRequiresMountsFor=/data", pulled_in_by=WANTED)
    assert finding(judge(good, config=config_of(needing, unit("data.mount", None))), Code.SERVICE_NEEDS_MOUNT)
    for idle in (
        unit("db.service", None, pulled_in_by=WANTED),
        unit("db.service", "[Unit]\nRequiresMountsFor=/data"),
    ):
        codes = {found.code for found in judge(LOST, config=config_of(idle)).findings}
        assert Code.SERVICE_NEEDS_MOUNT not in codes
