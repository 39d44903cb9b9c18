"""`ferry report`: the report of a workspace's last run, made again from report.json, or printed in one of its forms."""

from __future__ import annotations

from pathlib import Path

import click

from ferry.options import workspace_option


@click.command()
@workspace_option(required=True)
@click.option("--html", "form", flag_value="html", help="Print the page instead.")
@click.option("--json", "form", flag_value="json", help="Print the document for programs instead.")
@click.option("--markdown", "form", flag_value="markdown", help="Print Markdown instead.")
def command(workspace: Path, form: str | None) -> None:
    """Make report.html and report.md of a workspace again, from its report.json.

    Printing changes nothing, and goes on beside a run that owns the workspace.
    """
    from migration.workspace import open_workspace  # noqa: PLC0415
    from report.document import find_report, render_document  # noqa: PLC0415
    from report.markdown import render_markdown  # noqa: PLC0415
    from report.page import render_page  # noqa: PLC0415
    from report.write import write_report  # noqa: PLC0415

    report = find_report(workspace)
    if form == "html":
        click.echo(render_page(report), nl=False)
    elif form == "json":
        click.echo(render_document(report), nl=False)
    elif form == "markdown":
        click.echo(render_markdown(report), nl=False)
    else:
        with open_workspace(workspace) as space:
            write_report(space, report)
            click.echo(space.report_page)
