"""`ferry doctor`: exit 0 if a migration can run here, 8 if something it needs is missing."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click

from ferry.options import json_option

_COLOURS = {"ok": "green", "slow": "yellow", "absent": "yellow", "missing": "red"}


@click.command(epilog="Exit codes: 0 ready, 8 something is missing.")
@click.option("--appliance", is_flag=True, help="Really start the appliance that looks into guests (10 s or so).")
@json_option
def command(*, appliance: bool, as_json: bool) -> None:
    """Say what is installed, what is missing and how to get it.

    Credentials are looked for and named by where they were found; they are never shown.
    """
    from ferry.doctor import State, examine_machine  # noqa: PLC0415

    checks = []
    for check in examine_machine(launch_appliance=appliance):
        checks.append(check)
        if not as_json:
            click.echo(f"{click.style(f'{check.state:8}', fg=_COLOURS[check.state])}{check.name}: {check.detail}")
            if check.remedy:
                click.echo(f"        needed for {check.needed_for}; {check.remedy}")
    ready = all(check.state is not State.MISSING for check in checks)
    if as_json:
        click.echo(json.dumps({"ready": ready, "checks": [asdict(check) for check in checks]}, indent=1))
    sys.exit(0 if ready else 8)
