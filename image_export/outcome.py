"""The four answers a preflight rule can give."""

from __future__ import annotations

from migration.str_enum import StrEnum


class Outcome(StrEnum):
    """UNKNOWN is what could not be looked at: it is never taken for a pass, and does not refuse."""

    PASS = "pass"  # noqa: S105  # a rule that passed
    WARN = "warn"
    REFUSE = "refuse"
    UNKNOWN = "unknown"
