"""Boots a guest's disks in a machine of ours and says how that came out: the proof that the other side can have it.

The disks stay as they are: the guest writes to layers that are thrown away, as is all else when the test ends; what
a kill -9 leaves goes when the next test begins.
"""

from __future__ import annotations

import json
import logging
import secrets
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from migration.acceleration import give_up_kvm, kvm_works
from migration.disk import Disk
from migration.errors import CommandFailed, GuestError, InvalidInput, TookTooLong
from migration.overlay import make_overlay
from migration.progress import Stop
from migration.run import find_program, run
from migration.scratch import scratch_folder
from migration.target import Target
from migration.verdict import printable
from private_cloud.account import Mount
from private_cloud.console import Console, Outcome
from private_cloud.firmware import find_firmware, find_ovmf, reader_of_layer
from private_cloud.layer_edits import Edited, Edits
from private_cloud.machine import CPUS, MEMORY, DirectKernel, Firmware, Machine, check_can_emulate, machine_argv
from private_cloud.observation import Observation
from private_cloud.witness import WITNESS_LINKS, Witness, witness_files

log = logging.getLogger(__name__)

VERSION = 1  # of what `BootReport` says, as JSON

# A healthy guest takes half a minute under KVM and up to two under emulation. On top come the 90 seconds that
# systemd waits for a missing device, or the 180 of dracut.
KVM_TIMEOUT = 300.0  # seconds
EMULATED_TIMEOUT = 600.0  # seconds
ATTEMPTS = 4  # before an emulated machine is called too slow for the guest
TIMER = "this machine is too busy for an emulated one: the guest's kernel did not get its timer; try again later"
APPLIANCE_TIMEOUT = 600.0  # seconds; 10 to 30 on an idle machine

NO_SERIAL_CONSOLE = "the guest may have no serial console: --serial-console adds one, for this test only"
WENT_OFF = "the machine switched itself off"
UNTOUCHED = "no witness was asked for"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootReport:
    """How a boot came out, in strings that are printable whatever the guest says.

    `mounted` and `failed` are mount points, or `swap on …`. Where the guest `is_witnessed` its kernel says what
    is mounted, with all `mounts` there are; elsewhere they are what the console named, and a guest that keeps
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
    is_witnessed: bool = False
    mounts: tuple[Mount, ...] = ()

    @property
    def is_good(self) -> bool:
        return self.outcome.is_good

    @property
    def summary(self) -> str:
        """One line for people."""
        failed = ", ".join(self.failed)
        everything = "every line of its fstab" if self.is_witnessed else "everything that the boot waits for"
        return {
            Outcome.EVERYTHING_MOUNTED: f"boots, and {everything} is mounted",
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
    plant_witness: bool = True,
    memory: int = MEMORY,
    cpus: int = CPUS,
    expected: Collection[str] = (),
    timeout: float | None = None,
    stop: Stop | None = None,
) -> BootReport:
    """Boot `disks`, in their order, on `target` and return how it came out.

    Without `firmware`, the first disk says by what it starts. `plant_witness` has the guest's systemd say what is
    mounted in the end; where there is none, the report's note says what was not seen. `expected` are mount points
    that the caller knows are to come: they are missed if they never do, and without a witness the test ends as
    soon as they are there. Without a decision after `timeout` seconds (by default `KVM_TIMEOUT` or
    `EMULATED_TIMEOUT`) the answer is what was said until then. Raises `InvalidInput`, `ToolMissing`, `GuestError`,
    `Interrupted` where nothing could be tried.
    """
    if not disks:
        raise InvalidInput("no disks to boot from", "give the system disk first")
    check_can_emulate(target, len(disks))
    find_program("qemu-system-x86_64")
    with scratch_folder("ferry-boot-") as folder:
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
        nonce = secrets.token_hex(8)
        why_unwitnessed = UNTOUCHED
        if plant_witness or add_serial_console:
            edits = Edits(
                serial_console=add_serial_console,
                files=witness_files(nonce) if plant_witness else {},
                links=WITNESS_LINKS if plant_witness else {},
            )
            edited = _edit_layers(edits, layers, folder, kvm=machine.kvm, stop=stop)
            why_unwitnessed = edited.why_not_planted if plant_witness else UNTOUCHED
            if why_unwitnessed and not add_serial_console:
                # What was begun may be half done, and would be what is tested.
                layers = [make_overlay(disk, layer, stop=stop) for disk, layer in zip(disks, layers, strict=True)]

        def boot(machine: Machine) -> BootReport:
            for _ in range(ATTEMPTS):
                witness = None if why_unwitnessed else Witness(nonce)
                seen = Observation(Console(expected), witness, why_unwitnessed)
                report = _run(machine, layers, seen, timeout, stop)
                if machine.kvm or not is_emulators_panic(report.outcome, report.log):
                    return report
                log.warning("The emulated timer came too late for the guest's kernel, as on a busy machine: once more")
            return replace(report, outcome=Outcome.NO_ANSWER, note=f"{report.note}; {TIMER}".removeprefix("; "))

        try:
            return boot(machine)
        except GuestError as error:
            if not machine.kvm:
                raise
            log.debug("the machine did not start with KVM: %s", error)
        # If it is not KVM's fault, the attempt without it fails too, and says why.
        report = boot(replace(machine, kvm=False))
        give_up_kvm("a boot sector runs under it, but a machine with disks does not start")
        return report


def _run(
    machine: Machine, layers: Sequence[Path], seen: Observation, timeout: float | None, stop: Stop | None
) -> BootReport:
    """Run the machine until what it says has decided, or time is up. Raises `GuestError` if QEMU itself fails."""
    limit = timeout or (KVM_TIMEOUT if machine.kvm else EMULATED_TIMEOUT)
    log.info(
        "Booting %s on %s, %s%s",
        "one disk" if len(layers) == 1 else f"{len(layers)} disks",
        machine.target,
        "UEFI" if machine.uefi else "BIOS",
        "" if machine.kvm else f" (emulation: up to {limit:g} seconds)",
    )
    start, cut_short = time.monotonic(), ""
    try:
        run(machine_argv(machine, layers), on_output=_listener(seen), timeout=limit, stop=stop)
        cut_short = WENT_OFF
    except _Decided:
        pass
    except TookTooLong:
        cut_short = f"ended after {limit:g} seconds"
        if not (seen.is_up or seen.is_heard):
            cut_short += f"; {NO_SERIAL_CONSOLE}"
        if seen.console.waiting_for:
            cut_short += f"; it was waiting for {seen.console.waiting_for}"
    except CommandFailed as error:
        raise GuestError(
            f"the machine did not start: {printable(' '.join(error.stderr.split()))}",
            "run again with --verbose to see the command",
        ) from error
    # Up, and cut short while it still waited for something: not everything can be called mounted.
    outcome = seen.outcome
    if outcome is Outcome.EVERYTHING_MOUNTED and cut_short:
        outcome = Outcome.NO_ANSWER
    return BootReport(
        outcome=outcome,
        mounted=seen.mounted,
        failed=seen.failed,
        seconds=round(time.monotonic() - start, 1),
        log=seen.console.log,
        evidence=seen.evidence,
        note="; ".join(filter(None, (cut_short, seen.note))),
        target=machine.target,
        firmware=Firmware.UEFI if machine.uefi else Firmware.BIOS,
        kvm=machine.kvm,
        is_witnessed=seen.account is not None,
        mounts=seen.account.mounts if seen.account else (),
    )


def is_emulators_panic(outcome: Outcome, log: Sequence[str]) -> bool:
    """Return whether the kernel gave up over its timer, which an emulator that gets no processor delivers too late.

    Linux checks it for ten ticks, before it has seen a disk (check_timer in arch/x86/kernel/apic/io_apic.c).
    """
    return outcome is Outcome.KERNEL_PANIC and any("timer doesn't work" in line for line in log)


def _listener(seen: Observation) -> Callable[[bytes], None]:
    """Return what takes in the console's bytes, and raises `_Decided` when no more are needed."""

    def listen(data: bytes) -> None:
        seen.hear(data, time.monotonic())
        if seen.is_decided:
            raise _Decided

    return listen


def _edit_layers(edits: Edits, layers: Sequence[Path], scratch: Path, *, kvm: bool, stop: Stop | None) -> Edited:
    """Make `edits` in a process of their own. Raises `GuestError` if a serial console was asked for and cannot be."""
    log.info(
        "Adding %s to the guest, in the layer that is thrown away",
        " and ".join(
            [*["a serial console"] * edits.serial_console, *["a witness of what is mounted"] * bool(edits.files)]
        ),
    )
    # -I: a folder in which the operator happens to stand is not searched for modules.
    program = [sys.executable, "-I", "-m", "private_cloud.layer_edits", "kvm" if kvm else "emulation", scratch]
    try:
        answer = run([*program, *layers], stdin=json.dumps(asdict(edits)), timeout=APPLIANCE_TIMEOUT, stop=stop)
    except CommandFailed as error:
        said = printable((error.stderr.strip().splitlines() or ["it ended without a word"])[-1])
        if not edits.serial_console:
            return Edited(boot_files=(), why_not_planted=f"no appliance: {said}")
        raise GuestError(
            f"no serial console could be added: {said}", "`ferry doctor --appliance` says what is missing"
        ) from error
    edited = Edited(**json.loads(answer))
    if edits.serial_console and not edited.boot_files:
        raise GuestError(
            "no serial console could be added: no boot loader's file (GRUB, extlinux) names a Linux to start",
            "leave --serial-console out",
        )
    for path in edited.boot_files:
        log.debug("serial console: %s", printable(path))
    return replace(edited, why_not_planted=printable(edited.why_not_planted))
