"""`ferry boot-test`: exit 0 if the guest boots and mounts everything, 1 if not, 2 if not tried, 130 if stopped."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ferry.options import json_option, workspace_option

if TYPE_CHECKING:
    from migration.disk import Disk
    from private_cloud.boot_test import BootReport

TARGETS = ("virtio", "scsi", "sata", "ide", "nvme", "xen", "vmware")
LAST_WORDS = 25  # lines of the console that people are shown where the boot failed


@click.command(
    "boot-test", epilog="Exit codes: 0 everything mounted, 1 anything else, 2 could not be tried, 130 stopped."
)
@click.argument("disks", nargs=-1, metavar="[DISK]...")
@click.option(
    "-t", "--target", type=click.Choice(TARGETS), default="virtio", show_default=True,
    help="What the disks hang on at the other side (scsi: virtio-scsi, vmware: pvscsi).",
)  # fmt: skip
@click.option(
    "--firmware", type=click.Choice(("auto", "bios", "uefi")), default="auto", show_default=True,
    help="auto: what the system disk is made for.",
)  # fmt: skip
@click.option("--serial-console", is_flag=True, help="Add a serial console to the guest, for this test only.")
@click.option(
    "--untouched", is_flag=True, help="Boot the guest exactly as it is, without a witness of what is mounted."
)
@click.option(
    "--timeout", type=click.FloatRange(min=1), metavar="SECONDS",
    help="Give up after so long  [default: 300, without KVM 600]",
)  # fmt: skip
@click.option("--memory", type=click.IntRange(128), default=2048, show_default=True, metavar="MIB")
@click.option("--cpus", type=click.IntRange(1, 64), default=2, show_default=True)
@workspace_option(required=False)
@json_option
def command(
    disks: tuple[str, ...], target: str, firmware: str, timeout: float | None, memory: int, cpus: int,
    workspace: Path | None, *, serial_console: bool, untouched: bool, as_json: bool,
) -> None:  # fmt: skip
    """Boot the disks in a machine of our own and see whether everything is mounted.

    DISK is a file named as exports and images are (system.raw, data_xvdb.qcow2), or DEVICE=FILE. Without
    any, the disks of the workspace are booted. Nothing is written to them.

    What is judged is the guest's serial console, which most images of the cloud have, and what a witness says
    of its mounts that the guest's systemd starts in the layer that is thrown away.
    """
    from migration.errors import MigrationError  # noqa: PLC0415
    from migration.target import Target  # noqa: PLC0415
    from private_cloud.boot_test import boot_test  # noqa: PLC0415
    from private_cloud.machine import Firmware  # noqa: PLC0415

    if serial_console and untouched:
        raise click.UsageError("--serial-console changes the guest, and --untouched does not: choose one")
    try:
        report = boot_test(
            _find(disks, workspace),
            target=Target(target),
            firmware=None if firmware == "auto" else Firmware(firmware),
            add_serial_console=serial_console,
            plant_witness=not untouched,
            memory=memory,
            cpus=cpus,
            timeout=timeout,
        )
    except MigrationError as error:
        # Whatever kept us from trying, a program that asked must see 2, not that error's own code.
        error.exit_code = 2
        raise
    click.echo(_render_json(report) if as_json else _render_text(report))
    sys.exit(0 if report.is_good else 1)


def _find(words: tuple[str, ...], workspace: Path | None) -> tuple[Disk, ...]:
    from migration.disk import DiskRole  # noqa: PLC0415
    from migration.disk_file import find_disks, find_disks_in  # noqa: PLC0415
    from migration.errors import InvalidInput  # noqa: PLC0415

    if not words and workspace is None:
        raise InvalidInput("no disks given", "name them, or give --workspace")
    disks = find_disks(words) if words else find_disks_in(workspace / "disks") if workspace else ()
    if disks[0].role is not DiskRole.SYSTEM:
        raise InvalidInput("the system disk is not among the disks", f"say which it is: xvda={disks[0].path}")
    return disks


def _render_json(report: BootReport) -> str:
    from migration.verdict import printable  # noqa: PLC0415
    from private_cloud.boot_test import VERSION  # noqa: PLC0415

    return json.dumps(
        {
            "version": VERSION,
            "outcome": report.outcome,
            "is_witnessed": report.is_witnessed,
            "mounted": report.mounted,
            "failed": report.failed,
            "seconds": report.seconds,
            "evidence": report.evidence,
            "note": report.note,
            "target": report.target,
            "firmware": report.firmware,
            "kvm": report.kvm,
            "mounts": [{name: printable(text) for name, text in asdict(mount).items()} for mount in report.mounts],
            "log": report.log,
        },
        indent=1,
    )


def _render_text(report: BootReport) -> str:
    lines = [f"{report.summary} ({report.seconds:g} s)"]
    lines += [f"  mounted      {point}" for point in report.mounted]
    lines += [f"  not mounted  {point}" for point in report.failed]
    if report.evidence:
        lines.append(f"  because of   {report.evidence}")
    if report.note:
        lines.append(f"  note         {report.note}")
    if not report.is_good:
        lines += ["the console said last:", *(f"  | {line}" for line in report.log[-LAST_WORDS:])]
    return "\n".join(lines)
