"""The flow `migrate-fleet`: many images in one run, of which single ones may fail; run again, it does only the rest."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from flows.credentials_block import load_credentials
from flows.described import described
from flows.fleet_crew import Crew
from flows.fleet_list import FleetImage
from flows.fleet_parameters import (
    AtMost,
    AtOnce,
    DeleteObjects,
    FleetFile,
    Force,
    Images,
    ImageSelector,
    KeepLast,
    OnMismatchInFleet,
    check_names,
    check_template,
    root_of,
)
from flows.fleet_plan import FleetPlan, leave_out_migrated, list_images, stopped_rows
from flows.fleet_run import FleetRun
from flows.fleet_table import FleetTable, Outcome, Row, write_table
from flows.messages import set_up_logging
from flows.parameters import (
    BootTest,
    Bucket,
    BundleOptions,
    Compress,
    Endpoints,
    Formats,
    KeepRaw,
    LimitOverrides,
    MachineWishes,
    MakeBundle,
    Region,
    Shrink,
    Targets,
    WorkspacePath,
)
from flows.progress import progress_artifact
from flows.pruning import CloudOf, plan_pruning, prune
from flows.shown_text import show_text
from flows.transfer import Transfer
from image_export.selection import Selector
from migration.catalogue import find_migrations
from migration.credentials import CredentialSource
from migration.disk import DiskFormat
from migration.errors import MigrationError
from migration.storage import storage_errors
from migration.target import ALL_TARGETS

set_up_logging()
log = logging.getLogger(__name__)

REPORTS = "fleet-reports"  # folder under the root
NAMED = 3  # failures that are told in the state of the run; the table has all


class FleetIncomplete(MigrationError):
    """Some images of a fleet failed. Those that did not are done."""

    exit_code = 9


@flow(name="migrate-fleet", flow_run_name="fleet {region_id} {bucket}")
@described
def migrate_fleet(
    bucket: Bucket,
    region_id: Region,
    images: Images = [],  # noqa: B006  # never changed, and shown as the default
    file: FleetFile = "",
    selector: ImageSelector | None = None,
    workspace: WorkspacePath = "~/ferry/{image_id}",
    force: Force = False,
    at_most: AtMost = 50,
    at_once: AtOnce = AtOnce(),  # noqa: B008  # frozen
    keep_last: KeepLast = None,
    delete_objects: DeleteObjects = False,
    formats: Formats = [DiskFormat.QCOW2],  # noqa: B006
    on_fstab_mismatch: OnMismatchInFleet = "fail",
    targets: Targets = list(ALL_TARGETS),  # noqa: B006
    compress: Compress = False,
    shrink: Shrink = True,
    keep_raw: KeepRaw = True,
    boot_test: BootTest = False,
    machine: MachineWishes = MachineWishes(),  # noqa: B008  # frozen
    bundle: MakeBundle = False,
    bundle_options: BundleOptions = BundleOptions(),  # noqa: B008
    credentials_block: str = "",
    endpoints: Endpoints = Endpoints(),  # noqa: B008
    transfer: Transfer = Transfer(),  # noqa: B008
    limits: LimitOverrides = LimitOverrides(),  # noqa: B008
) -> dict[str, Any]:
    """Migrate many images in one run: those of a list, of a file, or all that a selector means.

    Images that were migrated already are skipped, a failure of one does not stop the others, and the table at the end
    says what became of each. Run again, it does only what is missing.

    Args:
        selector: Images by family, name or tags, in place of a list.
        credentials_block: Name of a saved "Alibaba Cloud Credentials" block. Empty: what the worker
            finds by itself (environment, profile, RAM role).
    """
    check_template(workspace)
    check_names(machine.name, bundle_options.name)
    root, depth = root_of(workspace)
    cloud, credentials = endpoints.cloud(region_id), load_credentials(credentials_block)
    common: dict[str, Any] = {
        "bucket": bucket, "region_id": region_id, "formats": formats, "on_fstab_mismatch": on_fstab_mismatch,
        "targets": targets, "compress": compress, "shrink": shrink, "keep_raw": keep_raw, "boot_test": boot_test,
        "machine": machine, "bundle": bundle, "bundle_options": bundle_options,
        "credentials_block": credentials_block, "endpoints": endpoints, "transfer": transfer, "limits": limits,
    }  # fmt: skip
    chosen = selector.selector() if selector is not None else None
    migrations = find_migrations(root, depth=depth)
    meant = list_images(images, file, chosen, cloud, credentials, migrations, keep_last=keep_last)
    plan = leave_out_migrated(meant, migrations, common, force=force, at_most=at_most)
    cloud_of = _cloud_of(endpoints, credentials)
    fleet = FleetRun(bandwidth=transfer.bandwidth(), bounds=at_once.bounds)
    crew = Crew(
        fleet=fleet, at_once=at_once.images, common=common, template=workspace, root=root, names=plan.names,
        cloud_of=cloud_of if delete_objects else None,
    )  # fmt: skip
    report = _Report(root, f"Fleet: {chosen or file or 'a list'}")
    rows = _run(crew, plan, report)
    pruned: tuple[str, ...] = ()
    if keep_last is not None:
        pruned = _prune(root, depth, keep_last, chosen, cloud_of if delete_objects else None)
    return _end(report, rows, pruned)


def _run(crew: Crew, plan: FleetPlan, report: _Report) -> list[Row]:
    """Return a row for every image; the files of the table are written whenever one has ended."""
    rows = list(plan.skipped)
    report.write(rows)
    log.info("%d images to migrate, %d skipped", len(plan.images), len(rows))
    try:
        with progress_artifact("fleet", f"{len(plan.images)} images", is_bytes=False) as progress:
            for done, row in enumerate(crew.run(plan.images), start=1):
                rows.append(row)
                report.write(rows)
                progress(done, len(plan.images))
                log.info("%d of %d: %s %s", done, len(plan.images), row.image_id, _in_a_line(row))
    except BaseException:
        report.write([*rows, *stopped_rows(plan.images, rows, plan.names)])
        raise
    return sorted(rows, key=lambda row: _position(plan.images, row))


def _prune(root: Path, depth: int, keep: int, selector: Selector | None, cloud_of: CloudOf | None) -> tuple[str, ...]:
    """Delete what is not to be kept, of what the selector means or of every family; return lines for the table."""
    done = prune(plan_pruning(root, keep, depth=depth, selector=selector), cloud_of=cloud_of)
    return tuple(one.line for one in done)


def _end(report: _Report, rows: Sequence[Row], pruned: Sequence[str]) -> dict[str, Any]:
    table, text = report.write(rows, pruned)
    kept = str(report.folder / "fleet.md")
    show_text(text, key="fleet-report", description=f"{table.title}: {table.summary}", kept=kept)
    log.info("%s; the table is %s", table.summary, report.folder / "fleet.md")
    failed = table.of(Outcome.FAILED)
    if failed:
        named = "".join(f"\n  {row.image_id}: {' '.join(row.why.split())}" for row in failed[:NAMED])
        more = f"\n  and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
        raise FleetIncomplete(
            f"{table.summary}{named}{more}",
            f"the table is {report.folder / 'fleet.md'}; run the same fleet again, and only what is missing is done",
        )
    return {"report": str(report.folder / "fleet.md"), **table.document()}


class _Report:
    """The files of one fleet's table."""

    def __init__(self, root: Path, title: str) -> None:
        self._title = title
        started = datetime.now(timezone.utc)
        name = f"{started:%Y-%m-%dT%H%M%SZ}-{str(flow_run.get_id() or '')[:8]}"
        self.folder = root / REPORTS / name

    def write(self, rows: Sequence[Row], pruned: Sequence[str] = ()) -> tuple[FleetTable, str]:
        """Write what is known so far, so that it is there however the run ends."""
        table = FleetTable(title=self._title, rows=tuple(rows), pruned=tuple(pruned))
        with storage_errors(self.folder):
            return table, write_table(table, self.folder)


def _cloud_of(endpoints: Endpoints, credentials: CredentialSource) -> CloudOf:
    return lambda region_id: (endpoints.cloud(region_id), credentials)


def _position(images: Sequence[FleetImage], row: Row) -> int:
    """Order rows as the list has them, with what was skipped behind."""
    ids = [image.image_id for image in images]
    return ids.index(row.image_id) if row.image_id in ids else len(ids)


def _in_a_line(row: Row) -> str:
    return f"{row.outcome}: {' '.join(row.why.split())}" if row.why else str(row.outcome)
