"""Knows whether KVM works on this machine, by running something under it: `/dev/kvm` alone proves nothing."""

from __future__ import annotations

import functools
import logging
import os
import platform
import tempfile
import threading
from pathlib import Path

from migration.errors import CommandFailed, ToolMissing
from migration.run import find_program, run

log = logging.getLogger(__name__)

KVM = Path("/dev/kvm")

# A healthy KVM boots the sector in 0.1 to 0.3 s; nested in a hypervisor that emulates most of it, in 3 s and more.
PROOF_TIMEOUT = 5.0  # seconds

_PASSWORD = 0x2A  # what the sector writes; QEMU's isa-debug-exit turns n into the exit status 2n + 1
PROVEN = 2 * _PASSWORD + 1

# mov dx, 0xf4; mov al, _PASSWORD; out dx, al; then halt for ever, should nobody listen at that port.
PROGRAM = bytes([0xBA, 0xF4, 0x00, 0xB0, _PASSWORD, 0xEE, 0xFA, 0xF4, 0xEB, 0xFD])
BOOT_SECTOR = PROGRAM.ljust(510, b"\0") + b"\x55\xaa"

_lock = threading.Lock()
_given_up: list[str] = []  # reasons found later than the proof, by a guest that did not start
_said: list[str] = []  # so that the fallback is announced once in a process, not once a disk


def kvm_works(*, announce: bool = True) -> bool:
    """Return whether a guest really runs under KVM here; asked once in a process, up to `PROOF_TIMEOUT`.

    False is logged once as a warning unless `announce` is false, since emulation is many times slower. It
    is also the answer where nothing could be proven: no QEMU for this architecture, or an architecture we
    have no proof for.
    """
    reason = _reason_against()
    if reason and announce:
        _say_once(reason)
    return not reason


def explain_kvm() -> str:
    """Return one sentence on KVM for people, without announcing anything."""
    reason = _reason_against()
    return f"KVM does not work here ({reason})" if reason else "KVM works: a boot sector ran under it"


def give_up_kvm(reason: str) -> None:
    """Treat KVM as broken from now on: it passed the proof, then a real guest did not start under it."""
    with _lock:
        _given_up.append(reason)
    _say_once(reason)


def proof_argv(sector: Path, accelerator: str) -> list[str]:
    """Return the QEMU command that boots `sector` and exits with its status, or hangs, or dies.

    The CPU is the host's own, as libguestfs and libvirt ask for: some machines refuse just that.
    """
    return [
        "qemu-system-x86_64",
        "-accel", accelerator, "-cpu", "host" if accelerator == "kvm" else "max",
        "-machine", "pc", "-m", "16",
        "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot",
        "-device", "isa-debug-exit,iobase=0xf4,iosize=1",
        "-drive", f"file={_escape(sector)},format=raw,if=ide,snapshot=on",
    ]  # fmt: skip


def run_proof(accelerator: str) -> None:
    """Boot the sector, or raise `CommandFailed` (died, hung) or `ToolMissing`."""
    with tempfile.TemporaryDirectory(prefix="ferry-kvm-") as directory:
        sector = Path(directory, "boot-sector")
        sector.write_bytes(BOOT_SECTOR)
        run(proof_argv(sector, accelerator), timeout=PROOF_TIMEOUT, ok=(PROVEN,))


def _reason_against() -> str:
    with _lock:
        return _given_up[0] if _given_up else _proven_reason_against()


@functools.cache
def _proven_reason_against() -> str:
    """Return why KVM cannot be used, "" where it was proven to work."""
    if not KVM.exists():
        return f"{KVM} is missing"
    if not os.access(KVM, os.R_OK | os.W_OK):
        return f"{KVM} may not be opened by this user; `usermod -aG kvm USER` lets them"
    if platform.machine() not in {"x86_64", "AMD64"}:
        return f"{KVM} exists, but we have no proof for {platform.machine()}"
    try:
        find_program("qemu-system-x86_64")
        run_proof("kvm")
    except ToolMissing as error:
        return f"{KVM} exists, but cannot be tried: {error.message}"
    except CommandFailed as error:
        return f"{KVM} exists, but a guest does not run: {_last_line(error.stderr)}"
    return ""


def _last_line(stderr: str) -> str:
    """Return the line that says most: QEMU's own error if there is one, else the last."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return next((line for line in lines if " error: " in line), lines[-1] if lines else "QEMU died without a word")


def _say_once(reason: str) -> None:
    with _lock:
        if _said:
            return
        _said.append(reason)
    log.warning("KVM does not work here (%s): using emulation, which is slower", reason)


def _escape(path: Path) -> str:
    return str(path).replace(",", ",,")  # a comma ends a value in QEMU's option language
