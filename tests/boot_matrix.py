"""Holds what the check foretells against what real guests do: every cell is one fstab on one bus, booted.

`python -m tests.boot_matrix` runs all cells (`make boot-matrix`), prints a row for each, and ends with
`N of M cells agree`. A cell agrees if the boot ends where the forecast says, and if each line has mounted exactly the
file system (by UUID) that was foretold, or nothing.

The guest is a small Debian with systemd (tests/systemd_guest.py) that waits 60 seconds for a missing device instead of
90. What is on the disks is read once for each set of disks, by the check's own eyes; the cells of a set differ in
their fstab and their bus. A guest that is repaired is repaired once, by the product, and booted on every bus; it has to
boot.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import TypeVar

from fstab_check.check import check_guest
from fstab_check.examine import read_guest
from fstab_check.facts import FstabFile, Guest
from fstab_check.fstab import parse_fstab
from fstab_check.repair_guest import apply_repair, plan_guest_repair
from migration.appliance import open_guest
from migration.disk import Disk
from migration.repair import Repair
from migration.run import run
from migration.verdict import Forecast, Outcome
from private_cloud.boot_test import BootReport, boot_test
from tests.boot_matrix_boots import TOLD, Boot, compare, key_of, mounted_in, read_boots, write_boots
from tests.boot_matrix_cells import ROOT, Cell, all_cells
from tests.boot_matrix_disks import DiskSets
from tests.systemd_guest import CONSOLE, FAST, Layout, direct_kernel, reason_to_skip

T = TypeVar("T")

_ABOUT = """\
# What the check foretells, and what real guests did

Each row is a small real Debian with systemd 252, booted in QEMU from its disks on that bus: what `ferry check-fstab
--target` had said, and how the boot ended. A row agrees if the boot ends where the forecast says, and if each line of
its fstab has mounted exactly the file system that was foretold, or nothing. What is said to be repaired was repaired by
`ferry check-fstab --fix` first. The cells are in `tests/boot_matrix_cells.py`; `make boot-matrix RECORD=1` boots them
all, and `make test` holds the check against the boots that were kept, and boots one anew.

On its own bus a link by a slot (`/dev/disk/by-path`) is foretold as unknown, so it is booted on the others only.
"""

WAIT = "60s"  # an emulated machine among others takes that long to see its disks
AT_ONCE = 3  # machines that run side by side
LIMIT = 1800.0  # seconds for a boot, on a machine that has other work too
# Has the guest say before its login prompt what is mounted where, by UUID. What is behind nofail is waited for by
# nothing else, and would come too late on a busy machine.
_TELL = (
    "[Unit]\nAfter=basic.target\n[Service]\nType=oneshot\nTimeoutStartSec=infinity\n"
    "ExecStart=/bin/sh -c 'for i in $(seq 90); do systemctl list-jobs "
    """| grep -qE "[.](mount|device|swap)|fsck" || break; sleep 1; done'\n"""
    f"ExecStart=/bin/sh -c 'findmnt -rn -o TARGET,UUID | sed s/^/{TOLD}/ > /dev/console'\n"
)
TELLER = (
    ("ferry-teller.service", _TELL),
    ("multi-user.target.d/tell.conf", "[Unit]\nWants=ferry-teller.service\nAfter=ferry-teller.service\n"),
    ("serial-getty@ttyS0.service.d/tell.conf", "[Unit]\nAfter=ferry-teller.service\n"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What was foretold for a cell, what came of it, and why they do not agree ("" if they do)."""

    cell: Cell
    forecast: Forecast
    boot: Boot
    disagreement: str


class Matrix:
    """The disks and what was read of them, made in `folder` as they are needed; for use by several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sets = DiskSets(folder)
        self._repairs: dict[str, Future[Repair]] = {}
        self._guests: dict[str, Future[Guest]] = {}
        self._lock = Lock()

    def _once(self, known: dict[str, Future[T]], name: str, make: Callable[[], T]) -> T:
        """Return what `make` makes, made by the first thread that asks for `name`."""
        with self._lock:
            is_known = name in known
            result = known.setdefault(name, Future())
        if not is_known:
            try:
                result.set_result(make())
            except BaseException as error:
                result.set_exception(error)
                raise
        return result.result()

    def _guest_of(self, cell: Cell) -> Guest:
        """Look into a guest of the cell's set, one of its own where the cell brings units."""
        name = cell.name if cell.units else cell.disk_set
        return self._once(self._guests, name, lambda: self._look(cell))

    def _look(self, cell: Cell) -> Guest:
        """Read a guest whose fstab names every path that the cells name."""
        paths = sorted({word for other in all_cells() for word in other.fstab.split() if word.startswith("/")})
        named = [path for path in paths if not path.startswith(("/dev/", "/proc"))]
        text = "".join(f"tmpfs {path} tmpfs\n" for path in named)
        with tempfile.TemporaryDirectory(dir=self._folder) as scratch:
            disks = self._make(Path(scratch), replace(cell, root=ROOT, text=text, command_line=""))
            with open_guest(disks) as g:
                _, guest = read_guest(g, disks)
        return guest

    def _make(self, folder: Path, cell: Cell) -> tuple[Disk, ...]:
        disk_set = self._sets.make(cell.disk_set)
        told = f"{CONSOLE} {FAST} {cell.command_line}".strip()
        disks = disk_set.make_guest(folder, fstab=cell.fstab, command_line=told, device_timeout=WAIT)
        _plant_units(disks[0].path, disk_set.layout, folder, [*TELLER, *cell.units])
        return disks

    def foretell(self, cell: Cell) -> Forecast:
        """Return what the check says of the cell."""
        if cell.is_repaired:
            verdict = self._repaired(cell).after
            assert verdict is not None, "a repair is judged again"
            return next(forecast for forecast in verdict.forecasts if forecast.target is cell.target)
        guest = self._guest_of(cell)
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

    def boot(self, cell: Cell) -> Boot:
        """Boot the cell, and return how that came out."""
        report = self._boot(cell)
        return Boot(outcome=report.outcome, mounted=mounted_in(report.log), log=report.log)

    def _boot(self, cell: Cell) -> BootReport:
        disk_set = self._sets.make(cell.disk_set)
        told = f"{CONSOLE} {FAST} {cell.command_line}".strip()
        kernel = direct_kernel(told) if disk_set.layout is Layout.MBR else None
        if cell.is_repaired:
            disks = self._repaired(cell).disks
            return boot_test(disks, target=cell.target, kernel=kernel, timeout=LIMIT, plant_witness=False)
        with tempfile.TemporaryDirectory(dir=self._folder) as scratch:
            disks = self._make(Path(scratch), cell)
            # These guests have a teller of their own, which costs no appliance for each cell.
            return boot_test(disks, target=cell.target, kernel=kernel, timeout=LIMIT, plant_witness=False)

    def _repaired(self, cell: Cell) -> Repair:
        """Repair the guest of the cell, once for all buses."""
        return self._once(self._repairs, cell.name, lambda: self._repair(cell))

    def _repair(self, cell: Cell) -> Repair:
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        disks = self._make(folder, cell)
        return apply_repair(disks, plan_guest_repair(disks), directory=folder)

    def run(self, cell: Cell, boot: Boot | None = None) -> Result:
        """Foretell one cell, boot it unless that was done (`boot`), and compare."""
        forecast, boot = self.foretell(cell), boot or self.boot(cell)
        disagreement = compare(forecast, boot)
        if cell.is_repaired and forecast.outcome not in {Outcome.BOOTS, Outcome.DELAYED}:
            disagreement = f"repaired, and foretold: {forecast.outcome}"
        return Result(cell=cell, forecast=forecast, boot=boot, disagreement=disagreement)


def _plant_units(system: Path, layout: Layout, folder: Path, units: Sequence[tuple[str, str]]) -> None:
    """Put files into the guest's /etc/systemd/system, a symlink to /dev/null where there is nothing in one."""
    commands = ["cd /etc/systemd/system"]
    for number, (name, text) in enumerate(units):
        if "/" in name:
            commands.append(f"mkdir {name.partition('/')[0]}")
        if text:
            (folder / f"unit-{number}").write_text(text, encoding="utf-8")
        commands.append(f"write {folder / f'unit-{number}'} {name}" if text else f"symlink {name} /dev/null")
    run(["debugfs", "-w", "-f", "-", f"{system}?offset={layout.root_start}"], stdin="\n".join([*commands, ""]))


def describe(result: Result) -> str:
    """Return a row for people and for the table in docs/."""
    agrees = result.disagreement or "agrees"
    cell = result.cell
    return f"| {cell.name} | {cell.target} | {result.forecast.outcome} | {result.boot.outcome} | {agrees} |"


def main() -> None:
    """Run all cells and print how many agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", action="append", default=[], metavar="WORD", help="only cells with this in their name or bus"
    )
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the rows there too")
    parser.add_argument("--record", type=Path, metavar="FILE", help="keep there how the boots came out")
    parser.add_argument("--go-on", action="store_true", help="boot only what was not kept there before")
    options = parser.parse_args()
    if reason := reason_to_skip():
        raise SystemExit(reason)
    words = options.only or [""]
    cells = [cell for cell in all_cells() if any(word in f"{cell.name} {cell.target}" for word in words)]
    kept = read_boots(options.record) if options.record and options.record.exists() else {}
    kept = {key: kept[key] for key in map(key_of, all_cells()) if key in kept}
    rows = ["| fstab | bus | foretold | the boot | |", "|---|---|---|---|---|"]
    print("\n".join(rows))
    agreeing = 0
    with tempfile.TemporaryDirectory(prefix="ferry-matrix-") as scratch, ThreadPoolExecutor(AT_ONCE) as pool:
        matrix = Matrix(Path(scratch))
        boots = dict(kept) if options.go_on else {}
        for result in pool.map(lambda cell: matrix.run(cell, boots.get(key_of(cell))), cells):
            agreeing += not result.disagreement
            kept[key_of(result.cell)] = result.boot
            rows.append(describe(result))
            print(rows[-1], flush=True)
            if result.disagreement:
                print("\n".join(f"    {line}" for line in result.boot.log[-15:]), flush=True)
            if options.record:
                write_boots(options.record, kept)
    verdict = f"{agreeing} of {len(cells)} cells agree"
    if options.table:
        options.table.write_text("\n".join([_ABOUT, *rows, "", f"**{verdict}**"]) + "\n", encoding="utf-8")
    print(verdict)
    raise SystemExit(agreeing != len(cells))


if __name__ == "__main__":
    main()
