"""`ferry decide`: answers a run that was suspended because a guest does not match its disks."""

from __future__ import annotations

import json

import click

from ferry.options import json_option, one_flag


@click.command()
@click.argument("run", required=False)
@click.option("--repair", is_flag=True, help="Change what the diff shows, and convert that.")
@click.option("--convert", is_flag=True, help="Convert the disks as they are.")
@click.option("--abandon", is_flag=True, help="End the run; nothing is converted.")
@click.option("--by", default="", metavar="NAME", help="Who decides.  [default: you, on this machine]")
@click.option("--note", default="", help="Why, for the report.")
@json_option
def command(
    run: str | None, by: str, note: str, *, repair: bool, convert: bool, abandon: bool, as_json: bool
) -> None:  # fmt: skip
    """Answer RUN (its id or name), or show the question; without RUN, list the runs that wait for an answer.

    The server is the one that PREFECT_API_URL names.
    """
    from ferry.prefect_address import require_server  # noqa: PLC0415
    from ferry.terminal_question import local_user  # noqa: PLC0415
    from migration.errors import InvalidInput  # noqa: PLC0415

    choice = one_flag(repair=repair, convert=convert, abandon=abandon)
    if choice is None and (by or note):
        raise InvalidInput("--by and --note go with a decision", "say --repair, --convert or --abandon")
    require_server()
    from ferry.waiting_runs import answer, find_waiting_run, find_waiting_runs  # noqa: PLC0415

    if run is None:
        if choice is not None:
            raise InvalidInput("say which run", "`ferry decide` lists those that wait")
        runs = find_waiting_runs()
        if as_json:
            waiting = [{"run": str(one.id), "name": one.name, "question": one.question} for one in runs]
            click.echo(json.dumps({"waiting": waiting}, indent=1))
        for one in () if as_json else runs:
            click.echo(f"{one.id}  {one.name}")
        if not runs and not as_json:
            click.echo("no run waits for a decision")
        return
    found = find_waiting_run(run)
    if choice is not None:
        answer(found, choice=choice, decided_by=by or local_user(), note=note)
    if as_json:
        click.echo(json.dumps({"run": str(found.id), "name": found.name, "question": found.question, "choice": choice}))
    else:
        click.echo(f"{found.name} goes on: {choice}" if choice else found.question)
