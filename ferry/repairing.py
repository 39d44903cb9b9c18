"""What `ferry check-fstab --fix` and `--undo` do: the repair shown, written or dropped; exit as the check itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from migration.errors import InvalidInput
from migration.target import Target

if TYPE_CHECKING:
    from migration.disk import Disk
    from migration.progress import Stop
    from migration.repair import Repair


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairOptions:
    """What the command line says about repairing."""

    fix: bool
    yes: bool
    output: Path | None
    undo: bool

    @property
    def is_asked(self) -> bool:
        return self.fix or self.undo

    def check(self, words: tuple[str, ...]) -> None:
        """Raise `InvalidInput` for what cannot be meant together."""
        if self.fix and self.undo:
            raise InvalidInput("--fix and --undo are opposites", "say one of them")
        if (self.yes and not self.fix) or (self.output is not None and not self.is_asked):
            raise InvalidInput("--yes and --output say where a repair goes", "say --fix too")
        if self.is_asked and any(word.startswith("oss://") for word in words):
            raise InvalidInput("an export in its bucket cannot be repaired", "download it first")


def repair(
    words: tuple[str, ...], workspace: Path | None, expected: list[str], targets: tuple[Target, ...],
    options: RepairOptions, stop: Stop,
) -> Repair:  # fmt: skip
    """Plan the repair of the disks that are meant, and write it where that was asked for."""
    from fstab_check.repair_guest import apply_repair, plan_guest_repair  # noqa: PLC0415
    from fstab_check.repair_in_workspace import repair_in_workspace  # noqa: PLC0415
    from migration.workspace import open_workspace  # noqa: PLC0415

    disks = _disks(words, workspace)
    if not (options.yes or options.output):
        return plan_guest_repair(disks, expected_devices=expected, targets=targets, stop=stop).outcome
    if workspace is not None and not words and options.output is None:
        with open_workspace(workspace) as space:
            return repair_in_workspace(space, disks, expected_devices=expected, targets=targets, stop=stop)
    plan = plan_guest_repair(disks, expected_devices=expected, targets=targets, stop=stop)
    return apply_repair(
        disks, plan, directory=options.output, expected_devices=expected, targets=targets, stop=stop
    )  # fmt: skip


def undo(words: tuple[str, ...], workspace: Path | None, output: Path | None) -> list[Path]:
    """Remove the layers over the disks that are meant."""
    from fstab_check.repair_guest import undo_repair  # noqa: PLC0415
    from migration.workspace import open_workspace  # noqa: PLC0415

    disks = _disks(words, workspace)
    if workspace is not None and not words:
        with open_workspace(workspace):
            return undo_repair(disks, directory=output)
    return undo_repair(disks, directory=output)


def show_repair(done: Repair, *, as_json: bool) -> int:
    """Print it; return the exit code: 0 for a clean guest, as it is now."""
    from fstab_check.repair_render import render_repair, render_repair_json  # noqa: PLC0415

    click.echo(render_repair_json(done) if as_json else render_repair(done), nl=False)
    return 0 if (done.after or done.before).is_clean else 1


def show_undone(removed: list[Path], *, as_json: bool) -> None:
    """Print which layers were removed."""
    if as_json:
        click.echo(json.dumps({"removed": [str(path) for path in removed]}, indent=1))
        return
    for path in removed:
        click.echo(f"removed {path}")
    click.echo("The disks are as they were downloaded." if removed else "There was no repair to drop.")


def _disks(words: tuple[str, ...], workspace: Path | None) -> tuple[Disk, ...]:
    from migration.disk_file import find_disks, find_disks_in  # noqa: PLC0415

    if words:
        return find_disks(words)
    if workspace is None:
        raise InvalidInput("no disks given", "name them, or give --workspace")
    return find_disks_in(workspace / "disks")
