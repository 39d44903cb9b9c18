"""A few cells of the boot matrix, and that its comparison can fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from migration.target import Target
from migration.verdict import Forecast, LineForecast, Outcome
from private_cloud.console import Outcome as BootOutcome
from tests.boot_matrix import Matrix
from tests.boot_matrix_boots import RECORD, Boot, compare, key_of, mounted_in, read_boots, write_boots
from tests.boot_matrix_cells import SAMPLE, Cell, all_cells
from tests.systemd_guest import reason_to_skip

BOOTED_OFTEN = ("LVM by path", Target.VIRTIO)
SAMPLED = [
    pytest.param(
        cell,
        marks=() if (cell.name, cell.target) == BOOTED_OFTEN else pytest.mark.exhaustive,
        id=f"{cell.name}, {cell.target}",
    )
    for cell in all_cells()
    if (cell.name, cell.target) in SAMPLE
]
AS_THEY_ARE = [cell for cell in all_cells() if not cell.is_repaired]
LOOKED_AT_OFTEN = ("two", "lvm")
SETS = [
    pytest.param(name, marks=() if name in LOOKED_AT_OFTEN else pytest.mark.exhaustive)
    for name in dict.fromkeys(cell.disk_set for cell in AS_THEY_ARE)
]


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    if reason := reason_to_skip():
        pytest.skip(reason)
    return Matrix(tmp_path_factory.mktemp("matrix"))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("cell", SAMPLED)
def test_boot_is_what_was_foretold(matrix: Matrix, cell: Cell) -> None:
    result = matrix.run(cell)
    assert not result.disagreement, "\n".join([result.disagreement, *result.boot.log[-30:]])


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("disk_set", SETS)
def test_what_is_foretold_is_what_came_of_the_boots_that_were_kept(matrix: Matrix, disk_set: str) -> None:
    assert_agreement(matrix, [cell for cell in AS_THEY_ARE if cell.disk_set == disk_set and not cell.units])


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_units_are_foretold_as_the_boots_came_out_that_were_kept(matrix: Matrix) -> None:
    assert_agreement(matrix, [cell for cell in AS_THEY_ARE if cell.units])


def assert_agreement(matrix: Matrix, cells: list[Cell]) -> None:
    boots = read_boots(RECORD)
    results = [matrix.run(cell, boots[key_of(cell)]) for cell in cells]
    assert results
    assert [(key_of(result.cell), result.disagreement) for result in results if result.disagreement] == []


def test_every_cell_was_booted_as_it_stands_now() -> None:
    boots = read_boots(RECORD)
    assert set(boots) == {key_of(cell) for cell in all_cells()}, "run: make boot-matrix RECORD=1 MATRIX=--go-on"


def test_boots_are_kept(tmp_path: Path) -> None:
    boots = {"a, scsi 0": Boot(outcome=BootOutcome.MOUNT_FAILED, mounted={"/data": "b"})}
    write_boots(tmp_path / "boots.json", boots)
    assert read_boots(tmp_path / "boots.json") == boots


def test_every_sampled_cell_is_in_the_matrix_and_the_matrix_is_large_enough() -> None:
    assert len(SAMPLED) == len(SAMPLE)
    cells = list(all_cells())
    assert len(cells) == len({(cell.name, cell.target) for cell in cells}) >= 60


def line(outcome: Outcome, source: str = "UUID=b", number: int = 2) -> LineForecast:
    return LineForecast(line=number, source=source, mountpoint="/data", outcome=outcome, reason="", seconds=0)


@pytest.mark.parametrize(
    ("lines", "boot", "mounted", "agrees"),
    [
        ([line(Outcome.MOUNTED)], BootOutcome.EVERYTHING_MOUNTED, {"/data": "b"}, True),
        ([line(Outcome.MOUNTED)], BootOutcome.EVERYTHING_MOUNTED, {"/data": "c"}, False),
        ([line(Outcome.MOUNTED)], BootOutcome.MOUNT_FAILED, {}, False),
        ([line(Outcome.MOUNTED)], BootOutcome.EMERGENCY_MODE, {}, False),
        ([line(Outcome.IGNORED)], BootOutcome.MOUNT_FAILED, {}, True),
        ([line(Outcome.IGNORED)], BootOutcome.EVERYTHING_MOUNTED, {"/data": "b"}, False),
        ([line(Outcome.UNKNOWN)], BootOutcome.EVERYTHING_MOUNTED, {"/data": "b"}, False),
        ([line(Outcome.WRONG_DISK)], BootOutcome.EVERYTHING_MOUNTED, {"/data": "c"}, True),
        ([line(Outcome.WRONG_DISK)], BootOutcome.EVERYTHING_MOUNTED, {}, False),
        ([line(Outcome.EMERGENCY)], BootOutcome.EMERGENCY_MODE, {}, True),
        ([line(Outcome.EMERGENCY)], BootOutcome.EVERYTHING_MOUNTED, {"/data": "b"}, False),
        ([line(Outcome.EMERGENCY)], BootOutcome.NO_ROOT_FILE_SYSTEM, {}, False),
        ([line(Outcome.EMERGENCY, "root=x", 0)], BootOutcome.NO_ROOT_FILE_SYSTEM, {}, True),
        ([line(Outcome.EMERGENCY, "root=x", 0)], BootOutcome.NO_ANSWER, {}, False),
    ],
)
def test_comparison_can_fail(
    lines: list[LineForecast], boot: BootOutcome, mounted: dict[str, str], *, agrees: bool
) -> None:
    forecast = Forecast(target=Target.VIRTIO, lines=tuple(lines))
    assert (compare(forecast, Boot(outcome=boot, mounted=mounted)) == "") is agrees


def test_mount_table_is_read_off_the_console() -> None:
    log = ["[  OK  ] Mounted /data.", "ferry-mount:/ aaaa", "ferry-mount:/data bbbb", "ferry-mount:/proc ", "login:"]
    assert mounted_in(log) == {"/": "aaaa", "/data": "bbbb"}
