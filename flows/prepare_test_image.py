"""The flow `prepare-test-image`: check and convert RAW disks that already lie on this machine, without the cloud."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from flows.boot_decision import check_boot_test
from flows.described import described
from flows.drafting import drafting
from flows.making_ready import check_settings, make_ready, planned_stages
from flows.messages import set_up_logging
from flows.parameters import (
    BootTest,
    BundleOptions,
    Compress,
    DecisionHours,
    Formats,
    MachineWishes,
    MakeBundle,
    OnFstabMismatch,
    Shrink,
    Targets,
    run_settings,
)
from flows.stopping import RunningTasks
from migration.disk import DiskFormat
from migration.disk_file import find_disks, find_disks_in
from migration.errors import InvalidInput
from migration.target import ALL_TARGETS
from migration.workspace import open_workspace
from report.report import outcome_of_run

set_up_logging()

Disks = Annotated[
    list[str],
    Field(
        title="Disks",
        description="Files on the worker, named as exports are (system.raw, data_xvdb.raw) or as xvdc=FILE. "
        "Empty: the disks/ folder of the workspace",
    ),
]


@flow(
    name="prepare-test-image",
    flow_run_name="prepare {workspace}",
    task_runner=ThreadPoolTaskRunner(max_workers=4),  # type: ignore[arg-type]  # Prefect's own example
)
@described
def prepare_test_image(
    workspace: Annotated[
        str, Field(min_length=1, title="Workspace", description="Folder on the worker for the images")
    ],
    disks: Disks = [],  # noqa: B006  # never changed, and shown as the default
    formats: Formats = [DiskFormat.QCOW2],  # noqa: B006
    on_fstab_mismatch: OnFstabMismatch = "warn",
    targets: Targets = list(ALL_TARGETS),  # noqa: B006
    compress: Compress = False,
    shrink: Shrink = True,
    boot_test: BootTest = False,
    machine: MachineWishes = MachineWishes(),  # noqa: B008  # frozen
    bundle: MakeBundle = False,
    bundle_options: BundleOptions = BundleOptions(),  # noqa: B008
    decision_hours: DecisionHours = None,
) -> dict[str, Any]:
    """Check /etc/fstab and convert disks for offline testing. The RAW files are only read."""
    settings = run_settings(
        formats=formats, compress=compress, shrink=shrink, on_fstab_mismatch=on_fstab_mismatch,
        targets=targets, boot_test=boot_test, machine=machine, bundle=bundle, bundle_options=bundle_options,
        decision_hours=decision_hours,
    )  # fmt: skip
    check_settings(settings)
    path = Path(workspace).expanduser()
    if not path.is_absolute():
        raise InvalidInput(
            f"workspace {workspace!r} is relative, and a worker has no folder of its own", "start it with /"
        )
    stages = planned_stages(settings)
    with open_workspace(path) as space, drafting(space, "Test image", stages) as draft, RunningTasks() as running:
        draft.add(disks=find_disks(disks) if disks else find_disks_in(space.disks))
        if boot_test:
            check_boot_test(targets[0], draft.report.disks)
        make_ready(space, draft, settings, running)
    return outcome_of_run(draft.report)
