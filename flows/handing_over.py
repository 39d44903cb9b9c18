"""Makes what the other side needs beside the images: the machine's definitions, and a bundle for a medium."""

from __future__ import annotations

import logging

from flows.bundle_contents import find_contents, remember_links
from flows.drafting import Draft
from flows.kept_bundle import find_kept_bundle, remember_bundle
from flows.run_settings import BundleWish, DefinitionSettings
from flows.stopping import RunningTasks
from flows.tasks import bundle, define
from migration.errors import Interrupted, MigrationError
from migration.workspace import Workspace
from private_cloud.bundle.contents import BundleSettings
from private_cloud.machine_plan import Guest, group_images, plan_machines, possible_platforms

log = logging.getLogger(__name__)


def define_machine(workspace: Workspace, draft: Draft, settings: DefinitionSettings, running: RunningTasks) -> None:
    """Add the definitions to the report; why there are none is a warning, unless a platform was named.

    Raises what `plan_machines` and `write_definitions` do, for a platform that was named.
    """
    report = draft.report
    sets = group_images(report.artifacts)
    devices = tuple(disk.device for disk in (report.image.disks if report.image is not None else report.disks))
    platforms = settings.platforms or possible_platforms(sets, devices)
    if not platforms:
        return
    guest = Guest(image=report.image, verdict=report.verdict, unknown=report.not_examined, devices=devices)
    try:
        machines = plan_machines(sets, platforms, guest, settings.wishes)
        [future] = running.add([define.submit(workspace, machines, running.stop, draft.clock)])
        made = future.result()
    except Interrupted:
        raise
    except MigrationError as error:
        draft.add(not_defined=str(error))
        if settings.platforms:
            raise
        log.warning("No machine is defined: %s", error)
        return
    files = [
        f"{name} ({one.platform}, {one.machine.bus}, {one.machine.firmware.upper()})"
        for one in made.definitions
        for name in one.files
    ]
    log.info("Defined in %s: %s; README.txt there has the one command of each", workspace.definitions, ", ".join(files))
    draft.add(defined=tuple(files))


def make_bundle_of(workspace: Workspace, draft: Draft, wish: BundleWish, running: RunningTasks) -> None:
    """Add the bundle to the report, which is in the bundle as it was before. Raises as `make_bundle` does."""
    image = draft.report.image
    name = wish.name or (f"ferry-{image.image_id}" if image is not None else f"ferry-{workspace.path.name}")
    settings = BundleSettings(name=name, split=wish.split, sign=wish.sign)
    formats = tuple(dict.fromkeys(str(artifact.format) for artifact in draft.report.artifacts))
    known = find_kept_bundle(workspace, settings, draft.report.artifacts)
    if known is not None:
        log.info("The bundle %s is there already, with these images", known.path)
        draft.add(bundle=known)
        return
    draft.write_as_ended()
    contents = find_contents(workspace, formats=formats)
    folder = wish.folder or workspace.path.parent / "bundles"
    [future] = running.add([bundle.submit(workspace, contents, settings, folder, running.stop, draft.clock)])
    made = future.result()
    remember_links(workspace, made)
    remember_bundle(workspace, settings, draft.report.artifacts, made)
    log.info("The bundle is %s; over there: python3 verify.py. Fingerprint: %s", made.path, made.fingerprint)
    draft.add(bundle=made)
