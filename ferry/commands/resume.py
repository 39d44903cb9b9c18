"""`ferry resume`: has a worker go on with runs that crashed, from where their workspaces are."""

from __future__ import annotations

import json
from datetime import timedelta

import click

from ferry.options import json_option


@click.command()
@click.argument("run", required=False)
@click.option("--all", "everything", is_flag=True, help="Go on with all that crashed.")
@click.option(
    "--silence", type=click.IntRange(min=60), default=600, show_default=True, metavar="SECONDS",
    help="After which a run that is said to be at work is believed to be gone.",
)  # fmt: skip
@json_option
def command(run: str | None, *, everything: bool, silence: int, as_json: bool) -> None:
    """Go on with RUN (its id or name), which crashed, failed or was cancelled; without RUN, list those that crashed.

    Any worker that sees the workspace takes it up. The server is the one that PREFECT_API_URL names.
    """
    from ferry.prefect_address import require_server  # noqa: PLC0415
    from migration.errors import InvalidInput  # noqa: PLC0415

    require_server()
    from ferry.stopped_runs import find_crashed_runs, find_stopped_run, go_on  # noqa: PLC0415

    if run is not None and everything:
        raise InvalidInput("RUN and --all exclude each other", "give one of them")
    patience = timedelta(seconds=silence)
    found = [find_stopped_run(run, patience)] if run is not None else find_crashed_runs(patience)
    resumed = run is not None or everything
    for one in found if resumed else ():
        go_on(one)
    if as_json:
        runs = [{"run": str(one.id), "name": one.name, "state": one.state, "message": one.message} for one in found]
        click.echo(json.dumps({"resumed" if resumed else "crashed": runs}, indent=1))
        return
    for one in found:
        click.echo(f"{one.name} goes on" if resumed else f"{one.id}  {one.name}: {one.message}")
    if not found:
        click.echo("no run has crashed")
