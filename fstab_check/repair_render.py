"""Shows a repair: the difference with its reasons as text for people, the same as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from fstab_check.render import JSON_VERSION, render_summary, render_text, verdict_as_dict
from migration.repair import ChangedLine, LeftLine, Repair


def render_repair(repair: Repair) -> str:
    """Return what was found, what changes and why, what is left, and the verdict on what was written."""
    parts = [render_text(repair.before)]
    if repair.diff:
        parts += [repair.diff, "".join(f"{line}\n" for line in changed_lines(repair.changed))]
    if repair.left:
        parts.append("Not repaired:\n" + "".join(f"  {place_of(left)}: {left.why}\n" for left in repair.left))
    if repair.diff and repair.after is not None:
        wrote = "".join(f"  {disk.path}, over {disk.base}\n" for disk in repair.layers)
        parts += [
            f"Written:\n{wrote}",
            "The repaired guest, looked at again:\n\n" + render_text(repair.after),
            f"before: {render_summary(repair.before)}\nafter:  {render_summary(repair.after)}\n",
        ]
    elif repair.diff:
        parts.append("Nothing was written: --yes writes this into layers beside the disks, --output into a folder.\n")
    else:
        parts.append("Nothing to repair.\n")
    return "\n".join(parts)


def changed_lines(changed: Sequence[ChangedLine]) -> Iterator[str]:
    """Yield why each line changes: `/etc/fstab:3: …`."""
    for line in changed:
        yield f"{line.file}:{line.line}: {'; '.join(line.reasons)}"


def place_of(left: LeftLine) -> str:
    """Return where something was left: `/etc/fstab:3`."""
    return left.file if left.line is None else f"{left.file}:{left.line}"


def render_repair_json(repair: Repair) -> str:
    """Return the verdict as `ferry check-fstab --json` prints it, with the repair beside it; ASCII only."""
    return json.dumps({**verdict_as_dict(repair.before), "repair": repair_as_dict(repair)}, indent=2) + "\n"


def repair_as_dict(repair: Repair) -> dict[str, object]:
    """Return the repair as one JSON-able object; `after` is null where nothing was written."""
    return {
        "version": JSON_VERSION,
        "diff": repair.diff,
        "changed": [
            {
                "file": line.file, "line": line.line, "before": line.before, "after": line.after,
                "reasons": list(line.reasons),
            }
            for line in repair.changed
        ],
        "left": [{"file": left.file, "line": left.line, "why": left.why} for left in repair.left],
        "written": [_layer(disk.device, disk.path, disk.base) for disk in repair.layers if repair.diff],
        "after": None if repair.after is None else verdict_as_dict(repair.after),
    }  # fmt: skip


def _layer(device: str, path: Path, base: Path | None) -> dict[str, str]:
    return {"device": device, "path": str(path), "base": str(base)}
