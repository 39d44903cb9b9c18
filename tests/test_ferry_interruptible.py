"""Ctrl-C and SIGTERM end a look into a guest at once, whoever hears them first, and leave nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ferry.interruptible import run_interruptible
from migration.errors import GuestError
from migration.progress import Stop, check_stop
from tests.conftest import MIB, ToolMaker
from tests.test_ferry import environment, ferry

# As the real one, it shows signals to Python nowhere but in the callback, where an exception is printed and forgotten.
GUESTFS = """
import pathlib, subprocess, time, traceback

EVENT_APPLIANCE = EVENT_LIBRARY = 1

class GuestFS:
    def __init__(self, **_): pass
    def __getattr__(self, name): return lambda *_, **__: None
    def set_tmpdir(self, folder): self.folder = pathlib.Path(folder)
    def set_event_callback(self, callback, _): self.callback = callback

    def launch(self):
        (self.folder / "appliance").touch()
        qemu = subprocess.Popen(["tail", "-f", self.folder / "appliance"])
        end = time.monotonic() + 20
        while qemu.poll() is None and time.monotonic() < end:
            try:
                self.callback(1, 0, "booting\\n", [])
                time.sleep(0.05)
            except BaseException:
                traceback.print_exc()
        qemu.kill()
        qemu.wait()
        raise RuntimeError("qemu-system-x86_64: terminating on signal 2")
"""


@pytest.mark.parametrize("to_group", [False, True], ids=["alone", "group"])
@pytest.mark.parametrize(
    ("words", "number"),
    [
        pytest.param(["check-fstab"], signal.SIGINT, id="check-int"),
        pytest.param(["check-fstab"], signal.SIGTERM, id="check-term"),
        pytest.param(["check-fstab", "--fix", "-o", "out"], signal.SIGTERM, id="fix-term"),
    ],
)
def test_signal_while_the_appliance_starts_stops_at_once(
    words: list[str], number: signal.Signals, to_group: bool, tmp_path: Path, fake_tool: ToolMaker
) -> None:
    fake_tool("qemu-system-x86_64", "exit 1")  # KVM is not to be tried
    (tmp_path / "guestfs.py").write_text(GUESTFS)
    (tmp_path / "system.raw").write_bytes(b"\0" * MIB)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    env = environment() | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path.cwd())]), "TMPDIR": str(scratch)}
    argv = [sys.executable, "-m", "ferry", *words, "system.raw"]
    with subprocess.Popen(
        argv, env=env, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as victim:
        deadline = time.monotonic() + 30
        while not list(scratch.glob("ferry-guest-*/appliance")):
            assert time.monotonic() < deadline, "no appliance was started"
            time.sleep(0.05)
        time.sleep(0.2)
        signalled = time.monotonic()
        (os.killpg if to_group else os.kill)(victim.pid, number)
        _, said = victim.communicate(timeout=60)
    assert victim.returncode == 130, said
    assert "ferry: stopped; run the same command again: it starts from the beginning" in said
    assert "Traceback" not in said
    assert time.monotonic() - signalled < 15
    assert list(scratch.iterdir()) == []
    assert not (tmp_path / "out").exists()


def press_ctrl_c_once(started: threading.Event) -> None:
    started.wait(30)
    signal.raise_signal(signal.SIGINT)


def test_interruptible_work_that_was_done_all_the_same_is_not_thrown_away() -> None:
    started = threading.Event()

    def work(stop: Stop) -> str:
        started.set()
        assert stop.wait(30)
        return "done"

    presser = threading.Thread(target=press_ctrl_c_once, args=[started])
    presser.start()
    assert run_interruptible(work) == "done"
    presser.join()


def test_interruptible_work_raises_its_own_error_unless_it_was_stopped() -> None:
    def fail(_stop: Stop) -> None:
        raise GuestError("no appliance")

    with pytest.raises(GuestError, match="no appliance"):
        run_interruptible(fail)
    started = threading.Event()

    def work(stop: Stop) -> None:
        started.set()
        assert stop.wait(30)
        check_stop(stop)

    presser = threading.Thread(target=press_ctrl_c_once, args=[started])
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        run_interruptible(work)
    presser.join()


@pytest.mark.parametrize("command", ["check-fstab", "boot-test"])
def test_help_knows_that_it_may_be_stopped(command: str) -> None:
    done = ferry(command, "--help", COLUMNS="200")
    assert re.search(r"Exit codes: 0 .*, 1 .*, 2 .*, 130 stopped\.", done.stdout)
