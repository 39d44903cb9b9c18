"""The question that a person is asked about a guest which does not match its disks, in Markdown for a form."""

from __future__ import annotations

from dataclasses import dataclass

from fstab_check.render import render_text
from migration.repair import Repair
from report.markdown_text import fenced

_LONGEST = 20_000  # characters of each part: forms are for people, and the report has the rest


@dataclass(frozen=True, slots=True)
class Question:
    """What was found, and what a repair would change; nothing is written yet."""

    title: str
    repair: Repair


def render_question(question: Question) -> str:
    """Return the question. What the guest wrote stands in fences that it cannot close."""
    repair = question.repair
    parts = [f"## {question.title}", fenced(_cut(render_text(repair.before)))]
    if repair.diff:
        parts += ["A repair would change, in a layer over the downloaded disks:", fenced(_cut(repair.diff), "diff")]
    else:
        parts.append("Nothing of it can be repaired safely.")
    left = [f"- {one.file}:{one.line}: {one.why}" for one in repair.left]
    if left:
        parts += ["It would leave:", fenced(_cut("\n".join(left)))]
    return "\n\n".join(parts)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\n… and more: see the report"
