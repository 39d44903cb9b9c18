"""Volume groups and arrays whose disks are all there, and which are not put together over there all the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fstab_check.codes import Code
from fstab_check.facts import RootFilesystem
from fstab_check.guest_config import GuestConfig
from fstab_check.guest_files import GuestText
from fstab_check.layout import LogicalVolume, RaidArray, VolumeGroup, volume_of_group
from fstab_check.lvm_config import LvmFilter, parse_lvm_config
from fstab_check.md_config import parse_md_config
from migration.device import DeviceName
from migration.target import ALL_TARGETS, Target
from migration.verdict import Outcome, Severity, Verdict
from tests.fstab_check_fixtures import (
    GOOD_FSTAB,
    data_disk,
    filesystem,
    finding,
    judge,
    judge_on,
    lvm_and_md,
    oddities,
    with_disks,
)

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
LV_FSTAB = GOOD_FSTAB + "/dev/vg/data /d ext4 defaults 0 0\n"
LVM = replace(
    with_disks(
        data_disk(3, content=filesystem("LVM2_member", "AAAA-bbbb")),
        data_disk(4, content=filesystem("LVM2_member", "CCCC-dddd")),
    ),
    groups=(
        VolumeGroup(
            name="vg", members=(DeviceName(3), DeviceName(4)),
            volumes=(LogicalVolume(name="data", content=filesystem("ext4", "lv-uuid")),),
        ),
    ),
)  # fmt: skip
MD_UUID = "0123456789abcdef0123456789abcdef"
MEMBER = filesystem("linux_raid_member", "01234567-89ab-cdef-0123-456789abcdef", "host:0")
RAID = replace(
    with_disks(data_disk(3, content=MEMBER), data_disk(4, content=MEMBER)),
    arrays=(
        RaidArray(
            uuid=MD_UUID, name="host:0", members=(DeviceName(3), DeviceName(4)), content=filesystem("xfs", "md-xfs")
        ),
    ),
)
COLONS = "01234567:89abcdef:01234567:89abcdef"
VD_ONLY = '# filter = [ "r|.*|" ]\ndevices {\n\tdir = "/dev"\n\tfilter = [ "a|^/dev/vd|",\n"r|.*|" ]\n}\n'


def outcomes(verdict: Verdict) -> dict[Target, Outcome]:
    return {forecast.target: forecast.lines[-1].outcome for forecast in verdict.forecasts}


def judge_lvm(config: GuestConfig) -> Verdict:
    return judge(LV_FSTAB, layout=LVM, config=config)


def judge_md(source: str, config: GuestConfig) -> Verdict:
    return judge(GOOD_FSTAB + f"{source} /d xfs defaults 0 0\n", layout=RAID, config=config)


def test_filter_for_one_bus_loses_the_group_on_all_others() -> None:
    verdict = judge_lvm(lvm_and_md(VD_ONLY))
    found = finding(verdict, Code.LVM_FILTER)
    assert (found.severity, found.file, found.line) == (INFO, "/etc/lvm/lvm.conf", 4)
    assert found.targets == tuple(target for target in ALL_TARGETS if target is not Target.VIRTIO)
    told = outcomes(verdict)
    assert told.pop(Target.VIRTIO) is Outcome.MOUNTED
    assert set(told.values()) == {Outcome.EMERGENCY}
    alone = judge_on([Target.SATA], LV_FSTAB, layout=LVM, config=lvm_and_md(VD_ONLY))
    assert finding(alone, Code.LVM_FILTER).severity is ERROR
    assert Code.LVM_FILTER not in {found.code for found in judge(layout=LVM, config=lvm_and_md(VD_ONLY)).findings}


def test_severity_of_a_filter_is_that_of_the_line() -> None:
    text = LV_FSTAB.replace("/d ext4 defaults", "/d ext4 nofail")
    verdict = judge_on([Target.SATA], text, layout=LVM, config=lvm_and_md(VD_ONLY))
    assert finding(verdict, Code.LVM_FILTER).severity is WARNING


@pytest.mark.parametrize(
    ("patterns", "path", "accepted"),
    [
        pytest.param([], "/dev/sda", True, id="no pattern"),
        pytest.param(["a|.*|"], "/dev/sda", True, id="all"),
        pytest.param(["r|/dev/cdrom|"], "/dev/sda", True, id="matched by none"),
        pytest.param(["a/sd/", "r/.*/"], "/dev/sda", True, id="not anchored"),
        pytest.param(["a|^/dev/vd[a-z]$|", "r|.*|"], "/dev/vda1", False, id="anchored"),
        pytest.param(["r|^/dev/sd|", "a|.*|"], "/dev/sda", False, id="the first counts"),
        pytest.param(["a(/dev/(vd|xvd)[ab]+)", "r[.*]"], "/dev/xvda", True, id="brackets as separators"),
        pytest.param(["a|^/dev/disk/by-id/|", "r|.*|"], "/dev/sda", None, id="udev's links decide"),
        pytest.param(["a|((a*)*)*b|", "r|.*|"], "/dev/sda", None, id="pattern that would take for ever"),
        pytest.param(["a|" + ".*" * 9 + "x|"], "/dev/sda", None, id="too many repetitions"),
        pytest.param(["x|.*|"], "/dev/sda", None, id="neither a nor r"),
        pytest.param(["a|.*"], "/dev/sda", None, id="no end"),
    ],
)
def test_filters_accept_as_lvm_does(patterns: list[str], path: str, accepted: bool | None) -> None:
    assert LvmFilter(file="x", line=1, name="filter", patterns=tuple(patterns)).accepts(path) is accepted


def test_filter_that_is_not_followed_leaves_the_line_unknown() -> None:
    verdict = judge_lvm(lvm_and_md('devices/global_filter = "a|(.|.)*|"'))
    assert finding(verdict, Code.LVM_FILTER).severity is WARNING
    assert set(outcomes(verdict).values()) == {Outcome.UNKNOWN}


def test_later_file_overrides_the_filter() -> None:
    texts = [GuestText("a", VD_ONLY), GuestText("b", 'devices{filter=["a|.*|"]}\nglobal{use_devicesfile=0}')]
    parsed = parse_lvm_config(texts, None)
    assert [(one.file, one.patterns) for one in parsed.filters] == [("b", ("a|.*|",))]
    assert parsed.uses_devices_file is None, "that is devices/use_devicesfile"


def listed(id_type: str, name: str = "x") -> str:
    return (
        "# LVM uses devices listed in this file.\nVERSION=1.1.2\n"
        f"IDTYPE={id_type} IDNAME={name} DEVNAME=/dev/vdd PVID=AAAAbbbb\n"
        f"IDTYPE=md_uuid IDNAME=y DEVNAME=/dev/md0 PVID=CCCCdddd PART=1\n"
    )


@pytest.mark.parametrize(
    ("config", "line_number"),
    [
        pytest.param(lvm_and_md(devices_file=listed("sys_serial")), 3, id="serial number"),
        pytest.param(lvm_and_md(devices_file=listed("sys_wwid")), 3, id="wwid"),
        pytest.param(lvm_and_md(devices_file=listed("devname")), 3, id="name"),
        pytest.param(lvm_and_md("devices { use_devicesfile = 1 }", devices_file=""), None, id="not listed"),
        # The filter does not count beside a devices file.
        pytest.param(lvm_and_md(VD_ONLY, devices_file=""), None, id="filter too"),
    ],
)
def test_devices_file_may_hide_a_physical_volume(config: GuestConfig, line_number: int | None) -> None:
    verdict = judge_lvm(config)
    found = finding(verdict, Code.LVM_DEVICES_FILE)
    assert (found.severity, found.file, found.line) == (WARNING, "/etc/lvm/devices/system.devices", line_number)
    assert set(outcomes(verdict).values()) == {Outcome.UNKNOWN}
    assert Code.LVM_FILTER not in {found.code for found in verdict.findings}


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(lvm_and_md(devices_file=listed("crypt_uuid")), id="what travels"),
        pytest.param(lvm_and_md("devices { use_devicesfile = 0 }", devices_file=""), id="switched off"),
        pytest.param(lvm_and_md("devices { use_devicesfile = 1 }"), id="no such file"),
    ],
)
def test_devices_file_that_hides_nothing(config: GuestConfig) -> None:
    verdict = judge_lvm(config)
    assert not oddities(verdict)
    assert set(outcomes(verdict).values()) == {Outcome.MOUNTED}


def test_root_on_a_hidden_volume_is_unknown() -> None:
    root = RootFilesystem(volume=volume_of_group(LVM.groups[0], LVM.groups[0].volumes[0]))
    facts = {"layout": LVM, "roots": (root,), "root_argument": "/dev/mapper/vg-data"}
    good = judge("/dev/mapper/vg-data / ext4\n", **facts)
    assert {forecast.lines[0].outcome for forecast in good.forecasts} == {Outcome.MOUNTED}
    verdict = judge("/dev/mapper/vg-data / ext4\n", config=lvm_and_md(devices_file=""), **facts)
    assert {forecast.lines[0].outcome for forecast in verdict.forecasts} == {Outcome.UNKNOWN}


@pytest.mark.parametrize(
    ("source", "config", "line_number"),
    [
        pytest.param("/dev/md0", lvm_and_md(hostname="other"), None, id="not listed, of another host"),
        pytest.param("/dev/md127", lvm_and_md(), None, id="not its own number"),
        pytest.param("/dev/md/0", lvm_and_md(md_conf=f"ARRAY /dev/md/data UUID={COLONS}"), 1, id="listed otherwise"),
        pytest.param("UUID=md-xfs", lvm_and_md(md_conf=f"\narray <ignore> UUID={COLONS}"), 2, id="ignored"),
    ],
)
def test_name_of_an_array_that_nothing_makes_sure_of(
    source: str, config: GuestConfig, line_number: int | None
) -> None:  # fmt: skip
    verdict = judge_md(source, config)
    if source == "/dev/md127":
        assert Code.ARRAY_MISSING in {found.code for found in verdict.findings}
        return
    found = finding(verdict, Code.MD_NAME)
    assert (found.severity, found.file, found.line) == (WARNING, "/etc/mdadm.conf", line_number)
    assert set(outcomes(verdict).values()) == {Outcome.UNKNOWN}


@pytest.mark.parametrize(
    ("source", "config"),
    [
        pytest.param("/dev/md0", lvm_and_md(), id="its own host"),
        pytest.param("/dev/md/0", lvm_and_md(hostname="host.example.com\n"), id="its own host, with a domain"),
        pytest.param("/dev/md0", lvm_and_md(md_conf="HOMEHOST host", hostname="other"), id="its home host"),
        pytest.param("/dev/md0", lvm_and_md(md_conf=f"ARRAY /dev/md/0\n  UUID={COLONS}", hostname="x"), id="listed"),
        pytest.param("UUID=md-xfs", lvm_and_md(hostname="other"), id="by tag"),
        pytest.param(f"/dev/disk/by-id/md-uuid-{COLONS}", lvm_and_md(hostname="other"), id="by link"),
        pytest.param("/dev/md0", lvm_and_md(md_conf="DEVICE partitions containers"), id="all partitions"),
        pytest.param("/dev/md0", GuestConfig(), id="nobody looked"),
    ],
)
def test_array_that_is_found(source: str, config: GuestConfig) -> None:
    verdict = judge_md(source, config)
    assert not oddities(verdict)
    assert set(outcomes(verdict).values()) == {Outcome.MOUNTED}


def test_mdadm_that_looks_at_one_bus_alone() -> None:
    verdict = judge_md("UUID=md-xfs", lvm_and_md(md_conf="# x\nDEVICE /dev/vd[a-z]*\n"))
    found = finding(verdict, Code.MD_DEVICES)
    assert (found.severity, found.line) == (INFO, 2)
    assert Target.VIRTIO not in found.targets
    assert outcomes(verdict)[Target.SATA] is Outcome.UNKNOWN


def test_listed_array_that_is_not_there_is_found_unless_disks_are_awaited() -> None:
    config = lvm_and_md(md_conf=f"ARRAY /dev/md0 UUID={COLONS}\nARRAY <ignore> UUID=1:2\nARRAY /dev/md5 name=x\n")
    assert finding(judge(config=config), Code.MD_ARRAY_ABSENT).line == 1
    assert not oddities(judge(config=config, awaited=["xvdd"]))


def test_files_that_could_not_be_read_leave_lines_unknown() -> None:
    config = replace(lvm_and_md(), unread={"/etc/lvm/lvm.conf": "a fifo", "/etc/mdadm.conf": "a fifo"})
    for verdict in (judge_lvm(config), judge_md("UUID=md-xfs", config)):
        assert set(outcomes(verdict).values()) == {Outcome.UNKNOWN}
        assert [found.code for found in oddities(verdict)] == [Code.CONFIG_UNEXAMINED] * 2


def test_hostile_files_are_parsed_at_once() -> None:
    assert parse_lvm_config([GuestText("x", "a = [" * 50_000)], GuestText("y", "IDTYPE=a " * 30_000)).listed
    assert parse_lvm_config([GuestText("x", '"' * 250_000)], None).filters == ()
    assert parse_md_config([GuestText("x", "ARRAY x UUID=1\n" * 10_000)]).arrays
