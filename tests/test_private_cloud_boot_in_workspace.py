"""What is done with the outcome of a boot: kept, repeated, asked again. The boots themselves are those of a fake."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migration.disk import Disk
from migration.disk_file import find_disks
from migration.errors import GuestError, Interrupted
from migration.target import Target
from migration.workspace import Workspace, open_workspace
from private_cloud.boot_in_workspace import STEP, RecordedBoot, boot_in_workspace
from private_cloud.boot_test import BootReport
from private_cloud.console import Outcome
from private_cloud.machine import Firmware

GOOD = BootReport(
    outcome=Outcome.EVERYTHING_MOUNTED, mounted=("/data",), failed=(), seconds=1.5,
    log=(*(f"line {number}" for number in range(40)), "web login:"), evidence="web login:", note="",
    target=Target.VIRTIO, firmware=Firmware.BIOS, kvm=False,
)  # fmt: skip
BAD = replace(GOOD, outcome=Outcome.KERNEL_PANIC, log=("Kernel panic - not syncing",))
SILENT = replace(GOOD, outcome=Outcome.NO_ANSWER, log=("SeaBIOS",), evidence="")


class Machines:
    """In the place of `boot_test`: each boot comes out as the next of `outcomes`; `asked` is what was asked for."""

    def __init__(self) -> None:
        self.outcomes: list[BootReport | Exception] = []
        self.asked: list[dict[str, Any]] = []

    def __call__(self, _disks: object, **asked: Any) -> BootReport:
        self.asked.append(asked)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return replace(outcome, target=asked["target"])


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> Machines:
    made = Machines()
    monkeypatch.setattr("private_cloud.boot_in_workspace.boot_test", made)
    return made


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with open_workspace(tmp_path / "w") as space:
        yield space


@pytest.fixture
def disks(workspace: Workspace) -> tuple[Disk, ...]:
    (workspace.disks / "system.raw").write_bytes(bytes(512))
    return find_disks([str(workspace.disks / "system.raw")])


def test_console_is_kept_whole_and_its_end_is_in_the_proof(
    workspace: Workspace, disks: tuple[Disk, ...], machines: Machines
) -> None:
    machines.outcomes = [GOOD]
    proof = boot_in_workspace(workspace, disks, target=Target.SATA)
    assert proof.console.read_text().splitlines() == list(GOOD.log)
    assert proof.last_words == GOOD.log[-25:]
    assert (proof.target, proof.files, proof.mounted) == (Target.SATA, ("system.raw",), ("/data",))
    recorded = workspace.journal.get(STEP, RecordedBoot)
    assert recorded is not None
    assert recorded.proof == proof


def test_what_booted_well_is_booted_again_only_when_something_is_another(
    workspace: Workspace, disks: tuple[Disk, ...], machines: Machines
) -> None:
    machines.outcomes = [GOOD] * 3
    first = boot_in_workspace(workspace, disks, target=Target.VIRTIO)
    assert boot_in_workspace(workspace, disks, target=Target.VIRTIO) == first
    assert len(machines.asked) == 1
    boot_in_workspace(workspace, disks, target=Target.IDE)
    assert len(machines.asked) == 2
    disks[0].path.write_bytes(bytes(1024))
    boot_in_workspace(workspace, disks, target=Target.IDE)
    assert len(machines.asked) == 3


def test_what_did_not_boot_is_tried_again_each_time(
    workspace: Workspace, disks: tuple[Disk, ...], machines: Machines
) -> None:
    machines.outcomes = [BAD, GOOD]
    assert boot_in_workspace(workspace, disks, target=Target.VIRTIO).outcome is Outcome.KERNEL_PANIC
    assert boot_in_workspace(workspace, disks, target=Target.VIRTIO).outcome is Outcome.EVERYTHING_MOUNTED


@pytest.mark.parametrize("second", [GOOD, BAD, SILENT], ids=["good", "bad", "silent still"])
def test_silent_guest_is_given_a_console_and_what_it_says_there_counts(
    workspace: Workspace, disks: tuple[Disk, ...], machines: Machines, second: BootReport
) -> None:
    machines.outcomes = [SILENT, second]
    proof = boot_in_workspace(workspace, disks, target=Target.VIRTIO)
    assert [asked.get("add_serial_console", False) for asked in machines.asked] == [False, True]
    assert (proof.outcome, proof.added_console, proof.unknown) == (second.outcome, True, "")


def test_guest_that_can_be_given_no_console_is_unknown(
    workspace: Workspace, disks: tuple[Disk, ...], machines: Machines
) -> None:
    machines.outcomes = [SILENT, GuestError("no serial console could be added")]
    proof = boot_in_workspace(workspace, disks, target=Target.VIRTIO)
    assert "no serial console could be added" in proof.unknown
    assert proof.console.read_text() == "SeaBIOS\n"


def test_machine_that_ends_because_the_run_is_stopped_is_no_silent_guest(
    workspace: Workspace, disks: tuple[Disk, ...], machines: Machines
) -> None:
    machines.outcomes = [SILENT]  # Prefect's signal reaches QEMU too, and it switches itself off
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        boot_in_workspace(workspace, disks, target=Target.VIRTIO, stop=stop)
    assert workspace.journal.get(STEP, RecordedBoot) is None
