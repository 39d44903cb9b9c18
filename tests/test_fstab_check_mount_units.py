"""Mount units count before or beside the lines of fstab, as systemd ranks them."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from fstab_check.codes import Code
from fstab_check.unit_files import drop_in_folders, escape_path, parse_unit, unescape_path
from migration.target import ALL_TARGETS, Target
from migration.verdict import LineForecast, Outcome, Severity, Verdict
from tests.fstab_check_fixtures import (
    DATA_LINE,
    DATA_UUID,
    ETC,
    GOOD_FSTAB,
    REQUIRED,
    ROOT_LINE,
    SWAP_UUID,
    USR,
    WANTED,
    XFS_LINE,
    XFS_UUID,
    config_of,
    data_disk,
    filesystem,
    finding,
    judge,
    mount_text,
    oddities,
    unit,
    with_disks,
)


def line_of(verdict: Verdict, mountpoint: str, target: Target = Target.VIRTIO) -> LineForecast:
    (forecast,) = [forecast for forecast in verdict.forecasts if forecast.target is target]
    return next(
        line for line in forecast.lines if line.mountpoint == mountpoint and not line.source.startswith("root=")
    )


STEMS = [
    ("/data/my-disk", r"data-my\x2ddisk"), ("/", "-"), ("/a b/c", r"a\x20b-c"), ("/.hidden", r"\x2ehidden"),
    ("/x/.y", "x-.y"), ("//data//", "data"), ("/数据", r"\xe6\x95\xb0\xe6\x8d\xae"), ("/a\\b", r"a\x5cb"),
    ("/a:b_c.d@e", r"a:b_c.d\x40e"), ("/-/--", r"\x2d-\x2d\x2d"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "stem"), STEMS)
def test_unit_names_are_escaped_as_systemd_escapes_them(path: str, stem: str) -> None:
    assert escape_path(path) == stem
    assert unescape_path(stem) == "/" + path.strip("/")
    if shutil.which("systemd-escape"):
        told = subprocess.run(["systemd-escape", "--path", "--", path], capture_output=True, text=True, check=True)
        assert told.stdout.strip() == stem


def test_unit_files_are_read_as_systemd_reads_them() -> None:
    text = "# c\n[Mount]\nWhat = /dev/vdb \\\n; comment in between\n  x\n;What=no\nno setting\n[Install]\nWantedBy=a\n"
    assert [(setting.section, setting.name, setting.value, setting.line) for setting in parse_unit(text)] == [
        ("Mount", "What", "/dev/vdb  x", 3),
        ("Install", "WantedBy", "a", 9),
    ]
    assert drop_in_folders("data-www.mount") == ["mount.d", "data-.mount.d", "data-www.mount.d"]


def test_list_settings_begin_anew_after_an_empty_value() -> None:
    made = unit("x.service", "[Unit]\nRequiresMountsFor=/a /b\nRequiresMountsFor=\nRequiresMountsFor='/c'\n")
    assert [word for word, _ in made.words("Unit", "RequiresMountsFor")] == ["/c"]


def test_masked_unit_that_is_only_wanted_is_passed_over() -> None:
    text = GOOD_FSTAB.replace("/data ext4 defaults", "/data ext4 nofail")
    assert text != GOOD_FSTAB
    verdict = judge(text, config=config_of(unit("data.mount", None)))
    found = finding(verdict, Code.MOUNT_UNIT_MASKED)
    assert (found.severity, found.file, found.line) == (Severity.WARNING, "/etc/fstab", 2)
    assert [line_of(verdict, path).outcome for path in ("/", "/data", "/srv")] == [
        Outcome.MOUNTED, Outcome.IGNORED, Outcome.MOUNTED,
    ]  # fmt: skip


def test_masked_unit_that_is_required_leaves_all_others_to_chance() -> None:
    """Seen in boots: the root was not remounted, and other lines were mounted in one guest and not in the other."""
    verdict = judge(GOOD_FSTAB + "/swapfile none swap sw 0 0\n", config=config_of(unit("data.mount", None)))
    found = finding(verdict, Code.MOUNT_UNIT_MASKED)
    assert (found.severity, found.line) == (Severity.ERROR, 2)
    assert "local-fs.target cannot start without it" in found.message
    assert line_of(verdict, "/data").outcome is Outcome.IGNORED
    for path, said in (("/", "read-only"), ("/srv", "chance")):
        assert line_of(verdict, path).outcome is Outcome.UNKNOWN
        assert said in line_of(verdict, path).reason
    assert "masked" not in line_of(verdict, "none").reason, "swap.target is another"
    assert all(forecast.outcome is Outcome.UNKNOWN for forecast in verdict.forecasts)


def test_masked_line_mounts_nothing_a_second_time_and_no_boot_hangs_on_it() -> None:
    text = GOOD_FSTAB + f"UUID={DATA_UUID} /masked ext4 defaults 0 0\n"
    codes = {
        found.code for found in judge(text, config=config_of(unit("masked.mount", None))).findings if found.line == 4
    }
    assert codes & {Code.FILESYSTEM_TWICE, Code.DATA_WITHOUT_NOFAIL} == set()
    assert Code.MOUNT_UNIT_MASKED in codes
    assert Code.FILESYSTEM_TWICE in {found.code for found in judge(text).findings}


def test_masked_swap_is_found_by_its_udev_link() -> None:
    layout = with_disks(data_disk(3, content=filesystem("swap", SWAP_UUID)))
    stem = escape_path(f"/dev/disk/by-uuid/{SWAP_UUID}")
    text = GOOD_FSTAB + f"UUID={SWAP_UUID} none swap sw 0 0\n"
    verdict = judge(text, layout=layout, config=config_of(unit(f"{stem}.swap", None)))
    assert finding(verdict, Code.MOUNT_UNIT_MASKED).line == 4
    assert line_of(verdict, "none").outcome is Outcome.IGNORED


def test_unit_in_etc_counts_in_the_place_of_its_line() -> None:
    """The line is good, the unit is not: what the unit says is what the boot does, and the line requires it."""
    verdict = judge(config=config_of(unit("data.mount", mount_text("/dev/vdz1", "/data"))))
    overrides = finding(verdict, Code.MOUNT_UNIT_OVERRIDES)
    assert (overrides.severity, overrides.file, overrides.line) == (Severity.WARNING, "/etc/fstab", 2)
    source = finding(verdict, Code.MOUNT_UNIT_SOURCE)
    assert (source.severity, source.file, source.line) == (Severity.ERROR, f"{ETC}/data.mount", 5)
    assert source.targets == ALL_TARGETS
    told = line_of(verdict, "/data")
    assert (told.outcome, told.seconds) == (Outcome.EMERGENCY, 90)
    assert "data.mount counts in its place" in told.reason


def test_unit_in_etc_saves_a_line_that_is_bad() -> None:
    text = ROOT_LINE + "UUID=dead /data ext4 defaults 0 2\n" + XFS_LINE
    good = unit("data.mount", mount_text(f"/dev/disk/by-uuid/{DATA_UUID}", "/data"))
    verdict = judge(text, config=config_of(good))
    assert [found.code for found in oddities(verdict)] == [Code.MOUNT_UNIT_OVERRIDES], "xvdb is not forgotten"
    assert line_of(verdict, "/data").outcome is Outcome.MOUNTED


def test_unit_that_mounts_another_disk_than_the_line_is_told() -> None:
    other = unit("data.mount", mount_text(f"/dev/disk/by-uuid/{XFS_UUID}", "/data", "xfs"))
    assert line_of(judge(config=config_of(other)), "/data").outcome is Outcome.WRONG_DISK


def test_unit_takes_nofail_from_the_line_that_pulls_it_in() -> None:
    text = ROOT_LINE + DATA_LINE.replace("defaults", "nofail") + XFS_LINE
    verdict = judge(text, config=config_of(unit("data.mount", mount_text("/dev/vdz1", "/data"))))
    assert line_of(verdict, "/data").outcome is Outcome.IGNORED
    assert finding(verdict, Code.MOUNT_UNIT_SOURCE).severity is Severity.WARNING


def test_unit_in_usr_lib_yields_to_the_line() -> None:
    bad = unit("data.mount", mount_text("/dev/vdz1", "/data"), folder=USR, pulled_in_by=REQUIRED)
    verdict = judge(config=config_of(bad))
    assert not oddities(verdict)
    assert line_of(verdict, "/data").outcome is Outcome.MOUNTED


def test_drop_in_changes_what_it_says_of_a_line() -> None:
    verdict = judge(config=config_of(unit("data.mount", "", drop_in="[Mount]\nWhat=/dev/vdz1\n")))
    assert finding(verdict, Code.MOUNT_UNIT_SOURCE).file == f"{ETC}/data.mount.d/x.conf"
    assert line_of(verdict, "/data").outcome is Outcome.EMERGENCY
    harmless = judge(config=config_of(unit("data.mount", "", drop_in="[Unit]\nAfter=x.service\n")))
    assert not oddities(harmless)


def test_drop_in_that_could_not_be_read_leaves_its_line_unknown() -> None:
    config = config_of(unit("data.mount", "", drop_in=" "), unread={f"{ETC}/data.mount.d/x.conf": "a fifo"})
    assert line_of(judge(config=config), "/data").outcome is Outcome.UNKNOWN


def test_symlinked_mount_point_is_looked_up_by_where_it_leads() -> None:
    config = config_of(unit("mnt-disk.mount", None), links={"/data": "/mnt/disk"})
    assert line_of(judge(config=config), "/data").outcome is Outcome.IGNORED


@pytest.mark.parametrize(
    ("what", "pulled_in_by", "severity", "outcome"),
    [
        pytest.param("/dev/vdz1", REQUIRED, Severity.ERROR, Outcome.EMERGENCY, id="required"),
        pytest.param("/dev/vdz1", WANTED, Severity.WARNING, Outcome.DELAYED, id="wanted"),
        pytest.param("/dev/vdb1", REQUIRED, Severity.INFO, Outcome.MOUNTED, id="name that other buses lack"),
        pytest.param("/dev/disk/by-label/none", WANTED, Severity.WARNING, Outcome.DELAYED, id="label of nothing"),
        pytest.param("/dev/disk/by-id/virtio-x", WANTED, Severity.WARNING, Outcome.DELAYED, id="serial number"),
    ],
)
def test_native_unit_that_leads_nowhere(
    what: str, pulled_in_by: frozenset[str], severity: Severity, outcome: Outcome
) -> None:
    verdict = judge(
        ROOT_LINE + XFS_LINE, config=config_of(unit("opt.mount", mount_text(what, "/opt"), pulled_in_by=pulled_in_by))
    )
    found = finding(verdict, Code.MOUNT_UNIT_SOURCE)
    assert (found.severity, found.file, found.line) == (severity, f"{ETC}/opt.mount", 5)
    told = line_of(verdict, "/opt")
    assert (told.line, told.outcome) == (0, outcome)
    (virtio,) = [forecast for forecast in verdict.forecasts if forecast.target is Target.VIRTIO]
    assert virtio.outcome is (Outcome.BOOTS if outcome is Outcome.MOUNTED else outcome)


def test_native_unit_that_nothing_pulls_in_is_left_alone() -> None:
    verdict = judge(config=config_of(unit("opt.mount", mount_text("/dev/vdz1", "/opt"))))
    assert not oddities(verdict)


def test_unit_behind_an_automount_is_missed_by_who_looks() -> None:
    config = config_of(
        unit("opt.mount", mount_text("/dev/vdz1", "/opt")),
        unit("opt.automount", "[Automount]\nWhere=/opt\n", pulled_in_by=WANTED),
    )
    assert line_of(judge(config=config), "/opt").outcome is Outcome.IGNORED
    assert finding(judge(config=config), Code.MOUNT_UNIT_SOURCE).severity is Severity.WARNING


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(mount_text(f"/dev/disk/by-uuid/{DATA_UUID}", "/other"), id="where goes not with the name"),
        pytest.param("[Mount]\nWhere=/data\n", id="no what"),
        pytest.param(mount_text("/dev/%i", "/data"), id="specifiers"),
    ],
)
def test_unit_that_cannot_be_followed_leaves_its_line_unknown(text: str) -> None:
    verdict = judge(config=config_of(unit("data.mount", text)))
    assert finding(verdict, Code.MOUNT_UNIT_UNEXAMINED).severity is Severity.WARNING
    assert line_of(verdict, "/data").outcome is Outcome.UNKNOWN


def test_unit_that_could_not_be_read_is_unknown_and_told_once() -> None:
    config = config_of(unit("data.mount", " "), unread={f"{ETC}/data.mount": "it is no regular file"})
    verdict = judge(config=config)
    assert finding(verdict, Code.CONFIG_UNEXAMINED).file == f"{ETC}/data.mount"
    assert Code.MOUNT_UNIT_UNEXAMINED not in {found.code for found in verdict.findings}
    assert line_of(verdict, "/data").outcome is Outcome.UNKNOWN


def test_units_of_the_kernels_own_file_systems_are_good() -> None:
    config = config_of(
        unit("dev-mqueue.mount", mount_text("mqueue", "/dev/mqueue", "mqueue"), folder=USR, pulled_in_by=WANTED),
        unit("run-vmblock.mount", mount_text("vmblock", "/run/vmblock", "fuse.x"), folder=USR, pulled_in_by=WANTED),
    )
    assert not oddities(judge(config=config))
