"""Boots the disks of a migration in its workspace: the console is kept there, and the journal knows how it came out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from migration.disk import Disk
from migration.disk_file import fingerprint_files
from migration.errors import GuestError
from migration.progress import Stop, check_stop
from migration.storage import Fingerprint, write_atomically
from migration.target import Target
from migration.workspace import Workspace
from private_cloud.boot_test import BootReport, boot_test
from private_cloud.console import Outcome
from private_cloud.machine import Firmware

log = logging.getLogger(__name__)

STEP = "boot-test"
LAST_WORDS = 25  # lines of the console that a report shows


@dataclass(frozen=True, slots=True, kw_only=True)
class BootProof:
    """How a boot came out, for reports and the journal. Its strings are printable, whatever the guest says.

    The first fields are as in `BootReport`. `files` are the names of what was booted; `console` is the file that
    has all the lines of the console, `last_words` are the last of them; `added_console` tells that the guest spoke on
    a serial console which was added for the test. `unknown` says why nothing follows, "" where something does.
    """

    outcome: Outcome
    summary: str
    mounted: tuple[str, ...]
    failed: tuple[str, ...]
    seconds: float
    evidence: str
    note: str
    target: Target
    firmware: Firmware
    kvm: bool
    files: tuple[str, ...]
    console: Path
    last_words: tuple[str, ...]
    added_console: bool
    unknown: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedBoot:
    """A boot as the journal remembers it. `files` are those that were booted, as they were then."""

    proof: BootProof
    files: tuple[tuple[Path, Fingerprint], ...]


def boot_in_workspace(
    workspace: Workspace, disks: Sequence[Disk], *, target: Target, stop: Stop | None = None
) -> BootProof:
    """Return how the boot of `disks` on `target` comes out, booting only what has not booted well already.

    Who is silent is booted once more with a serial console, so that silence is an answer too: it is unknown only
    where no console can be added. Raises as `boot_test` does, and `NoSpace`.
    """
    files = fingerprint_files(disks)
    known = workspace.journal.get(STEP, RecordedBoot)
    if known is not None and known.proof.outcome.is_good and known.proof.target is target and known.files == files:
        log.info("These very files have booted on %s before", target)
        return known.proof
    workspace.journal.forget(STEP)
    report, added_console, unknown = boot_test(disks, target=target, stop=stop), False, ""
    if report.outcome is Outcome.NO_ANSWER:
        check_stop(stop)
        log.info("The guest did not answer: booting it with a serial console")
        try:
            report = boot_test(disks, target=target, add_serial_console=True, stop=stop)
            added_console = True
        except GuestError as error:
            unknown = f"the guest said nothing that decides, and {error.message}"
    write_atomically(workspace.console, "".join(f"{line}\n" for line in report.log))
    proof = _proof(report, disks, workspace.console, added_console=added_console, unknown=unknown)
    workspace.journal.record(STEP, RecordedBoot(proof=proof, files=files))
    return proof


def _proof(report: BootReport, disks: Sequence[Disk], console: Path, *, added_console: bool, unknown: str) -> BootProof:
    return BootProof(
        outcome=report.outcome, summary=report.summary, mounted=report.mounted, failed=report.failed,
        seconds=report.seconds, evidence=report.evidence, note=report.note,
        target=report.target, firmware=report.firmware, kvm=report.kvm,
        files=tuple(disk.name for disk in disks), console=console, last_words=report.log[-LAST_WORDS:],
        added_console=added_console, unknown=unknown,
    )  # fmt: skip
