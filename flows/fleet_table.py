"""Keeps the table of a fleet, one row an image, and writes it as Markdown, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from migration.storage import write_atomically
from migration.str_enum import StrEnum
from report.markdown_text import cell, table

VERSION = 1
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the start of one


class Outcome(StrEnum):
    """What became of one image."""

    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    STOPPED = "stopped"  # somebody stopped the fleet: not reached, or broken off where it can go on


_MARK = {Outcome.DONE: "✅", Outcome.FAILED: "❌", Outcome.SKIPPED: "⏭️", Outcome.STOPPED: "⏹️"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One image. `why` says what went wrong, or why nothing was done; `seconds` is how long it took."""

    image_id: str
    name: str = ""
    outcome: Outcome
    why: str = ""
    error: str = ""  # which kind of failure, as `PreflightRefused`
    workspace: str = ""
    images: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class FleetTable:
    """All rows, and what was deleted at the end."""

    title: str
    rows: tuple[Row, ...]
    pruned: tuple[str, ...] = ()

    def count(self, outcome: Outcome) -> int:
        return sum(row.outcome is outcome for row in self.rows)

    def of(self, outcome: Outcome) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.outcome is outcome)

    @property
    def summary(self) -> str:
        """Say it in one line: `50 images: 46 done, 3 failed, 1 skipped`."""
        parts = [f"{self.count(outcome)} {outcome}" for outcome in Outcome if self.count(outcome)]
        images = "1 image" if len(self.rows) == 1 else f"{len(self.rows)} images"
        return f"{images}: {', '.join(parts)}" if parts else "none has ended yet"

    def document(self) -> dict[str, Any]:
        """Return the table in JSON's own types."""
        counts = {str(outcome): self.count(outcome) for outcome in Outcome}
        rows = [{**asdict(row), "outcome": str(row.outcome), "images": list(row.images)} for row in self.rows]
        return {"version": VERSION, "title": self.title, **counts, "rows": rows, "pruned": list(self.pruned)}


def write_table(fleet: FleetTable, folder: Path) -> str:
    """Write `fleet.md`, `fleet.json` and `fleet.csv` into a folder and return the Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    text = render_table(fleet)
    write_atomically(folder / "fleet.csv", render_csv(fleet.rows))
    write_atomically(folder / "fleet.json", json.dumps(fleet.document(), indent=1) + "\n")
    write_atomically(folder / "fleet.md", text)
    return text


def render_table(fleet: FleetTable) -> str:
    """Return the table as Markdown: what failed first, for that is what somebody has to act on."""
    order = (Outcome.FAILED, Outcome.STOPPED, Outcome.DONE, Outcome.SKIPPED)
    rows = [
        [
            f"`{row.image_id}`",
            cell(row.name),
            f"{_MARK[outcome]} {outcome}",
            cell(" ".join(row.why.split())),
            f"{row.seconds:.0f}" if row.seconds else "",
            f"`{cell(row.workspace)}`" if row.workspace else "",
        ]
        for outcome in order
        for row in fleet.of(outcome)
    ]
    parts = [f"# {cell(fleet.title)}", f"**{fleet.summary}**"]
    parts.append(table(["Image", "Name", "Outcome", "Why", "Seconds", "Workspace"], rows))
    if fleet.pruned:
        parts += ["## Deleted", "\n".join(f"- {cell(line)}" for line in fleet.pruned)]
    return "\n\n".join(parts) + "\n"


def render_csv(rows: Sequence[Row]) -> str:
    """Return the table for a spreadsheet, in which no cell is a formula."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(["image_id", "name", "outcome", "why", "error", "workspace", "images", "seconds"])
    for row in rows:
        cells = [
            row.image_id, row.name, str(row.outcome), " ".join(row.why.split()), row.error, row.workspace,
            " ".join(row.images), f"{row.seconds:.1f}",
        ]  # fmt: skip
        writer.writerow([f"'{one}" if one.startswith(_FORMULA) else one for one in cells])
    return stream.getvalue()
