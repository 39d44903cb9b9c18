"""Boots a guest's disks in a machine of ours and says how that came out: the proof that the other side can have it.

The disks stay as they are: the guest writes to layers that are thrown away, as is all else when the test ends,
however it ends.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from migration.acceleration import give_up_kvm, kvm_works
from migration.disk import Disk
from migration.errors import CommandFailed, GuestError, InvalidInput, TookTooLong
from migration.overlay import make_overlay
from migration.progress import Stop
from migration.run import find_program, run
from migration.target import Target
from migration.verdict import printable
from private_cloud import serial_console
from private_cloud.console import Console, Outcome
from private_cloud.firmware import find_firmware, find_ovmf, reader_of_layer
from private_cloud.machine import CPUS, MEMORY, DirectKernel, Firmware, Machine, check_can_emulate, machine_argv

log = logging.getLogger(__name__)

VERSION = 1  # of what `BootReport` says, as JSON

# A healthy guest takes half a minute under KVM and up to two under emulation. On top come the 90 seconds that
# systemd waits for a missing device, or the 180 of dracut.
KVM_TIMEOUT = 300.0  # seconds
EMULATED_TIMEOUT = 600.0  # seconds
APPLIANCE_TIMEOUT = 600.0  # seconds; 10 to 30 on an idle machine

# A line with `nofail` does not keep the login prompt back. systemd says what it still waits for after two to
# five seconds of silence, and goes on saying so.
SETTLING = 8.0  # seconds

NO_SERIAL_CONSOLE = "the guest may have no serial console: --serial-console adds one, for this test only"
WENT_OFF = "the machine switched itself off"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootReport:
    """How a boot came out, in strings that are printable whatever the guest says.

    `mounted` and `failed` are mount points, or `swap on …`, as the console named them: a guest that keeps
    quiet about what went well names none. `evidence` is the line that decided, `note` what else to know;
    `seconds` go from the machine's start to the outcome; `log` is the console.
    """

    outcome: Outcome
    mounted: tuple[str, ...]
    failed: tuple[str, ...]
    seconds: float
    log: tuple[str, ...]
    evidence: str
    note: str
    target: Target
    firmware: Firmware
    kvm: bool

    @property
    def is_good(self) -> bool:
        return self.outcome.is_good

    @property
    def summary(self) -> str:
        """One line for people."""
        failed = ", ".join(self.failed)
        return {
            Outcome.EVERYTHING_MOUNTED: "boots, and everything that the boot waits for is mounted",
            Outcome.MOUNT_FAILED: f"boots, but these are not mounted: {failed}",
            Outcome.EMERGENCY_MODE: "does not boot: emergency mode" + (f", because of {failed}" if failed else ""),
            Outcome.KERNEL_PANIC: "does not boot: kernel panic",
            Outcome.NO_BOOT_LOADER: "does not boot: no boot loader that finds a system to start",
            Outcome.NO_ROOT_FILE_SYSTEM: "does not boot: the initramfs found no root file system",
            Outcome.NO_ANSWER: "no answer: nothing on the serial console says how the boot came out",
        }[self.outcome]


class _Decided(Exception):
    """Ends the machine once its console has said enough; never leaves this module."""


def boot_test(
    disks: Sequence[Disk],
    *,
    target: Target = Target.VIRTIO,
    firmware: Firmware | None = None,
    kernel: DirectKernel | None = None,
    add_serial_console: bool = False,
    memory: int = MEMORY,
    cpus: int = CPUS,
    expected: Collection[str] = (),
    timeout: float | None = None,
    stop: Stop | None = None,
) -> BootReport:
    """Boot `disks`, in their order, on `target` and return how it came out.

    Without `firmware`, the first disk says by what it starts. `expected` are mount points that the caller
    knows are to come: the test ends as soon as they are there, and misses those that never come. Without a
    decision after `timeout` seconds (by default `KVM_TIMEOUT` or `EMULATED_TIMEOUT`) the answer is what the
    console has said until then. Raises `InvalidInput`, `ToolMissing`, `GuestError`, `Interrupted` where
    nothing could be tried.
    """
    if not disks:
        raise InvalidInput("no disks to boot from", "give the system disk first")
    check_can_emulate(target, len(disks))
    find_program("qemu-system-x86_64")
    with tempfile.TemporaryDirectory(prefix="ferry-boot-") as scratch:
        folder = Path(scratch)
        layers = [make_overlay(disk, folder / f"disk-{n}.qcow2", stop=stop) for n, disk in enumerate(disks)]
        if firmware is None:
            firmware = find_firmware(reader_of_layer(layers[0]))
        machine = Machine(
            target=target,
            uefi=find_ovmf(folder) if firmware is Firmware.UEFI else None,
            kvm=kvm_works(),
            memory=memory,
            cpus=cpus,
            kernel=kernel,
        )
        if add_serial_console:
            _add_serial_console(layers, folder, kvm=machine.kvm, stop=stop)
        try:
            return _run(machine, layers, Console(expected), timeout, stop)
        except GuestError as error:
            if not machine.kvm:
                raise
            log.debug("the machine did not start with KVM: %s", error)
        # If it is not KVM's fault, the attempt without it fails too, and says why.
        report = _run(replace(machine, kvm=False), layers, Console(expected), timeout, stop)
        give_up_kvm("a boot sector runs under it, but a machine with disks does not start")
        return report


def _run(
    machine: Machine, layers: Sequence[Path], console: Console, timeout: float | None, stop: Stop | None
) -> BootReport:
    """Run the machine until its console has decided, or time is up. Raises `GuestError` if QEMU itself fails."""
    limit = timeout or (KVM_TIMEOUT if machine.kvm else EMULATED_TIMEOUT)
    log.info(
        "Booting %s on %s, %s%s",
        "one disk" if len(layers) == 1 else f"{len(layers)} disks",
        machine.target,
        "UEFI" if machine.uefi else "BIOS",
        "" if machine.kvm else f" (emulation: up to {limit:g} seconds)",
    )
    start, note = time.monotonic(), ""
    try:
        run(machine_argv(machine, layers), on_output=_listener(console), timeout=limit, stop=stop)
        note = WENT_OFF
    except _Decided:
        pass
    except TookTooLong:
        note = f"ended after {limit:g} seconds" + (f"; {NO_SERIAL_CONSOLE}" if not console.is_up else "")
        if console.waiting_for:
            note += f"; it was waiting for {console.waiting_for}"
    except CommandFailed as error:
        raise GuestError(
            f"the machine did not start: {printable(' '.join(error.stderr.split()))}",
            "run again with --verbose to see the command",
        ) from error
    # Up, and cut short while it still waited for something: not everything can be called mounted.
    outcome = console.outcome
    if outcome is Outcome.EVERYTHING_MOUNTED and note:
        outcome = Outcome.NO_ANSWER
    return BootReport(
        outcome=outcome,
        mounted=console.mounted,
        failed=console.failed,
        seconds=round(time.monotonic() - start, 1),
        log=console.log,
        evidence=console.evidence,
        note=note,
        target=machine.target,
        firmware=Firmware.UEFI if machine.uefi else Firmware.BIOS,
        kvm=machine.kvm,
    )


def _listener(console: Console) -> Callable[[bytes], None]:
    """Return what takes in the console's bytes, and raises `_Decided` when no more are needed."""
    last_news = time.monotonic()

    def listen(data: bytes) -> None:
        nonlocal last_news
        was_up = console.is_up
        if data:
            console.hear(data)
        if console.is_decided:
            raise _Decided
        if (console.is_up and not was_up) or console.waiting_for:
            last_news = time.monotonic()
        if console.is_up and time.monotonic() - last_news > SETTLING:
            raise _Decided

    return listen


def _add_serial_console(layers: Sequence[Path], scratch: Path, *, kvm: bool, stop: Stop | None) -> None:
    log.info("Adding a serial console to the boot loader, in the layer that is thrown away")
    program = [sys.executable, serial_console.__file__, "kvm" if kvm else "emulation", scratch]
    try:
        edited = run([*program, *layers], timeout=APPLIANCE_TIMEOUT, stop=stop).splitlines()
    except CommandFailed as error:
        said = error.stderr.strip().splitlines() or ["it ended without a word"]
        raise GuestError(
            f"no serial console could be added: {printable(said[-1])}",
            "`ferry doctor --appliance` says what is missing",
        ) from error
    if not edited:
        raise GuestError(
            "no serial console could be added: no boot loader's file (GRUB, extlinux) names a Linux to start",
            "leave --serial-console out",
        )
    for line in edited:
        log.debug("serial console: %s", printable(line))
