"""What people and programs are shown of a repair."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fstab_check.check import check_guest
from fstab_check.repair import plan_repair
from fstab_check.repair_guest import PlannedRepair, apply_repair
from fstab_check.repair_render import render_repair, render_repair_json
from migration.disk import Disk, DiskFormat, DiskRole
from migration.errors import InvalidInput
from migration.repair import Repair
from tests.fstab_check_fixtures import GOOD_FSTAB, make_guest

BROKEN = b"/dev/vdx1 /\x1b[2J\xff ext4 defaults\r\n/dev/sr0 /cd iso9660 ro 0 0\n" + GOOD_FSTAB.encode()
LAYER = Disk(
    device="xvda", role=DiskRole.SYSTEM, path=Path("/w/system.repaired.qcow2"), format=DiskFormat.QCOW2,
    virtual_size=1 << 20, base=Path("/w/system.raw"),
)  # fmt: skip


def outcome(content: bytes) -> Repair:
    guest = make_guest(content)
    return PlannedRepair(before=check_guest(guest), patch=plan_repair(guest), devices=frozenset()).outcome


@pytest.mark.parametrize("written", [False, True])
def test_repair_is_printable_whatever_the_guest_holds(written: bool) -> None:
    repair = outcome(BROKEN)
    if written:
        repair = replace(repair, after=repair.before, disks=(LAYER,))
    text = render_repair(repair)
    assert text.replace("\n", "").replace("\t", "").isprintable()
    assert "/etc/fstab:1: what it names is not there: the boot goes on without it" in text
    assert "Not repaired:\n  /etc/fstab:2: it is no name of a disk" in text
    assert ("Nothing was written: --yes" in text) is not written
    assert ("/w/system.repaired.qcow2, over /w/system.raw" in text) is written
    document = json.loads(render_repair_json(repair))["repair"]
    assert document["changed"][0]["before"] == "/dev/vdx1 /\\x1b[2J\\xff ext4 defaults\\r"
    assert (document["after"] is None) is not written
    assert len(document["written"]) == written


def test_guest_that_needs_no_repair_is_told_so() -> None:
    repair = replace(outcome(GOOD_FSTAB.encode()), disks=(LAYER,))  # given as a layer: nothing was written to it now
    assert render_repair(replace(repair, after=repair.before)).endswith("Nothing to repair.\n")
    assert json.loads(render_repair_json(repair))["repair"]["written"] == []


def test_repair_says_which_folder_is_none(tmp_path: Path) -> None:
    guest = make_guest(BROKEN)
    plan = PlannedRepair(before=check_guest(guest), patch=plan_repair(guest), devices=frozenset({"xvda"}))
    disk = replace(LAYER, path=tmp_path / "system.raw", format=DiskFormat.RAW, base=None)
    disk.path.touch()
    for folder in (disk.path, disk.path / "below"):
        with pytest.raises(InvalidInput) as refused:
            apply_repair([disk], plan, directory=folder)
        assert refused.value.message == f"{folder}: this can be no folder"
