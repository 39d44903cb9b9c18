"""`ferry report`: the report of a workspace's last run, made again from report.json, or printed in one of its forms."""

from __future__ import annotations

from pathlib import Path

import click

from ferry.options import one_flag, workspace_option


@click.command()
@workspace_option(required=True)
@click.option("--html", is_flag=True, help="Print the page instead.")
@click.option("--json", "as_json", is_flag=True, help="Print the document for programs instead.")
@click.option("--markdown", is_flag=True, help="Print Markdown instead.")
def command(workspace: Path, *, html: bool, as_json: bool, markdown: bool) -> None:
    """Make report.html and report.md of a workspace again, from its report.json.

    Printing changes nothing, and goes on beside a run that owns the workspace.
    """
    from migration.workspace import open_workspace  # noqa: PLC0415
    from report.document import find_report, render_document  # noqa: PLC0415
    from report.markdown import render_markdown  # noqa: PLC0415
    from report.page import render_page  # noqa: PLC0415
    from report.write import write_report  # noqa: PLC0415

    form = one_flag(html=html, json=as_json, markdown=markdown)
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
