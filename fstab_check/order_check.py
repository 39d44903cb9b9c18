"""Judges how the mount points of fstab are spelt and in which order they stand.

systemd mounts by path, parents first, whatever the order of the lines; `mount -a`, and systems that boot by it, go from
top to bottom, so that a parent which comes later hides its child. A line for `/` may stand anywhere: `mount -a` passes
over what is mounted already. (Both tried: systemd 252's generator, util-linux 2.38 on Linux 6.1.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fstab_check.codes import Code
from fstab_check.facts import Line
from fstab_check.line_check import finding_on
from fstab_check.mountpoint_check import normal_path
from migration.verdict import Finding, Severity


def check_order(lines: Sequence[Line]) -> Iterator[Finding]:
    """Yield mount points that are hidden by a later line, and those that are written oddly."""
    earlier: list[tuple[str, Line]] = []
    for line in lines:
        entry = line.entry
        if entry.is_swap or not entry.mountpoint.startswith("/"):
            continue
        yield from _check_spelling(line)
        path = normal_path(entry.mountpoint)
        children = [child for below, child in earlier if path != "/" and below.startswith(path + "/")]
        if children and not entry.is_noauto:
            numbers = ", ".join(str(child.entry.line) for child in children)
            yield finding_on(
                line, Code.MOUNTPOINT_ORDER, Severity.INFO,
                f"{path} comes after what is mounted below it (line {numbers}): systemd sorts that, "
                "`mount -a` hides it",
                evidence=f"{children[0].entry.mountpoint} is mounted by line {children[0].entry.line}",
                remedy="put this line before those",
            )  # fmt: skip
        if not entry.is_noauto:
            earlier.append((path, line))


def _check_spelling(line: Line) -> Iterator[Finding]:
    written = line.entry.mountpoint
    if ".." in written.split("/"):
        yield finding_on(
            line, Code.MOUNTPOINT_SPELLING, Severity.WARNING,
            f"{written} goes up by ..: systemd makes no unit of it and ignores the line",
            evidence=f"it is {normal_path(written)}", remedy=f"write {normal_path(written)}",
        )  # fmt: skip
    elif written != normal_path(written):
        yield finding_on(
            line, Code.MOUNTPOINT_SPELLING, Severity.INFO,
            f"{written} is another way to write {normal_path(written)}: systemd and `mount` see through it, "
            "scripts that compare may not",
            evidence=f"the second field is {written}", remedy=f"write {normal_path(written)}",
        )  # fmt: skip
