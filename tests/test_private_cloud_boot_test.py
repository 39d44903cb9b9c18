"""Real boots of a real Debian, and of disks that start nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from converters.convert import convert_file
from migration.disk import Disk, DiskFormat
from migration.disk_file import find_disks
from migration.errors import GuestError, Interrupted, InvalidInput
from migration.run import run
from migration.target import Target
from private_cloud.boot_test import ATTEMPTS, boot_test
from private_cloud.console import Outcome
from private_cloud.machine import Firmware
from tests.conftest import ToolMaker
from tests.fstab_check_disks import make_ext4, make_xfs
from tests.systemd_guest import CONSOLE, FAST, ROOT_UUID, Layout, direct_kernel, make_guest, reason_to_skip

DATA, ARCHIVE = "11111111-2222-3333-4444-555555555555", "11111111-2222-3333-4444-666666666666"
ROOT_LINE = f"UUID={ROOT_UUID} / ext4 defaults 0 1\n"
FSTAB = f"{ROOT_LINE}UUID={DATA} /data ext4 defaults 0 2\nUUID={ARCHIVE} /srv/archive-2023 xfs defaults 0 0\n"
GENEROUS = 1800.0  # seconds; the machine may be a busy one
HALT = bytes([0xFA, 0xF4, 0xEB, 0xFD])  # cli; hlt; and once more

WHY_NOT = reason_to_skip()
needs_guest = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "no reason")


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for all that is temporary; nothing of it may be left, nor a QEMU that worked there."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv("LIBGUESTFS_CACHEDIR", "/var/tmp")  # noqa: S108  # its own default: the appliance is there
    yield folder
    assert list(folder.iterdir()) == []
    assert programs_that_name(folder) == []


def programs_that_name(folder: Path) -> list[int]:
    """Return the processes, this one apart, with a path in `folder` in their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in words and int(process.name) != os.getpid():
            found.append(int(process.name))
    return found


def make_data(folder: Path) -> dict[str, Path]:
    return {
        "xvdb": make_ext4(folder / "data_xvdb.raw", uuid=DATA),
        "xvdc": make_xfs(folder / "data_xvdc.raw", uuid=ARCHIVE),
    }


def make_blank(folder: Path, boot_code: bytes = b"") -> tuple[Disk, ...]:
    """A system disk that holds nothing but, if any, a boot sector."""
    path = folder / "system.raw"
    with path.open("wb") as file:
        if boot_code:
            file.write(boot_code.ljust(510, b"\0") + b"\x55\xaa")
        file.truncate(64 << 20)
    return find_disks([str(path)])


def digest(disk: Disk) -> str:
    return run(["sha256sum", disk.path])


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.timeout(2 * GENEROUS)
@needs_guest
def test_guest_whose_fstab_is_right_boots_and_mounts_everything(tmp_path: Path) -> None:
    disks = make_guest(tmp_path, fstab=FSTAB, disks=make_data(tmp_path))
    before = [digest(disk) for disk in disks]
    report = boot_test(disks, timeout=GENEROUS)
    assert (report.outcome, report.failed, report.note) == (Outcome.EVERYTHING_MOUNTED, (), "")
    assert report.mounted == ("/", "/data", "/srv/archive-2023")
    assert {mount.point: mount.uuid for mount in report.mounts if mount.type in {"ext4", "xfs"}} == {
        "/": ROOT_UUID, "/data": DATA, "/srv/archive-2023": ARCHIVE,
    }  # fmt: skip
    assert report.firmware is Firmware.BIOS
    assert [digest(disk) for disk in disks] == before


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(2 * GENEROUS)
@needs_guest
@pytest.mark.parametrize(
    ("layout", "target"),
    [(Layout.GPT, Target.SATA), (Layout.UEFI, Target.NVME), (Layout.MBR, Target.VMWARE), (Layout.MBR, Target.SCSI)],
    ids=str,
)
def test_guest_boots_on_the_bus_and_by_the_firmware_that_it_needs(
    layout: Layout, target: Target, tmp_path: Path
) -> None:
    disks = make_guest(tmp_path, fstab=FSTAB, disks=make_data(tmp_path), layout=layout)
    report = boot_test(
        disks, target=target, expected=["/data", "/srv/archive-2023"], plant_witness=False, timeout=GENEROUS
    )
    assert report.outcome is Outcome.EVERYTHING_MOUNTED
    assert report.firmware is (Firmware.UEFI if layout is Layout.UEFI else Firmware.BIOS)


@pytest.mark.slow
@needs_guest
def test_disk_that_is_missing_without_nofail_ends_in_emergency_mode(tmp_path: Path) -> None:
    disks = make_guest(tmp_path, fstab=FSTAB, device_timeout="5s")
    report = boot_test(disks, kernel=direct_kernel(), plant_witness=False)
    assert report.outcome is Outcome.EMERGENCY_MODE
    assert sorted(report.failed) == ["/data", "/srv/archive-2023"]


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.timeout(2 * GENEROUS)
@needs_guest
def test_disk_that_is_missing_with_nofail_is_found_missing_after_the_login_prompt(tmp_path: Path) -> None:
    # Long enough for the guest to come up first, where nobody else works on this machine.
    fstab = f"{ROOT_LINE}UUID={DATA} /data ext4 defaults,nofail 0 2\nUUID={ARCHIVE} /srv/archive-2023 xfs nofail 0 0\n"
    disks = make_guest(tmp_path, fstab=fstab, disks={"xvdc": make_data(tmp_path)["xvdc"]}, device_timeout="60s")
    before = [digest(disk) for disk in disks]
    report = boot_test(disks, kernel=direct_kernel(), timeout=GENEROUS)
    assert (report.outcome, report.is_witnessed) == (Outcome.MOUNT_FAILED, True)
    assert (report.mounted, report.failed) == (("/", "/srv/archive-2023"), ("/data",))
    assert report.evidence == f"not mounted in the end: UUID={DATA} /data ext4 defaults,nofail 0 2"
    assert [digest(disk) for disk in disks] == before


@pytest.mark.slow
@pytest.mark.exhaustive
@needs_guest
def test_wrong_type_ends_in_emergency_mode(tmp_path: Path) -> None:
    fstab = FSTAB.replace("/data ext4", "/data xfs")
    report = boot_test(make_guest(tmp_path, fstab=fstab, disks=make_data(tmp_path)), kernel=direct_kernel())
    assert (report.outcome, report.failed) == (Outcome.EMERGENCY_MODE, ("/data",))


@pytest.mark.slow
@pytest.mark.exhaustive
@needs_guest
@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        pytest.param("init=/bin/true", Outcome.KERNEL_PANIC, id="init ends"),
        pytest.param("root=UUID=0-0 rootdelay=2", Outcome.NO_ROOT_FILE_SYSTEM, id="root is elsewhere"),
    ],
)
def test_guest_that_does_not_reach_its_init_says_why(words: str, outcome: Outcome, tmp_path: Path) -> None:
    disks = make_guest(tmp_path, fstab=ROOT_LINE, command_line=f"{CONSOLE} {FAST} {words}")
    report = boot_test(disks, plant_witness=False)
    assert report.outcome is outcome
    assert report.evidence in report.log


@pytest.mark.slow
@pytest.mark.exhaustive
@needs_guest
def test_guest_without_a_serial_console_gets_one_for_the_test(tmp_path: Path) -> None:
    disks = make_guest(tmp_path, fstab=FSTAB, disks=make_data(tmp_path), command_line="console=tty0 quiet")
    before = digest(disks[0])
    report = boot_test(disks, add_serial_console=True)
    assert report.outcome is Outcome.EVERYTHING_MOUNTED
    assert report.mounted == ("/", "/data", "/srv/archive-2023")
    assert any("Reached target" in line for line in report.log)
    assert digest(disks[0]) == before


@pytest.mark.slow
def test_half_planted_witness_is_thrown_away_and_the_guest_booted_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_tool: ToolMaker
) -> None:
    breaker = fake_tool("breaker", 'for layer; do :; done; echo broken > "$layer"; exit 1')
    monkeypatch.setattr(sys, "executable", str(breaker))
    report = boot_test(make_blank(tmp_path))
    assert (report.outcome, report.is_witnessed) == (Outcome.NO_BOOT_LOADER, False)


@pytest.mark.slow
@pytest.mark.parametrize("firmware", [Firmware.BIOS, None], ids=str)
@pytest.mark.parametrize("format_", [DiskFormat.RAW, DiskFormat.QCOW2], ids=str)
def test_blank_disk_has_no_boot_loader(firmware: Firmware | None, format_: DiskFormat, tmp_path: Path) -> None:
    [disk] = make_blank(tmp_path)
    image = disk
    if format_ is not DiskFormat.RAW:
        path = convert_file(disk, tmp_path / "images", format_).path
        [image] = find_disks([str(path)])
    report = boot_test([image], firmware=firmware, plant_witness=False)
    assert (report.outcome, report.evidence) == (Outcome.NO_BOOT_LOADER, "No bootable device")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/usr/share/OVMF").exists(), reason="apt-get install ovmf")
def test_blank_disk_has_no_boot_loader_for_uefi(tmp_path: Path) -> None:
    report = boot_test(make_blank(tmp_path), firmware=Firmware.UEFI, plant_witness=False)
    assert (report.outcome, report.firmware) == (Outcome.NO_BOOT_LOADER, Firmware.UEFI)


@pytest.mark.slow
def test_guest_that_says_nothing_gives_no_answer_and_the_operator_a_hint(tmp_path: Path) -> None:
    report = boot_test(make_blank(tmp_path, HALT), timeout=5, plant_witness=False)
    assert report.outcome is Outcome.NO_ANSWER
    assert "ended after 5 seconds" in report.note
    assert "--serial-console" in report.note


PANIC = "[    0.060000] Kernel panic - not syncing: IO-APIC + timer doesn't work!  Boot with apic=debug"


@pytest.mark.parametrize(("panics", "outcome"), [(2, Outcome.EVERYTHING_MOUNTED), (9, Outcome.NO_ANSWER)])
def test_emulator_that_was_too_slow_is_not_called_a_broken_guest(
    panics: int, outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_tool: ToolMaker
) -> None:
    monkeypatch.setattr("private_cloud.boot_test.kvm_works", lambda: False)
    monkeypatch.setattr("private_cloud.observation.SETTLING", 0.5)
    tries = tmp_path / "tries"
    fake_tool(
        "qemu-system-x86_64",
        f'echo once >> {tries}; if [ "$(wc -l < {tries})" -le {panics} ]; then echo "{PANIC}"; sleep 60; '
        'else printf "\nReached target multi-user.target\n\nhost login: "; sleep 60; fi',
    )
    report = boot_test(make_blank(tmp_path), firmware=Firmware.BIOS, plant_witness=False)
    assert report.outcome is outcome, report
    assert len(tries.read_text().split()) == min(panics + 1, ATTEMPTS)
    assert ("too busy" in report.note) == (outcome is Outcome.NO_ANSWER)


@pytest.mark.slow
def test_no_serial_console_can_be_added_where_no_boot_loader_is(tmp_path: Path) -> None:
    with pytest.raises(GuestError, match="no boot loader's file"):
        boot_test(make_blank(tmp_path, HALT), add_serial_console=True)


@pytest.mark.slow
def test_stop_ends_the_machine(tmp_path: Path) -> None:
    stop = threading.Event()
    timer = threading.Timer(3, stop.set)
    timer.start()
    with pytest.raises(Interrupted):
        boot_test(make_blank(tmp_path, HALT), plant_witness=False, stop=stop)
    timer.join()


def test_xen_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="Xen"):
        boot_test(make_blank(tmp_path), target=Target.XEN)


def ferry_words(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "ferry", "boot-test", *map(str, words)]


@pytest.mark.slow
def test_command_speaks_json_and_exits_by_the_outcome(tmp_path: Path) -> None:
    make_blank(tmp_path)
    done = subprocess.run(
        ferry_words(tmp_path / "system.raw", "--untouched", "--json"), capture_output=True, text=True, check=False
    )
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["version"], answer["outcome"]) == (1, 1, "no-boot-loader")
    assert (answer["mounted"], answer["failed"], answer["firmware"]) == ([], [], "bios")
    assert (answer["is_witnessed"], answer["mounts"]) == (False, [])
    assert answer["log"][-1] == "No bootable device"
    assert answer["seconds"] > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["system.raw", "--target", "xen"], "Xen"),
        (["missing.raw"], "there is no such file"),
        (["xvdb=system.raw"], "the system disk is not among the disks"),
        ([], "no disks given"),
        (["system.raw", "--untouched", "--serial-console"], "choose one"),
    ],
    ids=["xen", "no file", "no system disk", "nothing", "untouched, and changed"],
)
def test_command_that_cannot_try_exits_2(words: list[str], said: str, tmp_path: Path) -> None:
    make_blank(tmp_path)
    done = subprocess.run(ferry_words(*words, "--json"), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in json.loads(done.stdout)["error"]["message"]


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path, scratch: Path) -> None:
    make_blank(tmp_path, HALT)
    child = subprocess.Popen(ferry_words(tmp_path / "system.raw", "--untouched"), stderr=subprocess.PIPE, text=True)
    with child:
        deadline = time.monotonic() + 60
        while not programs_that_name(scratch):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        assert child.wait(30) == 130
