"""The appliance starts where KVM is broken, ends when asked, and never outlives us."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from migration import acceleration, appliance
from migration.appliance import Refused, _guest_error, open_guest, refusals
from migration.disk import Disk
from migration.errors import GuestError, Interrupted, ToolMissing
from migration.progress import Stop
from tests.fstab_check_disks import MIB, disk_of

PATIENCE = 60.0  # seconds to wait for something that must come, on a crowded machine


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    path = tmp_path / "system.raw"
    path.write_bytes(b"\0" * MIB)
    return disk_of(path, "xvda")


def qemus_of(parent: int) -> list[int]:
    """Return the QEMUs with an appliance that `parent` has started."""
    return [
        int(process.name)
        for process in Path("/proc").iterdir()
        if process.name.isdecimal() and _is_appliance(process) and appliance._parent_of(process) == parent
    ]


def _is_appliance(process: Path) -> bool:
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    # qemu-img works in that folder too; only what runs an appliance is given a kernel.
    return b"-kernel" in words and any(b"/ferry-guest-" in word for word in words)


def wait_until(happened: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, f"it never came that {what}"
        time.sleep(0.1)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_open_guest_names_the_disk_that_is_not_there(disk: Disk) -> None:
    gone = disk_of(disk.path, "xvdb")
    disk.path.unlink()
    with pytest.raises(GuestError, match=r"system\.raw: there is no such file"), open_guest([gone]):
        pass


def test_open_guest_does_not_start_what_was_stopped(disk: Disk) -> None:
    stop = Stop()
    stop.set()
    with pytest.raises(Interrupted), open_guest([disk], stop=stop):
        pass


def test_open_guest_says_how_to_get_the_bindings(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "guestfs", None)  # what Python does for a module that cannot be imported
    monkeypatch.setattr(appliance, "kvm_works", lambda: False)
    with pytest.raises(ToolMissing, match="python3-guestfs"), open_guest([disk]):
        pass


def test_appliance_without_a_kernel_is_a_missing_tool(disk: Disk) -> None:
    message = "/usr/bin/supermin exited with error status 1.\nTo see full error messages you may need to …"
    error = _guest_error([disk], message, "")
    assert isinstance(error, ToolMissing)
    assert "linux-image" in error.remedy


def test_guest_error_shows_the_end_of_what_was_said_without_its_control_characters(disk: Disk) -> None:
    error = _guest_error([disk], "guestfs_launch failed.\nThis usually means …", "one\n\x1b[31mtwo\nthree\n\n4\n5\n6\n")
    assert isinstance(error, GuestError)
    assert "one" not in error.message
    assert error.message.startswith("system.raw: cannot look inside: guestfs_launch failed.\n\\x1b[31mtwo\nthree")


def test_guest_error_names_the_disk_that_qemu_complains_about(disk: Disk, tmp_path: Path) -> None:
    other = disk_of(disk.path.rename(tmp_path / "data_xvdb.raw"), "xvdb")
    error = _guest_error([disk, other], "guestfs_launch failed.", "qemu: -drive file=/tmp/x/disk-1.qcow2: no space")
    assert error.message.startswith("data_xvdb.raw: ")


@pytest.mark.slow
def test_open_guest_falls_back_where_kvm_hangs_and_runs_until_it_is_stopped(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("libguestfs asks for KVM only where /dev/kvm can be opened")
    # A QEMU that hangs as soon as it should run an appliance under KVM, and is the real one otherwise.
    qemu = tmp_path / "qemu"
    real = shutil.which("qemu-system-x86_64")
    qemu.write_text(
        f"#!{sys.executable}\nimport os, sys, time\n"
        "if '-kernel' in sys.argv and any('accel=kvm' in word for word in sys.argv): time.sleep(600)\n"
        f"os.execv({real!r}, [{real!r}, *sys.argv[1:]])\n"
    )
    qemu.chmod(0o755)
    monkeypatch.setenv("LIBGUESTFS_HV", str(qemu))
    monkeypatch.setattr(appliance, "KVM_LAUNCH_TIMEOUT", 1.0)
    monkeypatch.setattr(acceleration, "_proven_reason_against", lambda: "")
    monkeypatch.setattr(acceleration, "_given_up", [])
    monkeypatch.setattr(acceleration, "_said", [])
    stop = Stop()
    with pytest.raises(Interrupted), open_guest([disk], stop=stop) as g:  # noqa: PT012  # one launch, three promises
        assert list(g.list_devices()) == ["/dev/sda"]
        # While it is open anyway: an odd request is an answer, and the appliance goes on.
        with pytest.raises(Refused, match="no-such-file"), refusals(g):
            g.blkid("/dev/no-such-file")
        # Not what blkid calls it: the kernel inside may have seen the appliance's own disk first.
        assert g.blockdev_getsize64("/dev/sda") == disk.virtual_size
        pid = g.get_pid()
        # And it ends when asked, whatever call is under way.
        stop.set()
        wait_until(lambda: g.blkid("/dev/sda") is None, "the call failed")
    assert not is_alive(pid)
    reason = "a boot sector runs under it, but the libguestfs appliance does not start"
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"KVM does not work here ({reason}): using emulation, which is slower"
    ]
    assert not acceleration.kvm_works()


@pytest.mark.slow
def test_open_guest_gives_up_when_the_appliance_does_not_start_in_time(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appliance, "kvm_works", lambda: False)
    monkeypatch.setattr(appliance, "EMULATED_LAUNCH_TIMEOUT", 0.5)
    with pytest.raises(GuestError, match=r"system\.raw: .*did not start within 0\.5 seconds"), open_guest([disk]):
        pass
    assert not qemus_of(os.getpid())


@pytest.mark.slow
def test_open_guest_is_interrupted_in_the_middle_of_a_launch(disk: Disk) -> None:
    stop = Stop()

    def press() -> None:
        wait_until(lambda: qemus_of(os.getpid()), "QEMU started")
        stop.set()

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(Interrupted), open_guest([disk], stop=stop):
        pytest.fail("the appliance started although it was stopped")
    presser.join()
    assert not qemus_of(os.getpid())


@pytest.mark.slow
def test_appliance_ends_when_we_are_killed(disk: Disk, tmp_path: Path) -> None:
    program = (
        "import pathlib, sys; from migration.appliance import open_guest; from tests.fstab_check_disks import disk_of\n"
        "with open_guest([disk_of(pathlib.Path(sys.argv[1]), 'xvda')]): sys.stdin.read()"
    )
    ours = subprocess.Popen(
        [sys.executable, "-c", program, disk.path], stdin=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    try:
        wait_until(lambda: qemus_of(ours.pid), "QEMU started")
        (qemu,) = qemus_of(ours.pid)
    finally:
        ours.send_signal(signal.SIGKILL)
        ours.communicate()
    wait_until(lambda: not is_alive(qemu), "QEMU ended")
