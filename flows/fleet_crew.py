"""Runs the migrations of a fleet in threads, each as a run of its own, and turns how each ends into a row."""

from __future__ import annotations

import contextvars
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect.exceptions import TerminationSignal

from flows.export_to_private_cloud import export_to_private_cloud
from flows.fleet_list import FleetImage
from flows.fleet_run import FleetRun, in_fleet
from flows.fleet_table import Outcome, Row
from flows.parameters import workspace_path
from flows.pruning import CloudOf, dispose_of_objects
from migration.catalogue import image_claimed
from migration.errors import Interrupted, MigrationError, WorkspaceInUse

log = logging.getLogger(__name__)

GRACE = 25  # seconds that migrations have to end; Prefect kills a cancelled run's process after 30


@dataclass(frozen=True, kw_only=True)
class Crew:
    """What every migration of a fleet is run with. `common` are parameters of `export-to-private-cloud`."""

    fleet: FleetRun
    at_once: int
    common: Mapping[str, Any]
    template: str  # of the workspaces
    root: Path
    names: Mapping[str, str] = field(default_factory=dict)
    cloud_of: CloudOf | None = None  # given: objects are deleted once they are home, proven

    def run(self, images: Sequence[FleetImage]) -> Iterator[Row]:
        """Yield a row for every image as its migration ends. Left by an exception, all of them are stopped first."""
        pool = ThreadPoolExecutor(self.at_once, thread_name_prefix="fleet")
        futures = dict[Future[Row], FleetImage]()
        try:
            for image in images:
                # Prefect finds the fleet's run, and the log its place, in the context.
                futures[pool.submit(contextvars.copy_context().run, self._migrate, image)] = image
            for future in as_completed(futures):
                yield future.result()
        except BaseException as error:
            self.fleet.end(cancelled=isinstance(error, TerminationSignal))
            pool.shutdown(wait=False, cancel_futures=True)
            wait(futures, timeout=GRACE)
            raise
        finally:
            pool.shutdown(wait=False)

    def _migrate(self, image: FleetImage) -> Row:
        begun = time.monotonic()
        path = workspace_path(self.template, image.image_id)

        def row(outcome: Outcome, why: str = "", error: str = "", images: Sequence[str] = ()) -> Row:
            return Row(
                image_id=image.image_id, name=self.names.get(image.image_id, ""), outcome=outcome, why=why, error=error,
                workspace=str(path), images=tuple(images), seconds=round(time.monotonic() - begun, 1),
            )  # fmt: skip

        if self.fleet.stop.is_set():
            return row(Outcome.STOPPED, "not reached")
        with in_fleet(self.fleet, image.image_id):
            log.info("Migrating %s into %s", image.image_id, path)
            try:
                with image_claimed(self.root, image.image_id):
                    made = export_to_private_cloud(
                        **{**self.common, **image.differences()}, image_id=image.image_id, workspace=self.template
                    )
                    note = self._dispose(path)
            except Interrupted as error:
                return row(Outcome.STOPPED, error.message, type(error).__name__)
            except WorkspaceInUse as error:
                return row(Outcome.SKIPPED, error.message, type(error).__name__)
            except MigrationError as error:
                return row(Outcome.FAILED, str(error), type(error).__name__)
            except Exception as error:
                log.exception("A bug in the migration of %s", image.image_id)
                return row(Outcome.FAILED, f"a bug, see the log: {type(error).__name__}: {error}", type(error).__name__)
            return row(Outcome.DONE, note, images=made["images"])

    def _dispose(self, path: Path) -> str:
        """Delete the objects where that is asked for; return why some of them are still there, if they are."""
        if self.cloud_of is None:
            return ""
        left = [one.line for one in dispose_of_objects(path, self.cloud_of) if one.failed]
        return "; ".join(left)
