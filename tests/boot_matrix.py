"""Holds what the check foretells against what real guests do: every cell is one fstab on one bus, booted.

`python -m tests.boot_matrix` runs all cells (`make boot-matrix`), prints a row for each, and ends with
`N of M cells agree`. A cell agrees if the boot ends where the forecast says, and if each line has mounted exactly the
file system (by UUID) that was foretold, or nothing.

The guest is a small Debian with systemd (tests/systemd_guest.py) that waits 60 seconds for a missing device instead of
90. What is on the disks is read once for each set of disks, by the check's own eyes; the cells of a set differ in
their fstab and their bus.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from fstab_check.check import check_guest
from fstab_check.examine import read_guest
from fstab_check.facts import FstabFile, Guest
from fstab_check.fstab import parse_fstab
from fstab_check.guest import open_guest
from migration.disk import Disk
from migration.run import run
from migration.target import Target
from migration.verdict import Forecast, LineForecast, Outcome
from private_cloud.boot_test import BootReport, boot_test
from private_cloud.console import Outcome as BootOutcome
from tests.fstab_check_disks import make_ext4, make_partitioned, make_xfs
from tests.systemd_guest import CONSOLE, FAST, ROOT_UUID, Layout, direct_kernel, make_guest, reason_to_skip

B, C = (f"{digit * 8}-{digit * 4}-4{digit * 3}-8{digit * 3}-{digit * 12}" for digit in "bc")
NOWHERE = "deadbeef-dead-4ead-8ead-deadbeefdead"
WAIT = "60s"  # an emulated machine among others takes that long to see its disks
AT_ONCE = 3  # machines that run side by side
BUSES = (Target.VIRTIO, Target.SCSI, Target.SATA)

ROOT = f"UUID={ROOT_UUID} / ext4 errors=remount-ro 0 1\n"
_TELL = (
    "[Service]\n"
    "ExecStartPre=-/bin/sh -c 'findmnt -rn -o TARGET,UUID | sed s/^/ferry-mount:/ > /dev/console'\n"
)  # fmt: skip
_TOLD = "ferry-mount:"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSet:
    """Disks that cells share: how the system disk is laid out, and the data disks by device."""

    name: str
    layout: Layout
    disks: Mapping[str, Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One boot: `text` is the guest's fstab behind the line for its root, or all of it."""

    name: str
    disk_set: str
    target: Target
    text: str
    root: str = ROOT
    command_line: str = ""

    @property
    def fstab(self) -> str:
        return self.root + self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What was foretold for a cell, what came of it, and why they do not agree ("" if they do)."""

    cell: Cell
    forecast: Forecast
    report: BootReport
    mounted: Mapping[str, str]  # UUID by mount point
    disagreement: str


# Name, set of disks, and the lines. Each is booted on every bus.
LINES = (
    ("UUID", "two", f"UUID={B} /data ext4 defaults 0 2\nUUID={C} /srv ext4 defaults 0 0\n"),
    ("virtio name", "two", "/dev/vdb1 /data ext4 defaults 0 0\n"),
    ("SCSI name", "two", "/dev/sdb1 /data ext4 defaults 0 0\n"),
    ("Xen name", "two", "/dev/xvdb1 /data ext4 defaults 0 0\n"),
    ("virtio name, nofail", "two", "/dev/vdb1 /data ext4 nofail 0 0\n"),
    ("label", "two", "LABEL=data /data ext4 defaults 0 0\n"),
    ("partition UUID", "two", "PARTUUID=1234abcd-01 /data ext4 defaults 0 0\n"),
    ("link by UUID", "two", f"/dev/disk/by-uuid/{B} /data ext4 defaults 0 0\n"),
    ("link by the cloud's serial", "two", "/dev/disk/by-id/virtio-bp15tehyhsf9-part1 /data ext4 defaults 0 0\n"),
    ("missing disk", "two", f"UUID={NOWHERE} /data ext4 defaults 0 0\n"),
    ("missing disk, nofail", "two", f"UUID={NOWHERE} /data ext4 nofail 0 0\nUUID={B} /srv ext4 defaults 0 0\n"),
    ("missing disk, short wait", "two", f"UUID={NOWHERE} /data ext4 x-systemd.device-timeout=3s 0 0\n"),
    ("missing disk, automount", "two", f"UUID={NOWHERE} /data ext4 x-systemd.automount 0 0\n"),
    ("missing disk, noauto", "two", f"UUID={NOWHERE} /data ext4 noauto 0 0\n"),
    ("missing disk, _netdev", "two", f"UUID={NOWHERE} /data ext4 _netdev 0 0\n"),
    ("missing swap", "two", f"UUID={NOWHERE} none swap sw 0 0\nUUID={B} /data ext4 defaults 0 0\n"),
    ("wrong type", "two", f"UUID={B} /data xfs defaults 0 0\n"),
    ("wrong type, nofail", "two", f"UUID={B} /data xfs nofail 0 0\n"),
    ("no such partition", "two", "/dev/vdb7 /data ext4 nofail 0 0\n/dev/sdb7 /srv ext4 defaults 0 0\n"),
    ("missing directory", "two", f"UUID={B} /not/there/yet ext4 defaults 0 0\n"),
    ("mount point is a file", "two", f"UUID={B} /etc/hostname ext4 defaults 0 0\n"),
    ("twice the same place", "two", f"UUID={B} /data ext4 defaults 0 0\nUUID={C} /data/ ext4 defaults 0 0\n"),
    ("dead NFS", "two", "nas.example:/ /data nfs vers=4,_netdev 0 0\n"),
    ("bind of a missing directory", "two", "/no/such /data none bind 0 0\n"),
    ("missing loop file", "two", "/no/such.img /data ext4 loop 0 0\n"),
    ("missing loop file, nofail", "two", "/no/such.img /data ext4 loop,nofail 0 0\n"),
    ("missing swap file", "two", "/no/swap none swap sw 0 0\n"),
    ("a disk was left behind", "gap", "/dev/vdb1 /data ext4 nofail 0 0\n/dev/sdb1 /srv ext4 nofail 0 0\n"),
    ("whole disk", "whole", f"/dev/vdb /data ext4 nofail 0 0\nUUID={C} /srv xfs defaults 0 0\n"),
    ("tmpfs and API file systems", "two", "tmpfs /srv tmpfs size=8m 0 0\nproc /proc proc defaults 0 0\n"),
)  # fmt: skip

# Those that need a root line or a kernel command line of their own.
ROOTS = (
    ("root line leads nowhere", "two", f"UUID={NOWHERE} / ext4 defaults 0 1\n", ""),
    ("no root line", "two", "", ""),
    ("kernel's root by virtio name", "two", ROOT, "root=/dev/vda1"),
    ("kernel's root leads nowhere", "two", ROOT, f"root=UUID={NOWHERE}"),
)

SETS = ("two", "gap", "whole", "gpt", "uefi")


def all_cells() -> Iterator[Cell]:
    """Yield every cell."""
    for name, disk_set, text in LINES:
        for target in BUSES:
            yield Cell(name=name, disk_set=disk_set, target=target, text=text)
    for name, disk_set, root, told in ROOTS:
        for target in BUSES:
            yield Cell(name=name, disk_set=disk_set, target=target, text="", root=root, command_line=told)
    for disk_set in ("gpt", "uefi"):
        for target in BUSES:
            yield Cell(
                name=f"{disk_set} disk, started by its boot loader", disk_set=disk_set, target=target,
                text=f"UUID={B} /data ext4 defaults 0 0\n/dev/vdb1 /srv ext4 nofail 0 0\n",
            )  # fmt: skip


# What continuous integration boots of them.
SAMPLE = frozenset(
    {
        ("UUID", Target.VIRTIO), ("virtio name", Target.SCSI), ("missing disk, nofail", Target.VIRTIO),
        ("kernel's root by virtio name", Target.SATA),
    }
)  # fmt: skip


class Matrix:
    """The disks and what was read of them, made in `folder` as they are needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def build(self, names: Sequence[str]) -> None:
        """Make the sets of disks in `names`, and look into each."""
        self._sets = {name: self._make(name) for name in names}
        self._guests = {name: self._look(found) for name, found in self._sets.items()}

    @cached_property
    def _images(self) -> dict[str, Path]:
        ext4 = {
            name: make_ext4(self._folder / f"{name}.img", uuid=uuid, label=label)
            for name, uuid, label in (("b", B, "data"), ("c", C, "more"))
        }
        return {
            "b": make_partitioned(self._folder / "b.raw", [ext4["b"]]),
            "c": make_partitioned(self._folder / "c.raw", [ext4["c"]], label="gpt"),
            "whole": ext4["b"],
            "xfs": make_xfs(self._folder / "xfs.raw", uuid=C),
        }

    def _make(self, name: str) -> DiskSet:
        images = self._images
        disks = {
            "gap": {"xvdc": images["c"]},
            "whole": {"xvdb": images["whole"], "xvdc": images["xfs"]},
        }.get(name, {"xvdb": images["b"], "xvdc": images["c"]})
        layout = {"gpt": Layout.GPT, "uefi": Layout.UEFI}.get(name, Layout.MBR)
        return DiskSet(name=name, layout=layout, disks=disks)

    def _look(self, disk_set: DiskSet) -> Guest:
        """Read a guest whose fstab names every path that the cells name."""
        folder = self._folder / f"look-{disk_set.name}"
        folder.mkdir()
        paths = sorted({word for cell in all_cells() for word in cell.fstab.split() if word.startswith("/")})
        named = [path for path in paths if not path.startswith(("/dev/", "/proc"))]
        disks = self._guest(folder, disk_set, ROOT + "".join(f"tmpfs {path} tmpfs\n" for path in named))
        with open_guest(disks) as g:
            _, guest = read_guest(g, disks)
        shutil.rmtree(folder)
        return guest

    def _guest(self, folder: Path, disk_set: DiskSet, fstab: str, command_line: str = "") -> tuple[Disk, ...]:
        told = f"{CONSOLE} {FAST} {command_line}".strip()
        disks = make_guest(
            folder, fstab=fstab, disks=disk_set.disks, layout=disk_set.layout, command_line=told, device_timeout=WAIT
        )
        _plant_teller(disks[0].path, disk_set.layout, folder)
        return disks

    def foretell(self, cell: Cell) -> Forecast:
        """Return what the check says of the cell."""
        guest = self._guests[cell.disk_set]
        content = cell.fstab.encode()
        entries = guest.boot.entries
        if cell.command_line:
            entries = tuple(
                replace(entry, arguments=(*entry.arguments, *cell.command_line.split())) for entry in entries
            )
        guest = replace(
            guest,
            file=FstabFile(content=content),
            fstab=parse_fstab(content),
            boot=replace(guest.boot, entries=entries),
        )
        (forecast,) = check_guest(guest, [cell.target]).forecasts
        return forecast

    def boot(self, cell: Cell) -> BootReport:
        """Boot the cell, and return how that came out."""
        disk_set = self._sets[cell.disk_set]
        with tempfile.TemporaryDirectory(dir=self._folder) as scratch:
            disks = self._guest(Path(scratch), disk_set, cell.fstab, cell.command_line)
            told = f"{CONSOLE} {FAST} {cell.command_line}".strip()
            kernel = direct_kernel(told) if disk_set.layout is Layout.MBR else None
            # These guests have a teller of their own, which costs no appliance for each cell.
            return boot_test(disks, target=cell.target, kernel=kernel, plant_witness=False)

    def run(self, cell: Cell) -> Result:
        """Foretell and boot one cell, and compare."""
        forecast, report = self.foretell(cell), self.boot(cell)
        mounted = mounted_in(report.log)
        return Result(
            cell=cell, forecast=forecast, report=report, mounted=mounted,
            disagreement=compare(forecast, report, mounted),
        )  # fmt: skip


def _plant_teller(system: Path, layout: Layout, folder: Path) -> None:
    """Have the guest say before its login prompt what is mounted where, by UUID."""
    teller = folder / "teller.conf"
    teller.write_text(_TELL, encoding="utf-8")
    where = "/etc/systemd/system/serial-getty@ttyS0.service.d"
    run(
        ["debugfs", "-w", "-f", "-", f"{system}?offset={layout.root_start}"],
        stdin=f"mkdir {where}\nwrite {teller} {where}/tell.conf\n",
    )


def mounted_in(log: Sequence[str]) -> dict[str, str]:
    """Return the UUIDs that the guest said are mounted, by mount point."""
    told = (line.partition(_TOLD)[2].split() for line in log if _TOLD in line)
    return {words[0]: words[1] for words in told if len(words) == 2}


def compare(forecast: Forecast, report: BootReport, mounted: Mapping[str, str]) -> str:
    """Return how the boot differs from what was foretold, "" if it does not."""
    stands = {BootOutcome.EVERYTHING_MOUNTED: "boots", BootOutcome.MOUNT_FAILED: "boots"}.get(
        report.outcome, str(report.outcome)
    )
    expected = "boots"
    if forecast.outcome is Outcome.EMERGENCY:
        at_root = any(line.line == 0 and line.outcome is Outcome.EMERGENCY for line in forecast.lines)
        expected = str(BootOutcome.NO_ROOT_FILE_SYSTEM if at_root else BootOutcome.EMERGENCY_MODE)
    if stands != expected:
        return f"foretold: {expected}; the boot: {stands}"
    if forecast.outcome is Outcome.EMERGENCY:
        return ""
    return "; ".join(filter(None, (_compare_line(line, mounted) for line in forecast.lines if line.line)))


def _compare_line(line: LineForecast, mounted: Mapping[str, str]) -> str:
    if line.mountpoint in {"/", "/proc", "none"}:
        return ""
    found = mounted.get(line.mountpoint.rstrip("/"))
    if line.outcome in {Outcome.IGNORED, Outcome.DELAYED} and found:
        is_taken = "has this mount point" in line.reason
        return "" if is_taken else f"{line.mountpoint} was to be left out, and is {found}"
    meant = line.source.partition("=")[2] if line.source.startswith("UUID=") else None
    if line.outcome is Outcome.MOUNTED and meant and found != meant:
        return f"{line.mountpoint} was to be {meant}, and is {found}"
    if line.outcome is Outcome.WRONG_DISK and not found:
        return f"{line.mountpoint} was to be the wrong disk, and is nothing"
    is_device = line.source.startswith(("/dev/", "LABEL=", "PARTUUID="))
    if line.outcome is Outcome.MOUNTED and is_device and not found:
        return f"{line.mountpoint} was to be mounted, and is not"
    return "" if line.outcome is not Outcome.UNKNOWN else f"{line.mountpoint} is not foretold"


def describe(result: Result) -> str:
    """Return a row for people and for the table in docs/."""
    agrees = result.disagreement or "agrees"
    cell = result.cell
    return f"| {cell.name} | {cell.target} | {result.forecast.outcome} | {result.report.outcome} | {agrees} |"


def main() -> None:
    """Run all cells and print how many agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="WORD", help="only cells with this in their name or bus")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the rows there too")
    options = parser.parse_args()
    if reason := reason_to_skip():
        raise SystemExit(reason)
    cells = [cell for cell in all_cells() if options.only in f"{cell.name} {cell.target}"]
    rows = ["| fstab | bus | foretold | the boot | |", "|---|---|---|---|---|"]
    print("\n".join(rows))
    agreeing = 0
    with tempfile.TemporaryDirectory(prefix="ferry-matrix-") as scratch, ThreadPoolExecutor(AT_ONCE) as pool:
        matrix = Matrix(Path(scratch))
        matrix.build([name for name in SETS if any(cell.disk_set == name for cell in cells)])
        for result in pool.map(matrix.run, cells):
            agreeing += not result.disagreement
            rows.append(describe(result))
            print(rows[-1], flush=True)
            if result.disagreement:
                print("\n".join(f"    {line}" for line in result.report.log[-15:]), flush=True)
    verdict = f"{agreeing} of {len(cells)} cells agree"
    if options.table:
        options.table.write_text("\n".join([*rows, "", verdict]) + "\n", encoding="utf-8")
    print(verdict)
    raise SystemExit(agreeing != len(cells))


if __name__ == "__main__":
    main()
