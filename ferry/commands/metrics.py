"""`ferry metrics`: what the workspaces in a folder tell, as metrics for Prometheus."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--root", type=click.Path(path_type=Path), required=True, metavar="DIR", help="The folder of the workspaces."
)
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.prom",
    help="Write them there, whole or not at all: for node_exporter's textfile collector.  [default: print them]",
)  # fmt: skip
def command(root: Path, output: Path | None) -> None:
    """Print bytes, stage times, failures and the last successes of all workspaces in a folder, as metrics.

    Changes nothing in the workspaces, and goes on beside runs that own them.
    """
    from migration.errors import InvalidInput  # noqa: PLC0415
    from migration.storage import write_atomically  # noqa: PLC0415
    from report.metrics import find_workspaces, render_metrics  # noqa: PLC0415

    if output is not None and not output.absolute().parent.is_dir():
        raise InvalidInput(f"{output.absolute().parent}: there is no such folder", "make it, or give another --output")
    text = render_metrics(find_workspaces(root.expanduser()))
    if output is None:
        click.echo(text, nl=False)
        return
    write_atomically(output, text)
