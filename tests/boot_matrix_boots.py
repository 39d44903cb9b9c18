"""How the boots of the matrix came out, and whether that is what was foretold.

The boots of the last whole run are kept in boot_matrix_boots.json: they stay true while the guest and the cell stay the
same, whatever the check comes to say of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from migration.verdict import Forecast, LineForecast, Outcome
from private_cloud.console import Outcome as BootOutcome
from tests.boot_matrix_cells import Cell

RECORD = Path(__file__).with_suffix(".json")
TOLD = "ferry-mount:"  # what the guest begins a line with that says what is mounted where


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """How a boot ended, the UUIDs of what was mounted by mount point, and what the console said."""

    outcome: BootOutcome
    mounted: Mapping[str, str]
    log: Sequence[str] = ()


def key_of(cell: Cell) -> str:
    """Return what a boot is kept under: another for every change of the cell."""
    facts = (cell.disk_set, cell.fstab, cell.command_line, cell.is_repaired, *cell.units)
    return f"{cell.name}, {cell.target} {hashlib.sha256(repr(facts).encode()).hexdigest()[:8]}"


def read_boots(path: Path) -> dict[str, Boot]:
    """Read kept boots, by `key_of` their cells."""
    kept = json.loads(path.read_text(encoding="utf-8"))
    return {
        key: Boot(outcome=BootOutcome(boot["outcome"]), mounted=boot["mounted"]) for key, boot in kept.items()
    }  # fmt: skip


def write_boots(path: Path, boots: Mapping[str, Boot]) -> None:
    """Keep boots, without their logs."""
    kept = {key: {"outcome": boot.outcome, "mounted": dict(boot.mounted)} for key, boot in boots.items()}
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def mounted_in(log: Sequence[str]) -> dict[str, str]:
    """Return the UUIDs that the guest said are mounted, by mount point."""
    told = (line.partition(TOLD)[2].split() for line in log if TOLD in line)
    return {words[0]: words[1] for words in told if len(words) == 2}


def compare(forecast: Forecast, boot: Boot) -> str:
    """Return how the boot differs from what was foretold, "" if it does not."""
    stands = {BootOutcome.EVERYTHING_MOUNTED: "boots", BootOutcome.MOUNT_FAILED: "boots"}.get(
        boot.outcome, str(boot.outcome)
    )
    expected = "boots"
    if forecast.outcome is Outcome.EMERGENCY:
        at_root = any(line.line == 0 and line.outcome is Outcome.EMERGENCY for line in forecast.lines)
        expected = str(BootOutcome.NO_ROOT_FILE_SYSTEM if at_root else BootOutcome.EMERGENCY_MODE)
    if stands != expected:
        return f"foretold: {expected}; the boot: {stands}"
    if forecast.outcome is Outcome.EMERGENCY:
        return ""
    return "; ".join(filter(None, (_compare_line(line, boot.mounted) for line in forecast.lines if line.line)))


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
