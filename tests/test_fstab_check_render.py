"""A verdict reads well, and its JSON is what the documentation says."""

from __future__ import annotations

import json

import pytest

from fstab_check.layout import GuestLayout
from fstab_check.render import render_json, render_summary, render_text
from migration.target import Target
from migration.verdict import Finding, Severity, Verdict, printable
from tests.fstab_check_fixtures import DATA_UUID, GOOD_FSTAB, ROOT_LINE, XFS_LINE, XVDA, judge, judge_on, with_disks


def test_text_shows_the_chain_of_every_line() -> None:
    text = render_text(judge(ROOT_LINE + "/dev/vdb1 /data ext4 defaults 0 0\n" + XFS_LINE))
    assert f"fstab:2  /dev/vdb1 → xvdb1 → ext4 UUID {DATA_UUID} → /data → there vdb1\n" in text
    assert text.startswith("Root file system: xvda1 (unknown Linux)\n")
    assert text.endswith("\nclean: 3 lines of fstab checked, 3 notes\n")


def test_text_tells_a_finding_with_place_evidence_and_remedy_the_worst_first() -> None:
    text = render_text(
        judge("/dev/vda1 / ext4 x 0 1\n/dev/vdd1 /d ext4\n" + XFS_LINE + f"UUID={DATA_UUID} /data ext4\n")
    )
    error = text.index(
        "ERROR /etc/fstab:2: /dev/vdd1 is on xvdd, which was not exported: the boot ends in emergency mode"
    )
    assert error < text.index("INFO /etc/fstab:1: ")
    assert "[device-not-exported]\n    seen: given: xvda, xvdb, xvdc\n    do:   export and give that disk" in text
    assert text.endswith("not clean: 4 lines of fstab checked, 1 error, 3 notes\n")


@pytest.mark.parametrize(
    ("severities", "summary"),
    [
        ([], "clean: 0 lines of fstab checked"),
        ([Severity.INFO], "clean: 0 lines of fstab checked, 1 note"),
        ([Severity.WARNING, Severity.INFO, Severity.INFO], "not clean: 0 lines of fstab checked, 1 warning, 2 notes"),
        ([Severity.ERROR] * 2, "not clean: 0 lines of fstab checked, 2 errors"),
    ],
)
def test_summary_counts(severities: list[Severity], summary: str) -> None:
    findings = tuple(
        Finding(code="x", severity=severity, message="m", evidence="e", remedy="r") for severity in severities
    )
    assert render_summary(Verdict(root="xvda1", operating_system="", findings=findings, chain=())) == summary


def test_line_is_told_once_with_the_buses_it_holds_for() -> None:
    text = render_text(
        judge(
            ROOT_LINE + "/dev/vdb1 /data ext4 defaults 0 0\n/dev/vdd1 /x ext4 nofail 0 0\n" + XFS_LINE
            + "/dev/sdc /y xfs nofail 0 0\n/dev/sdb1 /z ext4 nofail\n"
        )
    )  # fmt: skip
    _, _, told = text.partition("What the boot will do:\n")
    gone = "not mounted: its device does not appear; the boot goes on without it (nofail)"
    assert told.splitlines()[:6] == [
        "  virtio: boots",
        "  scsi, sata, ide, nvme, xen, vmware: does not boot",
        "    fstab:2 /dev/vdb1: emergency: its device does not appear; waited for 90 s",
        f"  everywhere: fstab:3 /dev/vdd1: {gone}",
        f"  virtio, nvme, xen: fstab:5 /dev/sdc: {gone}",
        f"  virtio, nvme, xen: fstab:6 /dev/sdb1: {gone}",
    ]
    only = render_text(judge_on([Target.NVME], ROOT_LINE + "/dev/sdc /y xfs nofail 0 0\n"))
    assert f"  nvme: boots\n    fstab:2 /dev/sdc: {gone}\n" in only


def test_json_says_what_a_program_needs() -> None:
    verdict = json.loads(
        render_json(judge(ROOT_LINE + "/dev/vdd1 /d ext4 nofail 0 0\n", layout=GuestLayout(disks=(XVDA,))))
    )
    assert verdict["version"] == 1
    assert verdict["clean"] is False
    (found,) = verdict["findings"]
    assert (found["code"], found["severity"], found["file"], found["line"], found["device"]) == (
        "device-not-exported", "warning", "/etc/fstab", 2, "xvdd",
    )  # fmt: skip
    assert verdict["lines"][1] == {
        "line": 2, "source": "/dev/vdd1", "mountpoint": "/d", "type": "ext4", "options": "nofail",
        "device": None, "partition": None, "filesystem": None, "uuid": None,
        "resolved": "leads nowhere (device-not-exported)",
    }  # fmt: skip


def test_neither_form_lets_a_guest_write_to_the_terminal() -> None:
    verdict = judge(
        GOOD_FSTAB.encode() + b"LABEL=\x1b[2J\xff\xc2\x9b /\xe2\x80\xae\\012ERROR ext4\n", layout=with_disks()
    )
    for shown in (render_text(verdict), render_json(verdict)):
        assert all(char.isprintable() or char == "\n" for char in shown)
        assert "\nERROR ext4" not in shown
    assert "\\x1b[2J\\xff\\x9b" in render_text(verdict)
    assert "\\u202e\\nERROR" in render_text(verdict)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("plain 数据 é", "plain 数据 é", id="letters-of-any-language"),
        pytest.param("a\tb\nc", "a\\tb\\nc", id="blanks"),
        pytest.param("\x1b[31m", "\\x1b[31m", id="escape-sequence"),
        pytest.param("\x9b31m", "\\x9b31m", id="c1-control"),
        pytest.param("\u202egnp.exe", "\\u202egnp.exe", id="right-to-left-override"),
        pytest.param("\udcff", "\\xff", id="byte-that-is-no-utf-8"),
        pytest.param("\ud800", "\\ud800", id="lone-surrogate"),
    ],
)
def test_printable_escapes_what_a_terminal_may_obey(text: str, shown: str) -> None:
    assert printable(text) == shown
