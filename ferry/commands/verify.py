"""`ferry verify`: re-reads finished disks from storage and compares them with what was downloaded."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ferry.options import json_option, workspace_option

if TYPE_CHECKING:
    from image_download.verify import Verification


@click.command()
@workspace_option(required=True)
@json_option
def command(workspace: Path, *, as_json: bool) -> None:
    """Re-read the downloaded disks of a workspace and compare them with what OSS had.

    The disks are only read. One that is damaged is mended by running `ferry download` or `ferry run` again,
    which fetches the damaged parts, or all of it where only an archive of it is in OSS.
    """
    from ferry.progress import open_display  # noqa: PLC0415
    from image_download.verify import verify_disks  # noqa: PLC0415
    from migration.errors import CorruptData, InvalidInput  # noqa: PLC0415
    from migration.workspace import open_workspace  # noqa: PLC0415

    if not workspace.is_dir():
        raise InvalidInput(f"{workspace}: there is no such folder", "give the workspace of a migration")
    with open_workspace(workspace) as space:
        with open_display() as display:
            found = verify_disks(space, progress=display.progress("verify"))
        if not found:
            raise InvalidInput(f"{space.path} has no downloaded disks", "run `ferry download` first")
    if as_json:
        click.echo(json.dumps({"disks": [{**asdict(one), "path": str(one.path)} for one in found]}, indent=1))
    else:
        for one in found:
            click.echo(f"{one.path}  {_describe(one)}")
    if not all(one.is_whole for one in found):
        click.echo("ferry: run `ferry download` or `ferry run` again to mend what is damaged", err=True)
        sys.exit(CorruptData.exit_code)


def _describe(verification: Verification) -> str:
    if verification.is_whole:
        return f"whole: CRC-64 {verification.crc64} as recorded"
    ranges = [f"{start}-{end - 1}" for start, end in verification.damaged]
    more = f" and {len(ranges) - 5} more" if len(ranges) > 5 else ""
    where = f"; damaged bytes {', '.join(ranges[:5])}{more}" if ranges else ""
    return f"DAMAGED: {verification.problem}{where}"
