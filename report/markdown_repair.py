"""The part of a report that shows a repair: the difference and both verdicts."""

from __future__ import annotations

from itertools import islice

from fstab_check.render import render_summary
from fstab_check.repair_render import changed_lines, place_of
from migration.repair import Repair
from report.markdown_text import cell, fenced
from report.shown_text import shown_lines

MOST_LINES = 1000  # of each kind; report.json has all


def render_repair(repair: Repair) -> list[str]:
    """Return the section as Markdown, in parts; what is above it in a report judges the guest as it is after it."""
    parts = ["## Repair"]
    if not repair.diff:
        parts.append("Nothing had to be changed that could be changed safely.")
    else:
        layers = ", ".join(f"`{disk.path.name}` over `{disk.base.name}`" for disk in repair.layers if disk.base)
        after = render_summary(repair.after) if repair.after is not None else "not written"
        parts += [
            f"Before: {cell(render_summary(repair.before))}  \nAfter: {cell(after)}",
            f"Written to {layers}; the downloaded disks are as they were." if layers else "Nothing was written.",
            fenced("\n".join(shown_lines(repair.diff, MOST_LINES)), "diff"),
            "\n".join(f"- {cell(line)}" for line in islice(changed_lines(repair.changed), MOST_LINES)),
        ]
    if repair.left:
        parts += [
            "Not repaired:",
            "\n".join(f"- {cell(place_of(left))}: {cell(left.why)}" for left in repair.left[:MOST_LINES]),
        ]
    return parts
