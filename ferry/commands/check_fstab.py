"""`ferry check-fstab`: exit 0 for a clean guest, 1 for findings, 2 if it could not be looked at, 130 if stopped."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ferry.options import cloud_options_for_a_bucket, json_option, make_cloud, target_option, workspace_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from migration.cloud import Cloud
    from migration.progress import Stop
    from migration.target import Target
    from migration.verdict import Verdict


@click.command("check-fstab", epilog="Exit codes: 0 clean, 1 findings, 2 could not look, 130 stopped.")
@click.argument("disks", nargs=-1, metavar="[DISK]...")
@workspace_option(required=False)
@cloud_options_for_a_bucket
@target_option
@click.option("--fix", is_flag=True, help="Show what would mend it, as a diff; writes nothing by itself.")
@click.option("--yes", is_flag=True, help="With --fix: write it, into a layer beside each disk that changes.")
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), help="With --fix: write it, into this folder."
)
@click.option("--undo", is_flag=True, help="Remove the layers that --fix wrote, and what was written to them since.")
@json_option
def command(
    disks: tuple[str, ...], workspace: Path | None, region_id: str, ecs_endpoint: str, oss_endpoint: str,
    target_words: tuple[str, ...], output: Path | None,
    *, oss_cname: bool, fix: bool, yes: bool, undo: bool, as_json: bool,
) -> None:  # fmt: skip
    """Check that /etc/fstab matches the exported disks.

    DISK is a file named as exports are (system.raw, data_xvdb.raw), or DEVICE=FILE. Without any, the
    disks of the workspace are checked. Nothing is written to the disks.

    oss://BUCKET/[PREFIX_]IMAGE in their place is an export in its bucket, which needs --region. It is
    looked at where it lies: only some MiB of its .raw objects are read. Archives (.raw.tar.gz) cannot
    be read so: download them first.

    --fix repairs, never the disk itself: a changed disk is a qcow2 layer over it, system.repaired.qcow2,
    which `ferry convert` and QEMU take in its place. The exit code is then about the repaired guest.
    """
    from ferry import repairing  # noqa: PLC0415
    from ferry.interruptible import run_interruptible  # noqa: PLC0415
    from migration.errors import InvalidInput, MigrationError  # noqa: PLC0415
    from migration.target import parse_targets  # noqa: PLC0415

    options = repairing.RepairOptions(fix=fix, yes=yes, output=output, undo=undo)
    read: dict[str, int] = {}
    try:
        targets = parse_targets(target_words)
        options.check(disks)
        if undo:
            repairing.show_undone(repairing.undo(disks, workspace, output), as_json=as_json)
            sys.exit(0)
        if fix:
            expected = _devices_of_image(workspace) if workspace is not None and not disks else []
            done = run_interruptible(lambda stop: repairing.repair(disks, workspace, expected, targets, options, stop))
            sys.exit(repairing.show_repair(done, as_json=as_json))
        if any(word.startswith("oss://") for word in disks):
            if len(disks) > 1:
                raise InvalidInput("an oss:// address stands for all disks of its export", "give it alone")
            if not region_id:
                raise InvalidInput(f"{disks[0]}: the bucket's region is not told", "say it: --region cn-hangzhou")
            cloud = make_cloud(region_id, ecs_endpoint, oss_endpoint, oss_cname)
            verdict, read = _judge_in_bucket(cloud, disks[0], targets)
        else:
            verdict = run_interruptible(lambda stop: _judge(disks, workspace, targets, stop))
    except MigrationError as error:
        # Whatever kept us from looking, a program that asked must see 2, not that error's own code.
        error.exit_code = 2
        raise
    _show(verdict, read, as_json=as_json)
    sys.exit(0 if verdict.is_clean else 1)


def _judge(disks: tuple[str, ...], workspace: Path | None, targets: Sequence[Target], stop: Stop) -> Verdict:
    """Look into disks that lie on this machine."""
    from fstab_check.examine import examine_guest  # noqa: PLC0415
    from migration.disk_file import find_disks, find_disks_in  # noqa: PLC0415
    from migration.errors import InvalidInput  # noqa: PLC0415

    if disks:
        return examine_guest(find_disks(disks), targets=targets, stop=stop)
    if workspace is None:
        raise InvalidInput("no disks given", "name them, or give --workspace")
    disks_there, expected = find_disks_in(workspace / "disks"), _devices_of_image(workspace)
    return examine_guest(disks_there, expected_devices=expected, targets=targets, stop=stop)


def _judge_in_bucket(cloud: Cloud, address: str, targets: Sequence[Target]) -> tuple[Verdict, dict[str, int]]:
    """Look into an export where it lies; return the verdict, and how many bytes of how many that took."""
    from ferry.image_of_export import find_image  # noqa: PLC0415
    from ferry.interruptible import run_interruptible  # noqa: PLC0415
    from fstab_check.examine import examine_guest  # noqa: PLC0415
    from image_download.remote_view import open_remote_disks  # noqa: PLC0415
    from image_export.address import find_export  # noqa: PLC0415
    from image_export.export import find_exported_objects  # noqa: PLC0415
    from migration.credentials import find_credentials  # noqa: PLC0415

    credentials = find_credentials()
    export = find_export(cloud, credentials, address)
    image = find_image(cloud, credentials, export.image_id)
    objects = find_exported_objects(
        cloud, credentials, bucket=export.bucket, image_id=export.image_id, prefix=export.prefix, image=image
    )

    def look(stop: Stop) -> tuple[Verdict, dict[str, int]]:
        with open_remote_disks(objects, cloud, credentials, stop=stop) as view:
            verdict = examine_guest(view.disks, targets=targets, stop=view.stop)
        return verdict, {"bytes_read": view.bytes_read, "bytes_total": view.bytes_total}

    return run_interruptible(look)


def _show(verdict: Verdict, read: dict[str, int], *, as_json: bool) -> None:
    from fstab_check.render import render_json, render_text  # noqa: PLC0415
    from migration.storage import format_share  # noqa: PLC0415

    click.echo(render_json(verdict, **read) if as_json else render_text(verdict), nl=False)
    if read and not as_json:
        click.echo(f"read from the bucket: {format_share(read['bytes_read'], read['bytes_total'])}")


def _devices_of_image(workspace: Path) -> list[str]:
    """Return the disks that the workspace's export was to have, none where it has no export of its own."""
    from image_export.export import recorded_export  # noqa: PLC0415
    from migration.journal import Journal  # noqa: PLC0415
    from migration.workspace import Workspace  # noqa: PLC0415

    path = workspace.absolute()
    # Only read, so that a workspace can be looked at while another process owns it.
    export = recorded_export(Workspace(path, Journal(path / "journal.json")))
    return [disk.device for disk in export.image.disks] if export is not None else []
