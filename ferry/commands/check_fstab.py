"""`ferry check-fstab`: exit 0 for a clean guest, 1 for findings, 2 if it could not be looked at."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ferry.options import json_option, workspace_option


@click.command("check-fstab", epilog="Exit codes: 0 clean, 1 findings, 2 could not look.")
@click.argument("disks", nargs=-1, metavar="[DISK]...")
@workspace_option(required=False)
@json_option
def command(disks: tuple[str, ...], workspace: Path | None, *, as_json: bool) -> None:
    """Check that /etc/fstab matches the exported disks.

    DISK is a file named as exports are (system.raw, data_xvdb.raw), or DEVICE=FILE. Without any, the
    disks of the workspace are checked. Nothing is written to the disks.
    """
    from fstab_check.examine import examine_guest  # noqa: PLC0415
    from fstab_check.render import render_json, render_text  # noqa: PLC0415
    from migration.disk_file import find_disks, find_disks_in  # noqa: PLC0415
    from migration.errors import InvalidInput, MigrationError  # noqa: PLC0415

    expected: list[str] = []

    try:
        if disks:
            found = find_disks(disks)
        elif workspace is not None:
            found = find_disks_in(workspace / "disks")
            expected = _devices_of_image(workspace)
        else:
            raise InvalidInput("no disks given", "name them, or give --workspace")
        verdict = examine_guest(found, expected_devices=expected)
    except MigrationError as error:
        # Whatever kept us from looking, a program that asked must see 2, not that error's own code.
        error.exit_code = 2
        raise
    click.echo(render_json(verdict) if as_json else render_text(verdict))
    sys.exit(0 if verdict.is_clean else 1)


def _devices_of_image(workspace: Path) -> list[str]:
    """Return the disks that the workspace's export was to have, none where it has no export of its own."""
    from image_export.export import recorded_export  # noqa: PLC0415
    from migration.journal import Journal  # noqa: PLC0415
    from migration.workspace import Workspace  # noqa: PLC0415

    path = workspace.absolute()
    # Only read, so that a workspace can be looked at while another process owns it.
    export = recorded_export(Workspace(path, Journal(path / "journal.json")))
    return [disk.device for disk in export.image.disks] if export is not None else []
