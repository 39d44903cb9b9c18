"""The boot test of a run: what is booted, which outcomes stop the run, and real runs over the demo server."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.boot_decision import check_boot_test, to_boot, weigh_boot
from migration.artifact import Artifact
from migration.disk import Disk, DiskFormat, DiskRole
from migration.errors import FindingsRemain, InvalidInput
from migration.journal import Journal
from migration.repair import Repair
from migration.target import Target
from migration.verdict import Verdict
from migration.workspace import Workspace
from private_cloud.boot_in_workspace import BootProof
from private_cloud.console import Outcome
from private_cloud.machine import Firmware
from report.document import report_document
from report.markdown import render_markdown
from report.report import Report, outcome_of_run
from tests.prefect_fixtures import PrefectServer, copy_disks, demo_disks, prefect_server
from tests.test_flows_export_to_private_cloud import machines_in, start, wait_until

__all__ = ["demo_disks", "prefect_server"]

PROOF = BootProof(
    outcome=Outcome.KERNEL_PANIC, summary="does not boot: kernel panic", mounted=("/boot",), failed=(), seconds=12.5,
    evidence="Kernel panic - not syncing: `x`", note="", target=Target.SCSI, firmware=Firmware.UEFI, kvm=False,
    files=("system.qcow2",), console=Path("/w/console.log"), last_words=("```", "Kernel panic - not syncing: `x`"),
    added_console=False,
)  # fmt: skip
SYSTEM = Disk(
    device="xvda", role=DiskRole.SYSTEM, path=Path("/w/disks/system.raw"), format=DiskFormat.RAW, virtual_size=512
)
DATA = replace(SYSTEM, device="xvdb", role=DiskRole.DATA, path=Path("/w/disks/data_xvdb.raw"))
REPORT = Report(title="t", workspace=Path("/w"), disks=(SYSTEM, DATA))


def image(disk: Disk, kind: DiskFormat) -> Artifact:
    return Artifact(
        device=disk.device, role=disk.role, path=Path(f"/w/images/{disk.stem}{kind.suffix}"), format=kind,
        virtual_size=disk.virtual_size, file_size=1, sha256="0", proof="equal",
    )  # fmt: skip


def test_qcow2_is_booted_where_there_is_one() -> None:
    assert to_boot(REPORT) == (SYSTEM, DATA)
    vmdk = tuple(image(disk, DiskFormat.VMDK) for disk in (DATA, SYSTEM))
    assert to_boot(replace(REPORT, artifacts=vmdk)) == (SYSTEM, DATA)
    booted = to_boot(replace(REPORT, artifacts=(*vmdk, image(DATA, DiskFormat.QCOW2), image(SYSTEM, DiskFormat.QCOW2))))
    assert [(disk.device, disk.path.name, disk.format) for disk in booted] == [
        ("xvda", "system.qcow2", DiskFormat.QCOW2), ("xvdb", "data_xvdb.qcow2", DiskFormat.QCOW2),
    ]  # fmt: skip


def test_layer_with_the_repair_is_booted_rather_than_the_disk_under_it() -> None:
    layer = replace(SYSTEM, path=Path("/w/disks/system.repaired.qcow2"), format=DiskFormat.QCOW2, base=SYSTEM.path)
    verdict = Verdict(root="xvda1", operating_system="", findings=(), chain=())
    repaired = replace(REPORT, repair=Repair(before=verdict, diff="", changed=(), left=(), disks=(layer, DATA)))
    assert to_boot(repaired) == (layer, DATA)
    converted = to_boot(replace(repaired, artifacts=(image(SYSTEM, DiskFormat.QCOW2),)))
    assert (converted[0].path.name, converted[0].base) == ("system.qcow2", None)


@pytest.mark.parametrize(
    ("outcome", "unknown", "stops_on_mismatch", "fails"),
    [
        pytest.param(Outcome.EVERYTHING_MOUNTED, "", True, False, id="good"),
        pytest.param(Outcome.MOUNT_FAILED, "", True, True, id="a line fails"),
        pytest.param(Outcome.MOUNT_FAILED, "", False, False, id="a line fails, and mismatches are borne"),
        *(
            pytest.param(outcome, "", False, True, id=str(outcome))
            for outcome in Outcome
            if outcome not in {Outcome.EVERYTHING_MOUNTED, Outcome.MOUNT_FAILED}
        ),
        pytest.param(Outcome.NO_ANSWER, "no console can be added", True, False, id="silent without a console"),
    ],
)
def test_guest_that_does_not_come_up_stops_the_run(
    outcome: Outcome, unknown: str, *, stops_on_mismatch: bool, fails: bool
) -> None:
    workspace = Workspace(Path("/w"), Journal(Path("/nonexistent/journal.json")))
    refusal = weigh_boot(
        replace(PROOF, outcome=outcome, unknown=unknown), workspace, stops_on_mismatch=stops_on_mismatch
    )
    assert (refusal is not None) == fails
    if refusal is not None:
        assert isinstance(refusal, FindingsRemain)
        assert "boot test on scsi: " in refusal.message
        assert "is in /w, " in refusal.message
        assert "/w/console.log" in refusal.message


@pytest.mark.parametrize(
    ("target", "disks", "said"),
    [
        pytest.param(Target.XEN, (), "cannot be emulated", id="xen"),
        pytest.param(Target.IDE, (SYSTEM, *[DATA] * 4), "takes 4 disks on ide", id="too many disks"),
        pytest.param(Target.VIRTIO, (DATA,), "no system disk", id="no system disk"),
    ],
)
def test_what_cannot_be_tried_is_refused_beforehand(target: Target, disks: tuple[Disk, ...], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        check_boot_test(target, disks)


def test_report_shows_the_outcome_at_once_and_the_console_in_a_fence_that_holds() -> None:
    report = replace(REPORT, boot=PROOF)
    text = render_markdown(report)
    assert text.splitlines()[4] == "**Boot test on scsi: does not boot: kernel panic.**"
    assert "`system.qcow2` on scsi, UEFI, emulation: does not boot: kernel panic, after 12.5 s" in text
    assert "````text\n```\nKernel panic - not syncing: `x`\n````" in text
    document = json.loads(json.dumps(report_document(report)))
    assert (document["boot"]["outcome"], document["boot"]["console"]) == ("kernel-panic", "/w/console.log")
    result = json.loads(json.dumps(outcome_of_run(report)))["boot_test"]
    assert (result["outcome"], result["target"], result["console"]) == ("kernel-panic", "scsi", "/w/console.log")


def test_test_that_showed_nothing_is_unknown_and_never_passed() -> None:
    text = render_markdown(replace(REPORT, boot=replace(PROOF, unknown="why"), boot_unknown="no console <b>there</b>"))
    assert text.splitlines()[4] == r"**Boot test: unknown.** no console \<b>there\</b>"
    assert "Boot test" not in render_markdown(REPORT)
    assert outcome_of_run(REPORT)["boot_test"] is None


def given(workspace: Path, disks: tuple[Disk, ...], **more: Any) -> dict[str, Any]:
    return {"workspace": str(workspace), "disks": [str(disk.path) for disk in disks], "boot_test": True, **more}


@pytest.mark.exhaustive
@pytest.mark.slow
def test_run_boots_what_it_has_made(
    prefect_server: PrefectServer, demo_disks: tuple[Disk, ...], tmp_path: Path
) -> None:
    started = start(prefect_server, given(tmp_path / "w", demo_disks), name="prepare-test-image")
    state, message = prefect_server.wait_for(started, "COMPLETED", "FAILED", "CRASHED", seconds=500)
    assert state == "COMPLETED", f"{message}\n{prefect_server.logs(started)}"
    report = prefect_server.artifacts(started)["migration-report"]
    assert "**Boot test on virtio: boots, and everything that the boot waits for is mounted.**" in report
    assert "`system.qcow2`, `data_xvdb.qcow2`, `data_xvdc.qcow2` on virtio, BIOS" in report
    assert "ferry-demo: boot complete, 3 of 3 file systems mounted" in report
    assert "ferry-demo: /data is mounted from /dev/vdb1, contents proven" in (tmp_path / "w/console.log").read_text()
    assert json.loads((tmp_path / "w/journal.json").read_text())["steps"]["boot-test"]["proof"]["failed"] == []
    assert "Boot test on virtio" in prefect_server.all_logs(started)


@pytest.mark.slow
def test_guest_that_passes_the_check_and_does_not_boot_fails_the_run(
    prefect_server: PrefectServer, demo_disks: tuple[Disk, ...], tmp_path: Path
) -> None:
    disks = copy_disks(demo_disks, tmp_path / "disks")
    with disks[0].path.open("r+b") as file:
        file.write(b"\xcd\x18")  # in place of GRUB: `int 0x18`, by which a boot sector says that it starts nothing
    wanted = given(tmp_path / "w", disks, on_fstab_mismatch="fail")
    started = start(prefect_server, wanted, name="prepare-test-image")
    state, message = prefect_server.wait_for(started, "COMPLETED", "FAILED", "CRASHED", seconds=500)
    assert state == "FAILED", prefect_server.logs(started)
    assert "boot test on virtio: does not boot: no boot loader" in message
    assert str(tmp_path / "w") in message
    assert str(tmp_path / "w" / "console.log") in message
    assert "SeaBIOS" in (tmp_path / "w" / "console.log").read_text()
    report = prefect_server.artifacts(started)["migration-report"]
    assert "nothing stands in the way" in report
    assert "**The run stopped at the stage boot:** boot test on virtio: does not boot" in report
    assert "Traceback" not in prefect_server.all_logs(started)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_run_cancelled_while_it_boots_leaves_no_machine(
    prefect_server: PrefectServer, demo_disks: tuple[Disk, ...], tmp_path: Path
) -> None:
    wanted = given(tmp_path / "w", demo_disks, formats=["raw"])
    started = start(prefect_server, wanted, name="prepare-test-image")
    # An appliance looks at the guest first.
    wait_until(lambda: bool(machines_in(prefect_server, "ferry-boot-")), "no machine was started", seconds=400)
    for machine in machines_in(prefect_server, "ferry-boot-"):
        os.kill(int(machine.name), signal.SIGSTOP)  # so that it boots no further, and heeds no SIGTERM

    prefect_server.run("prefect", "flow-run", "cancel", started)

    assert prefect_server.wait_for(started, "CANCELLED", "FAILED", "CRASHED", "COMPLETED", seconds=60)[0] == "CANCELLED"
    assert machines_in(prefect_server, "ferry-boot-") == []
    assert list(Path(prefect_server.env["TMPDIR"]).glob("ferry-boot-*")) == [], "the layers are thrown away"
    assert not (tmp_path / "w" / "console.log").exists()
    # Else Prefect's SIGKILL ended it, 30 s later.
    wait_until(lambda: "stopped on request" in prefect_server.logs(started), "it was not ended by us")
