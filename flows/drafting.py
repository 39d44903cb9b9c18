"""Keeps the report of a run while it grows, and publishes it when the run ends, however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from flows.report import Report
from flows.tasks import publish
from migration.errors import MigrationError
from migration.workspace import Workspace


class Draft:
    """What is known so far; see `Report` for what can be added."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def add(self, **facts: Any) -> None:
        """Take facts into the report."""
        self.report = replace(self.report, **facts)


@contextmanager
def drafting(workspace: Workspace, title: str) -> Iterator[Draft]:
    """Publish what the block has drafted: a failure ends up in the report too, as far as an operator can act on it."""
    draft = Draft(Report(title=title, workspace=workspace.path))
    try:
        yield draft
    except MigrationError as error:
        draft.add(stopped=str(error))
        raise
    finally:
        publish(workspace, draft.report)
