"""Writes what the cloud or a guest said into Markdown, so that it draws nothing there."""

from __future__ import annotations

import re
from collections.abc import Sequence

from report.shown_text import cut

LONGEST = 2000  # characters of one value


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; its cells are Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell or " " for cell in line) + " |" for line in lines)


def cell(text: str) -> str:
    """Make text from the cloud or the guest harmless inside Markdown: one line, nothing that draws."""
    short = cut(text, LONGEST)
    shown = "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in short)
    for special in "\\|`<>*_[":
        shown = shown.replace(special, "\\" + special) if special in "|`<*[" else shown
    return shown


def fenced(text: str, language: str = "") -> str:
    """Return lines as they are; the fence is longer than any that they hold."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
