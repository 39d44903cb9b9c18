"""Decides what an early look at a guest means for the run: where it stops, and what the report says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from migration.errors import FindingsRemain, MigrationError, NoLinuxRoot
from migration.verdict import Verdict
from report.report import describe_mismatch


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlySight:
    """What came of looking: facts for the report, a line for the log, and why the run stops here, if it does."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    message: str
    refusal: MigrationError | None = None


def weigh_verdict(verdict: Verdict, how: str, *, stops_on_mismatch: bool) -> EarlySight:
    """Weigh what was found; `how` says how it was looked at. A clean verdict is left to the full check to give."""
    if verdict.is_clean:
        message = f"{how}: nothing stood in the way"
        return EarlySight(facts={"early_sight": f"{message}."}, message=message)
    message = f"{how}: {describe_mismatch(verdict)}"
    if not stops_on_mismatch:
        return EarlySight(
            facts={"early_sight": f"{message}."}, message=f"{message}; downloading all the same, as asked"
        )
    refusal = FindingsRemain(
        f"{describe_mismatch(verdict)}; nothing more was downloaded",
        "the report says what to do; on_fstab_mismatch=warn downloads and converts all the same",
    )
    facts = {"verdict": verdict, "early_sight": f"{how}: nothing more was downloaded."}
    return EarlySight(facts=facts, message=message, refusal=refusal)


def weigh_failure(error: MigrationError, *, stops_without_linux: bool) -> EarlySight:
    """Weigh that there is no verdict: who could not look is no reason to stop, but a guest that is no Linux is."""
    message = f"The guest could not be judged before the download: {error.message}"
    if stops_without_linux and isinstance(error, NoLinuxRoot):
        facts = {"not_examined": str(error), "early_sight": f"{message}; nothing more was downloaded."}
        return EarlySight(facts=facts, message=message, refusal=error)
    return EarlySight(facts={"early_sight": message}, message=f"{message}; the check after it decides")
