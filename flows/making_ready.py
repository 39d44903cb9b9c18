"""The offline half that all flows share: check /etc/fstab, convert, boot, define the machine, bundle."""

from __future__ import annotations

from flows.boot_decision import check_boot_test
from flows.check_and_convert import check_and_convert
from flows.deciding import check_can_ask
from flows.drafting import Draft
from flows.handing_over import define_machine, make_bundle_of
from flows.prove_boot import prove_boot
from flows.run_settings import RunSettings
from flows.stopping import RunningTasks
from migration.workspace import Workspace
from private_cloud.bundle.signing import check_key
from report.stage_times import Stage


def check_settings(settings: RunSettings) -> None:
    """Raise `InvalidInput` or `ToolMissing` for what is bound to be refused in the end, before anything costs."""
    settings.conversion.check()
    if settings.boot_test:
        check_boot_test(settings.targets[0])
    if settings.on_fstab_mismatch == "ask":
        check_can_ask()
    if settings.bundle is not None and settings.bundle.sign is not None:
        check_key(settings.bundle.sign)


def planned_stages(settings: RunSettings, *first: Stage) -> tuple[Stage, ...]:
    """Return what a run will do: `first`, then what was asked for."""
    conversion = settings.conversion
    return (
        *first,
        Stage.REPAIR if settings.on_fstab_mismatch == "repair" else Stage.CHECK,
        *((Stage.SHRINK,) if conversion.leave_out_free_space else ()),
        Stage.CONVERT,
        *((Stage.BOOT,) if settings.boot_test else ()),
        Stage.DEFINE,
        *((Stage.BUNDLE,) if settings.bundle is not None else ()),
    )


def make_ready(workspace: Workspace, draft: Draft, settings: RunSettings, running: RunningTasks) -> None:
    """Take the disks of the report as far as the other side can use them; each step adds to the report."""
    check_and_convert(workspace, draft, settings, running)
    if settings.boot_test:
        prove_boot(workspace, draft, settings.targets[0], settings.on_fstab_mismatch, running)
    define_machine(workspace, draft, settings.definitions, running)
    if settings.bundle is not None:
        make_bundle_of(workspace, draft, settings.bundle, running)
