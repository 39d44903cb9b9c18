from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from converters.shrink import Shrink
from converters.trim import TrimmedFilesystem
from migration.artifact import Artifact
from migration.decision import Choice, Decision
from migration.disk import Disk, DiskFormat, DiskRole
from migration.image import GIB, Image, ImageDisk
from migration.repair import ChangedLine, LeftLine, Repair
from migration.target import Target
from migration.verdict import EntryChain, Finding, Forecast, LineForecast, Outcome, Severity, Verdict
from migration.workspace import open_workspace
from private_cloud.bundle.contents import Bundle
from report.markdown import render_markdown, try_it_command
from report.page import render_page
from report.report import MeasuredUse, Report
from report.write import write_report
from tests.report_fixtures import finished_report

IMAGE = Image(
    image_id="m-1", name="web | <b>server</b>", region_id="cn-hangzhou", status="Available", owner_alias="self",
    product_code="", os_type="linux", os_name="", architecture="x86_64", boot_mode="",
    disks=(ImageDisk(device="xvda", role=DiskRole.SYSTEM, size=GIB),),
)  # fmt: skip
DISK = Disk(device="xvda", role=DiskRole.SYSTEM, path=Path("/w/system.raw"), format=DiskFormat.RAW, virtual_size=GIB)
CHAIN = EntryChain(
    line=1, source="/dev/vda1", mountpoint="/", fstype="ext4", options="defaults", device="xvda", partition=1,
    filesystem="ext4", uuid="u", resolved="xvda1",
)  # fmt: skip
FINDING = Finding(
    code="tag-unmatched", severity=Severity.ERROR, message="UUID=x is nowhere", evidence="none", remedy="correct it",
    file="/etc/fstab", line=2,
)  # fmt: skip
VERDICT = Verdict(root="xvda1", operating_system="Debian", findings=(), chain=(CHAIN,))
REPORT = Report(title="m-1", workspace=Path("/w"), image=IMAGE, disks=(DISK,), verdict=VERDICT)


def artifact(device: str, image_format: DiskFormat) -> Artifact:
    role = DiskRole.SYSTEM if device == "xvda" else DiskRole.DATA
    return Artifact(
        device=device, role=role, path=Path(f"/w/{device},1{image_format.suffix}"), format=image_format,
        virtual_size=GIB, file_size=1, sha256="0" * 64, proof="equal",
    )  # fmt: skip


def test_verdict_is_the_first_thing_said() -> None:
    assert "nothing stands in the way" in render_markdown(REPORT).splitlines()[2]
    broken = replace(REPORT, verdict=replace(VERDICT, findings=(FINDING,)))
    assert "1 error, 0 warnings" in render_markdown(broken).splitlines()[2]
    assert "/etc/fstab:2: UUID=x is nowhere" in render_markdown(broken)


def test_what_was_not_examined_is_unknown_and_never_passed() -> None:
    text = render_markdown(replace(REPORT, verdict=None, not_examined="no root file system"))
    assert "unknown" in text.splitlines()[2]
    assert "no root file system" in text
    assert "nothing stands in the way" not in text


def test_run_that_stopped_says_why_at_once() -> None:
    stopped = "2 rules are broken:\n- encrypted disks\n- no role `x`\n  (see the list)"
    text = render_markdown(Report(title="m-1", workspace=Path("/w"), stopped=stopped))
    assert r"**The run stopped:** 2 rules are broken: - encrypted disks - no role \`x\` (see the list)" in text
    assert "has not been examined yet" in text.splitlines()[2]


def test_names_from_cloud_and_guest_draw_nothing() -> None:
    text = render_markdown(REPORT)
    assert r"web \| \<b>server\</b>" in text
    assert "<b>" not in text.replace(r"\<b>", "")


def test_boot_command_takes_one_format_with_the_system_disk_first() -> None:
    artifacts = [
        artifact(device, kind) for device in ("xvdb", "xvdaa", "xvda") for kind in (DiskFormat.VMDK, DiskFormat.QCOW2)
    ]
    drives = [word for word in shlex.split(try_it_command(artifacts)) if word.startswith("file=")]
    assert [drive.partition(",format=")[0] for drive in drives] == [
        "file=/w/xvda,,1.qcow2", "file=/w/xvdb,,1.qcow2", "file=/w/xvdaa,,1.qcow2",
    ]  # fmt: skip


def test_repair_is_shown_with_both_verdicts_and_in_a_fence_that_holds(tmp_path: Path) -> None:
    layer = replace(DISK, path=Path("/w/system.repaired.qcow2"), format=DiskFormat.QCOW2, base=DISK.path)
    line = ChangedLine(file="/etc/fstab", line=2, before="a", after="b", reasons=("<b>why</b>",))
    repair = Repair(
        before=replace(VERDICT, findings=(FINDING,)), after=VERDICT, diff=" ```\n-a\n+b\n", changed=(line,),
        left=(LeftLine(file="/etc/crypttab", line=1, why="who knows"),), disks=(layer,),
    )  # fmt: skip
    report = replace(REPORT, repair=repair)
    text = render_markdown(report)
    assert "nothing stands in the way" in text.splitlines()[2]
    assert "Before: not clean: 1 line of fstab checked, 1 error" in text
    assert "After: clean: 1 line of fstab checked" in text
    assert "````diff\n ```\n-a\n+b\n````" in text
    assert r"/etc/fstab:2: \<b>why\</b>" in text
    assert "/etc/crypttab:1: who knows" in text
    assert "`system.repaired.qcow2` over `system.raw`" in text
    with open_workspace(tmp_path / "w") as workspace:
        write_report(workspace, report)
    document = json.loads((tmp_path / "w" / "report.json").read_text())
    assert document["repair"]["disks"][0]["base"] == "/w/system.raw"


@pytest.mark.parametrize(("changed", "said"), [({"boot_mode": "UEFI"}, "OVMF"), ({"architecture": "arm64"}, "arm64")])
def test_machine_that_is_not_the_usual_one_is_pointed_out(changed: dict[str, str], said: str) -> None:
    image = replace(IMAGE, **changed)  # type: ignore[arg-type]  # only strings
    assert said in render_markdown(replace(REPORT, image=image, artifacts=(artifact("xvda", DiskFormat.QCOW2),)))


def test_report_for_programs_says_the_same(tmp_path: Path) -> None:
    with open_workspace(tmp_path / "w") as workspace:
        write_report(workspace, REPORT)
    document = json.loads((tmp_path / "w" / "report.json").read_text())
    assert document["version"] == 1
    assert document["verdict"]["chain"][0]["mountpoint"] == "/"


def test_report_says_what_the_boot_will_do_and_draws_nothing_the_guest_wrote() -> None:
    lost = LineForecast(
        line=7, source="/dev/vdb1", mountpoint="/data", outcome=Outcome.EMERGENCY, reason="no <b>name</b>", seconds=90
    )  # fmt: skip
    good = Forecast(target=Target.VIRTIO, lines=(replace(lost, outcome=Outcome.MOUNTED, seconds=0),))
    bad = tuple(Forecast(target=target, lines=(lost,)) for target in (Target.SCSI, Target.SATA))
    text = render_markdown(replace(REPORT, verdict=replace(VERDICT, forecasts=(good, *bad))))
    told = "- virtio: boots\n- scsi, sata: does not boot\n  - fstab:7 /dev/vdb1: emergency: no \\<b>name\\</b>\n"
    assert told in text


def test_report_tells_who_decided_what_was_saved_and_what_goes_over(tmp_path: Path) -> None:
    shrink = Shrink(
        disks=(), before=3 << 30, after=1 << 30,
        filesystems=(
            TrimmedFilesystem(volume="xvda1", type="ext4"),
            TrimmedFilesystem(volume="xvdb1", type="ntfs", why_not="ntfs is not trimmed"),
        ),
    )  # fmt: skip
    bundle = Bundle(
        path=tmp_path / "web", manifest_sha256="aa", fingerprint="1111-2222", size=1 << 30, files=9, volumes=1,
        is_signed=False,
    )  # fmt: skip
    decision = Decision(choice=Choice.REPAIR, decided_by="<b>Ada</b>", note="stays | behind", when=1_795_752_000.0)
    report = replace(
        finished_report(), shrink=shrink, bundle=bundle, decision=decision, defined=("libvirt.xml (libvirt, virtio)",),
        disk_use=MeasuredUse(expected=5 << 30, peak=4 << 30, final=2 << 30),
    )  # fmt: skip
    text, page = render_markdown(report), render_page(report)
    assert r"**Decided:** repair, by \<b>Ada\</b>, 2026-11-27" in text
    assert "2.0 GiB of 3.0 GiB left out; trimmed xvda1 (ext4); left alone xvdb1 (ntfs): ntfs is not trimmed" in text
    assert "took 4.0 GiB at the peak, 2.0 GiB in the end" in text
    assert "- libvirt.xml (libvirt, virtio)" in text
    assert "9 files, 1.0 GiB, not signed" in text
    assert "`1111-2222`" in text
    for word in (
        "&lt;b&gt;Ada&lt;/b&gt;",
        "2.0 GiB of 3.0 GiB left out",
        "libvirt.xml",
        "1111-2222",
        "4.0 GiB at the peak",
    ):
        assert word in page
    not_defined = replace(report, defined=(), not_defined="it would not boot\n  (see)")
    assert "Not defined: it would not boot (see)" in render_markdown(not_defined)
