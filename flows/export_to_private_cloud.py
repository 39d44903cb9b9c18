"""The flow `export-to-private-cloud`: export → download → check /etc/fstab → convert → boot, for one image."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from flows.boot_decision import check_boot_test
from flows.bring_home import HomeBringer
from flows.credentials_block import load_credentials
from flows.described import described
from flows.drafting import drafting
from flows.making_ready import check_settings, make_ready, planned_stages
from flows.messages import set_up_logging
from flows.parameters import (
    BootTest,
    Bucket,
    BundleOptions,
    Compress,
    DecisionHours,
    Endpoints,
    Formats,
    ImageId,
    KeepRaw,
    LimitOverrides,
    MachineWishes,
    MakeBundle,
    OnFstabMismatch,
    Prefix,
    Region,
    Shrink,
    Targets,
    WorkspacePath,
    run_settings,
    workspace_path,
)
from flows.stopping import RunningTasks, cancelled_with_its_fleet, cancelling_export
from flows.tasks import export
from flows.transfer import Transfer
from image_export.request import ExportRequest
from migration.catalogue import record_migrated
from migration.disk import DiskFormat
from migration.target import ALL_TARGETS
from migration.workspace import open_workspace
from report.report import outcome_of_run
from report.stage_times import Stage

set_up_logging()


@flow(
    name="export-to-private-cloud",
    flow_run_name="export {image_id}",
    task_runner=ThreadPoolTaskRunner(max_workers=6),  # type: ignore[arg-type]  # Prefect's own example
)
@described
@cancelled_with_its_fleet
def export_to_private_cloud(
    image_id: ImageId,
    bucket: Bucket,
    region_id: Region,
    workspace: WorkspacePath = "~/ferry/{image_id}",
    prefix: Prefix = "",
    formats: Formats = [DiskFormat.QCOW2],  # noqa: B006  # never changed, and shown as the default
    on_fstab_mismatch: OnFstabMismatch = "fail",
    targets: Targets = list(ALL_TARGETS),  # noqa: B006
    compress: Compress = False,
    shrink: Shrink = True,
    keep_raw: KeepRaw = True,
    boot_test: BootTest = False,
    machine: MachineWishes = MachineWishes(),  # noqa: B008  # frozen
    bundle: MakeBundle = False,
    bundle_options: BundleOptions = BundleOptions(),  # noqa: B008
    decision_hours: DecisionHours = None,
    credentials_block: str = "",
    endpoints: Endpoints = Endpoints(),  # noqa: B008  # frozen
    transfer: Transfer = Transfer(),  # noqa: B008
    limits: LimitOverrides = LimitOverrides(),  # noqa: B008
) -> dict[str, Any]:
    """Take a custom image out of the cloud and make it run in a private cloud.

    Run again with the same parameters after a failure, a cancellation or a power cut, it goes on
    where it stopped: the workspace remembers what is done.

    Args:
        credentials_block: Name of a saved "Alibaba Cloud Credentials" block. Empty: what the worker
            finds by itself (environment, profile, RAM role).
    """
    settings = run_settings(
        formats=formats, compress=compress, shrink=shrink, keep_raw=keep_raw, on_fstab_mismatch=on_fstab_mismatch,
        targets=targets, boot_test=boot_test, machine=machine, bundle=bundle, bundle_options=bundle_options,
        decision_hours=decision_hours,
    )  # fmt: skip
    check_settings(settings)
    path = workspace_path(workspace, image_id)
    cloud, credentials = endpoints.cloud(region_id), load_credentials(credentials_block)
    with open_workspace(path) as space:
        # Before anything is drafted: the report of another migration is not ours to replace.
        space.claim({"image_id": image_id, "region_id": region_id, "bucket": bucket})
        stages = planned_stages(settings, Stage.EXPORT, Stage.DOWNLOAD)
        with drafting(space, f"{image_id} → private cloud", stages) as draft, RunningTasks() as running:
            request = ExportRequest(image_id=image_id, bucket=bucket, prefix=prefix or None)
            with cancelling_export(space, cloud, credentials):
                exported = export(space, cloud, credentials, request, limits.limits(), running.stop, draft.clock)
            draft.add(image=exported.image, objects=exported.objects)
            if boot_test:
                check_boot_test(targets[0], exported.objects)
            homeward = HomeBringer(
                workspace=space, cloud=cloud, credentials=credentials, settings=transfer.settings(),
                stops_on_mismatch=on_fstab_mismatch == "fail", stops_without_linux=on_fstab_mismatch != "warn",
                targets=tuple(targets), draft=draft, running=running,
            )  # fmt: skip
            draft.add(disks=homeward.bring(exported))
            make_ready(space, draft, settings, running)
            record_migrated(
                space, exported.image, exported.objects, draft.report.artifacts,
                booted=draft.report.boot is not None, bundled=draft.report.bundle is not None,
            )  # fmt: skip
    return outcome_of_run(draft.report)
