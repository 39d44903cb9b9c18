"""What cloud-init is told is read as it reads it, and judged by what its modules would do with these disks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fstab_check.boot_config import parse_boot_config
from fstab_check.check import check_guest
from fstab_check.cloud_init import MAX_EVENTS
from fstab_check.codes import Code
from migration.target import Target
from migration.verdict import Severity
from tests.fstab_check_fixtures import (
    DATA_LINE,
    DATA_UUID,
    GOOD_FSTAB,
    ROOT_LINE,
    XFS_LINE,
    cloud_config,
    data_disk,
    finding,
    judge,
    judge_on,
    make_guest,
    oddities,
    with_disks,
)

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


def fs(text: str) -> str:
    return f"#cloud-config\nfs_setup:\n  - {{device: {text}}}\n"


def table(text: str) -> str:
    return f"disk_setup:\n  {text}\n"


FORMATS = [
    pytest.param(table("/dev/vdb: {table_type: gpt, layout: true, overwrite: true}"), ERROR, id="table"),
    pytest.param(table("/dev/vdb: {table_type: gpt, layout: true, overwrite: false}"), None, id="table if it is blank"),
    pytest.param(table("/dev/vdb: {table_type: gpt, layout: true}"), None, id="table by default"),
    pytest.param(table("/dev/vdz: {layout: true, overwrite: true}"), None, id="table on a disk that is not there"),
    pytest.param(table("/dev/vdd: {layout: true, overwrite: true}"), None, id="table on a blank disk"),
    pytest.param(table("ephemeral0: {layout: true, overwrite: true}"), WARNING, id="table on who knows which disk"),
    pytest.param(fs("/dev/vdc, filesystem: ext4"), None, id="free partition, none is"),
    pytest.param(fs("/dev/vdc, filesystem: ext4, partition: auto, overwrite: true"), None, id="auto, none is"),
    pytest.param(fs("/dev/vdc, filesystem: ext4, partition: none"), ERROR, id="the whole disk"),
    pytest.param(fs("/dev/vdc, filesystem: ext4, partition: ~"), ERROR, id="the whole disk by null"),
    pytest.param(fs("/dev/vdb, partition: 1, filesystem: ext4, label: data"), None, id="the very file system"),
    pytest.param(fs("/dev/vdb.1, filesystem: ext4, label: data"), None, id="the very file system, dotted"),
    pytest.param(fs("/dev/vdb, partition: 1, filesystem: ext4, label: data, overwrite: yes"), ERROR, id="it, anew"),
    pytest.param(fs("/dev/vdb, partition: 1, filesystem: xfs, label: data"), ERROR, id="another type"),
    pytest.param(fs("/dev/vdb, partition: 1, filesystem: ext4, label: d"), ERROR, id="another label"),
    pytest.param(fs("/dev/vdb, partition: 2, filesystem: ext4, overwrite: true"), None, id="an empty partition"),
    pytest.param("growpart: {mode: auto}\n", None, id="growpart"),
    pytest.param("disk_setup: [1]\nfs_setup: x\nmounts: {}\n", None, id="other shapes"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "severity"), FORMATS)
def test_what_is_formatted(text: str, severity: Severity | None) -> None:
    verdict = judge_on([Target.VIRTIO], layout=with_disks(data_disk(3)), config=cloud_config(text))
    found = [found for found in verdict.findings if found.code == Code.CLOUD_INIT_FORMATS]
    assert [one.severity for one in found] == ([severity] if severity else [])
    assert not [one for one in verdict.findings if one.code == Code.CONFIG_UNEXAMINED]


def test_formatting_is_an_error_even_where_one_bus_alone_has_the_name() -> None:
    found = finding(judge(config=cloud_config(fs("/dev/vdc, partition: none"))), Code.CLOUD_INIT_FORMATS)
    assert (found.severity, found.targets) == (ERROR, (Target.VIRTIO,))
    assert (found.file, found.line, found.device) == ("/etc/cloud/0.cfg", 3, "xvdc")
    assert "xfs big" in found.evidence


@pytest.mark.parametrize(
    ("entry", "severity"),
    [
        pytest.param("[vdb1, /d, ext4]", INFO, id="name that other buses lack"),
        pytest.param("[vdb, /d]", INFO, id="first partition of a disk"),
        pytest.param(f"[UUID={DATA_UUID}, /d]", None, id="uuid"),
        pytest.param("[/dev/vdz, /d]", WARNING, id="no such disk"),
        pytest.param("[x.nas.aliyuncs.com:/, /d, nfs]", WARNING, id="server"),
        pytest.param("[tmpfs, /d, tmpfs]", None, id="memory"),
        pytest.param("[/dev/vdz, ~]", None, id="taken out"),
        pytest.param("[/swapfile, none, swap]", None, id="file"),
    ],
)
def test_what_is_mounted(entry: str, severity: Severity | None) -> None:
    verdict = judge(config=cloud_config(f"mounts:\n- {entry}\n"))
    found = [found for found in verdict.findings if found.code == Code.CLOUD_INIT_MOUNT]
    assert [one.severity for one in found] == ([severity] if severity else [])
    if severity is INFO:
        assert Target.VIRTIO not in found[0].targets


def test_a_later_file_replaces_lists_and_adds_to_mappings() -> None:
    first = "mounts: [[vdy, /y]]\n" + table("/dev/vdb: {overwrite: true}")
    second = "mounts: [[vdz, /z]]\n" + table("/dev/vdc: {overwrite: true}")
    verdict = judge(config=cloud_config(first, second))
    assert finding(verdict, Code.CLOUD_INIT_MOUNT).file == "/etc/cloud/1.cfg"
    formatted = [found.device for found in verdict.findings if found.code == Code.CLOUD_INIT_FORMATS]
    assert formatted == ["xvdb", "xvdc"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("a: &a [x]\nb: [*a, *a]\n", "aliases", id="alias"),
        pytest.param("a: " + "[" * 50, "nested", id="deep"),
        pytest.param("a:\n" + "- b\n" * (MAX_EVENTS + 1), "holds too much", id="long"),
        pytest.param("a: x\n" * 20_000, "larger than", id="huge"),
        pytest.param("a: [", "no YAML", id="broken"),
        pytest.param("a: \x00", "no YAML", id="control character"),
        pytest.param("a: \udcff", "no YAML", id="no UTF-8"),
    ],
)
def test_what_is_not_followed_is_unknown(text: str, reason: str) -> None:
    found = finding(judge(config=cloud_config(text)), Code.CONFIG_UNEXAMINED)
    assert found.severity is WARNING
    assert reason in found.evidence


@pytest.mark.parametrize(
    ("sources", "is_told"),
    [("[AliYun]", True), ("[AliYun, None]", True), ("[NoCloud, AliYun]", False), ("[None]", False), ("[]", False)],
)
def test_data_sources_of_a_cloud_alone_are_told(sources: str, is_told: bool) -> None:
    verdict = judge(config=cloud_config(f"\ndatasource_list: {sources}\n"))
    found = [(found.severity, found.line) for found in oddities(verdict)]
    assert found == ([(INFO, 2)] if is_told else [])


def test_line_that_cloud_init_wrote_is_told_if_it_may_write_it_anew() -> None:
    text = ROOT_LINE + DATA_LINE.replace("defaults", "nofail,comment=cloudconfig") + XFS_LINE
    assert finding(judge(text, config=cloud_config("")), Code.CLOUD_INIT_LINE).line == 2
    assert Code.CLOUD_INIT_LINE not in {found.code for found in judge(text).findings}, "no cloud-init, no finding"


def test_cloud_init_that_the_kernel_switches_off_is_not_judged() -> None:
    guest = make_guest(GOOD_FSTAB, config=cloud_config(fs("/dev/vdc, partition: none")))
    assert check_guest(guest).errors
    arguments = " ".join(guest.boot.entries[0].arguments)
    off = parse_boot_config({"/boot/grub/grub.cfg": f"linux /vmlinuz {arguments} cloud-init=disabled\n".encode()})
    assert not oddities(check_guest(replace(guest, boot=off)))
