"""Writes a report into its workspace: as JSON for programs, as Markdown, and as one HTML page."""

from __future__ import annotations

from migration.storage import write_atomically
from migration.workspace import Workspace
from report.document import render_document
from report.markdown import render_markdown
from report.page import render_page
from report.report import Report


def write_report(workspace: Workspace, report: Report) -> str:
    """Write all three, each whole or not at all, and return the Markdown. Raises `NoSpace`."""
    text = render_markdown(report)
    # The document first: from it the others can be made again.
    write_atomically(workspace.report_document, render_document(report))
    write_atomically(workspace.report, text)
    write_atomically(workspace.report_page, render_page(report))
    return text
