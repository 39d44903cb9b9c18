"""What cannot be mounted is never taken for good: its line is unknown, and a disk without a line is told of."""

from __future__ import annotations

from pathlib import Path

import pytest

from fstab_check.codes import Code
from fstab_check.examine import examine_guest
from fstab_check.layout import GuestLayout, with_unmountable
from fstab_check.mount_check import reason_of
from fstab_check.render import render_text
from migration.appliance import Refused
from migration.device import DeviceName
from migration.target import Target
from migration.verdict import Outcome, Severity
from tests.fstab_check_damaged_disks import damaged_filesystems, sound_filesystems
from tests.fstab_check_disks import disk_of, make_ext4, make_tree
from tests.fstab_check_fixtures import (
    DATA_LINE,
    GOOD_FSTAB,
    LAYOUT,
    ROOT_LINE,
    XFS_LINE,
    data_disk,
    filesystem,
    finding,
    judge,
    judge_on,
    oddities,
    with_disks,
)

ROOT = "11111111-1111-4111-8111-111111111111"
REASON = "mount(2) system call failed: Structure needs cleaning."
DAMAGED = with_unmountable(LAYOUT, {"xvdb1": REASON})


def test_line_that_leads_to_a_damaged_file_system_is_unknown() -> None:
    verdict = judge_on([Target.VIRTIO], GOOD_FSTAB, layout=DAMAGED)
    found = finding(verdict, Code.FILESYSTEM_UNMOUNTABLE)
    assert (found.line, found.device, found.severity) == (2, "xvdb", Severity.WARNING)
    assert REASON in found.evidence
    assert not verdict.is_clean
    fates = {line.line: line.outcome for line in verdict.forecasts[0].lines}
    assert fates[1] is Outcome.MOUNTED
    assert fates[2] is Outcome.UNKNOWN
    assert verdict.forecasts[0].outcome is Outcome.UNKNOWN
    assert Code.DISK_UNEXAMINED not in {found.code for found in verdict.findings}  # one finding for one matter


def test_damaged_file_system_without_a_line_is_a_disk_that_was_not_examined() -> None:
    found = finding(judge(ROOT_LINE + XFS_LINE, layout=DAMAGED), Code.DISK_UNEXAMINED)
    assert found.device == "xvdb"
    assert found.evidence == f"xvdb1 ext4: {REASON}"


def test_root_argument_that_leads_to_a_damaged_file_system_is_unknown() -> None:
    verdict = judge_on([Target.VIRTIO], layout=DAMAGED, root_argument="LABEL=data")
    assert verdict.forecasts[0].lines[0].outcome is Outcome.UNKNOWN


def test_all_devices_of_a_btrfs_are_marked_with_what_one_was_tried_by() -> None:
    parts = [data_disk(index, content=filesystem("btrfs", "b-uuid", "b", f"sub-{index}")) for index in (3, 4)]
    other = data_disk(5, content=filesystem("btrfs", "other", "", "sub-5"))
    layout = with_unmountable(with_disks(*parts, other), {"xvdd": REASON})
    reasons = {volume.name: volume.content.unmountable for volume in layout.volumes() if volume.content}
    assert [name for name, reason in reasons.items() if reason] == ["xvdd", "xvde"]
    line = "LABEL=b /b btrfs defaults 0 0\nUUID=other /o btrfs defaults 0 0\n"
    assert finding(judge(GOOD_FSTAB + line, layout=layout), Code.FILESYSTEM_UNMOUNTABLE).line == 4


def test_nothing_is_claimed_while_devices_of_it_are_awaited() -> None:
    layout = GuestLayout(disks=LAYOUT.disks[:2])
    layout = with_unmountable(layout, {"xvdb1": REASON})
    text, expected = ROOT_LINE + DATA_LINE, ["xvda", "xvdb", "xvdc"]
    assert oddities(judge(text, layout=layout, expected=expected, awaited=["xvdc"])) == []
    assert finding(judge(text, layout=layout), Code.FILESYSTEM_UNMOUNTABLE)


def test_reason_names_the_volume_and_no_device_of_the_appliance() -> None:
    text = "mount_options: mount exited with status 32: mount: /sysroot: can't read superblock on /dev/sdb."
    assert reason_of(Refused(text), "xvdc1") == "can't read superblock on xvdc1."


def test_noting_nothing_changes_nothing() -> None:
    assert with_unmountable(LAYOUT, {}) == LAYOUT
    assert with_unmountable(DAMAGED, {}) == LAYOUT
    assert DAMAGED != LAYOUT


@pytest.mark.slow
@pytest.mark.parametrize(
    "families",
    [
        pytest.param(("ext4", "vfat"), marks=pytest.mark.exhaustive, id="ext4-and-vfat"),
        pytest.param(("xfs", "btrfs"), id="xfs-and-btrfs"),
    ],
)
def test_damaged_file_systems_on_data_disks_are_found_and_sound_ones_are_not(
    families: tuple[str, ...], tmp_path: Path
) -> None:
    damaged, sound = damaged_filesystems(tmp_path, families), sound_filesystems(tmp_path, families)
    images = damaged | sound
    devices = {name: DeviceName(number).disk for number, name in enumerate(images, start=1)}
    lines = [f"/dev/{device} /{name} auto defaults 0 0\n" for name, device in devices.items()]
    tree = make_tree(tmp_path / "tree", {"etc/fstab": f"UUID={ROOT} / ext4 defaults 0 1\n" + "".join(lines)})
    system = make_ext4(tmp_path / "system.raw", uuid=ROOT, label="root", tree=tree)
    disks = [disk_of(system, "xvda"), *(disk_of(images[name], device) for name, device in devices.items())]
    before = {disk.device: disk.path.read_bytes() for disk in disks}
    verdict = examine_guest(disks, targets=[Target.XEN])
    found = {entry.device: entry for entry in verdict.findings if entry.code is Code.FILESYSTEM_UNMOUNTABLE}
    assert {name for name, device in devices.items() if device in found} == set(damaged)
    assert [entry.filesystem for entry in verdict.chain[1:]] == [name.partition("-")[0] for name in images]
    for name, device in devices.items():
        outcome = next(line.outcome for line in verdict.forecasts[0].lines if line.mountpoint == f"/{name}")
        assert outcome is (Outcome.UNKNOWN if name in damaged else Outcome.MOUNTED), name
        if name in damaged:
            assert "/dev/sd" not in found[device].evidence  # the appliance's names are nobody else's
    assert "could not be mounted" in render_text(verdict)
    assert all(disk.path.read_bytes() == before[disk.device] for disk in disks)  # no journal was replayed into them
