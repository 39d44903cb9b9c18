"""With the system disk alone only that is found which no data disk can mend."""

from __future__ import annotations

import pytest

from fstab_check.codes import Code
from fstab_check.facts import FstabFile
from fstab_check.guest_config import GuestConfig
from fstab_check.layout import GuestLayout
from migration.verdict import Verdict
from tests.fstab_check_fixtures import (
    DATA_LINE,
    GOOD_FSTAB,
    ROOT_LINE,
    WANTED,
    XVDA,
    autofs_config,
    cloud_config,
    config_of,
    finding,
    judge,
    lvm_and_md,
    mount_text,
    unit,
)

SYSTEM_ALONE = GuestLayout(disks=(XVDA,))


def judge_early(text: str, **facts: object) -> Verdict:
    devices = ["xvda", "xvdb", "xvdc"]
    return judge(text, layout=SYSTEM_ALONE, expected=devices, awaited=devices[1:], **facts)


def test_good_guest_is_clean_and_says_what_was_left_open() -> None:
    verdict = judge_early(GOOD_FSTAB)
    assert verdict.findings == ()
    assert [entry.device for entry in verdict.chain] == ["xvda", None, None]
    assert verdict.chain[1].resolved == "may be on a disk that has not come yet"


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("/dev/vdb1", id="awaited device"),
        pytest.param("/dev/nvme2n1", id="the same in another spelling"),
        pytest.param("LABEL=ROOTFS", id="label in other letters than the system disk's"),
        pytest.param("PARTUUID=aaaa-bbbb", id="unknown partition"),
        pytest.param("/dev/mapper/vg-data", id="unknown logical volume"),
        pytest.param("/dev/md0", id="unknown array"),
    ],
)
def test_what_may_be_on_a_disk_to_come_is_no_finding(source: str) -> None:
    assert judge_early(f"{ROOT_LINE}{source} /data ext4 defaults 0 2\n").findings == ()
    everything_is_here = judge(f"{ROOT_LINE}{source} /data ext4 defaults 0 2\n", layout=SYSTEM_ALONE)
    assert everything_is_here.errors, "and it would be one if nothing were to come"


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(config_of(unit("opt.mount", mount_text("/dev/vdb1", "/opt"), pulled_in_by=WANTED)), id="unit"),
        pytest.param(autofs_config("d -fstype=ext4 :/dev/vdb1"), id="autofs"),
        pytest.param(cloud_config("mounts: [[vdb1, /d]]"), id="cloud-init"),
        pytest.param(lvm_and_md(md_conf="ARRAY /dev/md0 UUID=1"), id="array"),
    ],
)
def test_what_other_files_have_on_a_disk_to_come_is_no_finding(config: GuestConfig) -> None:
    assert judge_early(ROOT_LINE, config=config).findings == ()
    assert judge(ROOT_LINE, layout=SYSTEM_ALONE, config=config).findings, "and it would be one if nothing were to come"


def test_device_that_the_image_does_not_have_is_found() -> None:
    verdict = judge_early(ROOT_LINE + DATA_LINE + "/dev/vdd1 /late ext4 defaults 0 0\n")
    found = finding(verdict, Code.DEVICE_NOT_EXPORTED)
    assert (found.line, found.device) == (3, "xvdd")
    assert verdict.errors == (found,)


def test_what_is_wrong_with_the_system_disk_itself_is_found() -> None:
    verdict = judge_early(ROOT_LINE.replace("ext4", "xfs") + "/dev/vda7 /opt ext4 defaults 0 0\n")
    assert {found.code for found in verdict.errors} == {Code.TYPE_DIFFERS, Code.PARTITION_MISSING}
    missing = judge_early("", file=FstabFile(failure=Code.FSTAB_MISSING, evidence="there is no such file"))
    assert [found.code for found in missing.errors] == [Code.FSTAB_MISSING]


def test_name_of_the_system_disk_does_not_shift_because_others_are_to_come() -> None:
    verdict = judge_early("/dev/vda1 / ext4 defaults 0 1\n")
    assert [found.code for found in verdict.findings] == [Code.DEVICE_NAME]
