"""What a person decided about a guest that does not match its disks, remembered with what it was decided on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from migration.disk import Disk
from migration.disk_file import fingerprint_files
from migration.storage import Fingerprint
from migration.str_enum import StrEnum
from migration.workspace import Workspace

# A Prefect worker with a limit dies, and its other runs with it, if a run comes again before its first process has
# ended: "this borrower is already holding one of this CapacityLimiter's tokens" (seen with Prefect 3.8.8).
SETTLING = 15.0  # seconds from a question until it may be answered
STEP = "decision"
QUESTION_STEP = "question"


class Choice(StrEnum):
    """What can be done about a mismatch."""

    REPAIR = "repair"  # what can be repaired safely, and convert even where something is left
    CONVERT = "convert"  # as it is
    ABANDON = "abandon"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who chose what, and when (seconds since the epoch). `asked` names where the question was put."""

    choice: Choice
    decided_by: str
    note: str = ""
    when: float = 0.0
    asked: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedDecision:
    """The same as the journal remembers it, with the files of the disks as they were judged."""

    decision: Decision
    files: tuple[tuple[Path, Fingerprint], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedQuestion:
    """That a question is open, who waits for the answer, and on which files."""

    asked: str
    files: tuple[tuple[Path, Fingerprint], ...]


def find_decision(workspace: Workspace, disks: Sequence[Disk]) -> Decision | None:
    """Return what was decided about these very disks, None where nothing was, or they are others by now."""
    known = workspace.journal.get(STEP, RecordedDecision)
    return known.decision if known is not None and known.files == fingerprint_files(disks) else None


def record_decision(workspace: Workspace, disks: Sequence[Disk], decision: Decision) -> None:
    """Remember the decision, and that no question is open any more."""
    workspace.journal.record(STEP, RecordedDecision(decision=decision, files=fingerprint_files(disks)))
    workspace.journal.forget(QUESTION_STEP)


def is_asked(workspace: Workspace, disks: Sequence[Disk], asked: str) -> bool:
    """Return whether the question about these disks was put already, by the same asker."""
    known = workspace.journal.get(QUESTION_STEP, RecordedQuestion)
    return known is not None and known == RecordedQuestion(asked=asked, files=fingerprint_files(disks))


def record_question(workspace: Workspace, disks: Sequence[Disk], asked: str) -> None:
    """Remember that the question is put."""
    workspace.journal.record(QUESTION_STEP, RecordedQuestion(asked=asked, files=fingerprint_files(disks)))
