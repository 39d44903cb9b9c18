"""Options, the check at boot and the order of lines are judged without crying wolf."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from fstab_check.codes import Code
from fstab_check.option_check import is_time_span
from migration.verdict import Outcome
from tests.fstab_check_fixtures import (
    DATA_UUID,
    GOOD_FSTAB,
    ROOT_LINE,
    XFS_LINE,
    config_of,
    finding,
    judge,
    mount_text,
    unit,
)

NEW = {
    Code.OPTION_CONFLICT, Code.OPTION_MISSPELT, Code.OPTION_REMOVED, Code.OPTION_IGNORED, Code.DEVICE_TIMEOUT_ENDLESS,
    Code.DEPENDENCY_UNKNOWN, Code.FSCK_POINTLESS, Code.FSCK_ORDER, Code.FSCK_ROOT_OFF, Code.MOUNTPOINT_ORDER,
    Code.MOUNTPOINT_SPELLING,
}  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "UUID={d} /data ext4 defaults,noatime,nodiratime,nofail,x-systemd.device-timeout=30s,x-systemd.makefs 0 2",
        "UUID={d} /data ext4 rw,relatime,lazytime,errors=remount-ro,data=ordered,barrier=0,nobarrier,discard 0 2",
        "UUID={d} /data ext4 diratime,strictatime,norelatime,user,users,group,owner,_netdev,acl,noacls_=1 0 2",
        "UUID={d} /data ext4 nofail,x-systemd.device-timeout=0 0 2",
        "UUID={d} /data ext4 x-systemd.requires=/srv,x-systemd.after=nothing.service,x-systemd.requires=/dev/vdz 0 2",
        "UUID={d} /data ext4 x-systemd.requires=srv.mount,x-systemd.requires-mounts-for=/nothing 0 2",
        "UUID={d} /data ext4 comment=systemd.automount,x-gvfs-show,X-mount.mkdir,x-foo=bar 0 2",
        "n.example:/ /n nfs netdev,default,vers=3 0 0",
        "tmpfs /tmp tmpfs size=1g,mode=1777,noexec,nosuid,nodev 0 0",
        "/swapfile none swap default,pri=5 0 0",
    ],
)  # fmt: skip
def test_nothing_is_said_about(text: str) -> None:
    data = text.replace("{d}", "22222222-2222-4222-8222-222222222222")
    codes = {found.code for found in judge(ROOT_LINE + data + "\n" + XFS_LINE).findings}
    assert not codes & NEW


def test_required_units_are_looked_for_in_the_guest() -> None:
    names = frozenset({"a.service", "b@.service", "nas.mount"})
    config = config_of(unit("nas.mount", mount_text("LABEL=x", "/nas")))
    config = replace(config, units=replace(config.units, all_names=names))
    for needed in ("a.service", "b@1.service", "nas.mount", "/nas", "x.slice"):
        verdict = judge(GOOD_FSTAB + f"tmpfs /t tmpfs x-systemd.requires={needed}\n", config=config)
        assert Code.DEPENDENCY_UNKNOWN not in {found.code for found in verdict.findings}, needed


@pytest.mark.parametrize("options", ["nofail", "noauto", "x-systemd.automount", "_netdev", "nofail,noauto"])
def test_data_without_nofail_is_a_note_only_where_the_boot_hangs_on_it(options: str) -> None:
    data = f"UUID={DATA_UUID} /data ext4 {options} 0 2\n"
    verdict = judge(ROOT_LINE + data + XFS_LINE.replace("defaults", "nofail") + "LABEL=rootfs /r ext4 defaults\n")
    assert Code.DATA_WITHOUT_NOFAIL not in {found.code for found in verdict.findings}


def test_mount_points_that_are_one_by_a_symlink_are_taken_once() -> None:
    text = GOOD_FSTAB + "tmpfs /www tmpfs\n"
    verdict = judge(text, config=config_of(links={"/www": "/data"}))
    assert finding(verdict, Code.MOUNTPOINT_DUPLICATE).line == 4
    assert verdict.forecasts[0].lines[-1].outcome is Outcome.IGNORED


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("default", "defaults"), ("defaluts", "defaults"), ("nofial", "nofail"), ("nofails", "nofail"),
        ("noauot", "noauto"), ("netdev", "_netdev"), ("no_auto", "noauto"), ("noatme", "noatime"),
    ],
)  # fmt: skip
def test_slip_names_what_may_be_meant(word: str, meant: str) -> None:
    found = finding(judge(GOOD_FSTAB + f"tmpfs /t tmpfs {word} 0 0\n"), Code.OPTION_MISSPELT)
    assert found.message.startswith(f"no file system is known to take the option {word}, it may be meant as {meant}:")


@pytest.mark.parametrize(
    ("value", "is_one"),
    [
        ("30", True), ("30s", True), ("1min 30s", True), ("1.5h", True), ("2months", True), ("5ms", True), ("0", True),
        ("infinity", True), ("", False), ("soon", False), ("30x", False), ("-1", False), ("s", False), ("1min,", False),
    ],
)  # fmt: skip
def test_time_span_is_what_systemd_takes(value: str, is_one: bool) -> None:
    assert is_time_span(value) is is_one


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("tmpfs /a tmpfs\n" + ROOT_LINE, id="root-may-come-last"),
        pytest.param("tmpfs /data tmpfs\ntmpfs /database tmpfs\n", id="a-longer-name-is-no-child"),
        pytest.param("tmpfs /a/b tmpfs\ntmpfs /a tmpfs noauto\n", id="nobody-mounts-the-parent"),
        pytest.param("/dev/vdb2 none swap\ntmpfs /none tmpfs\n", id="swap-is-nowhere"),
    ],
)
def test_order_of_lines_is_fine_when(text: str) -> None:
    assert Code.MOUNTPOINT_ORDER not in {found.code for found in judge(text).findings}


def test_hostile_values_are_judged_at_once() -> None:
    began = time.monotonic()
    for nasty in (
        "x-systemd.device-timeout=" + "1" * 15_000 + "!", "ro,rw," * 2500, "," * 16_000, '"' * 16_000, "a=" * 8000,
        "x-systemd.requires=" + "\\x2d-" * 3000 + ".mount",
    ):  # fmt: skip
        judge(GOOD_FSTAB + f"/dev/mapper/{'-' * 300}a /{'/a' * 100} ext4 {nasty} 0 0\n")
        judge(GOOD_FSTAB + f"/dev/mapper/{'a-' * 8000}a /{'../' * 2000} ext4 x 0 0\n")
    assert time.monotonic() - began < 5
