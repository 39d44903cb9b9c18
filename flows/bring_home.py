"""Downloads the disks, having judged the guest as early as its bytes can be had: before the bill, where that goes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from prefect.futures import PrefectFuture

from flows.check_and_convert import describe_mismatch
from flows.drafting import Draft
from flows.parameters import Transfer
from flows.stopping import RunningTasks
from flows.tasks import check_fstab, check_fstab_in_bucket, download
from fstab_check.render import render_text
from image_download.download import is_downloaded
from image_download.remote_view import is_readable_by_range
from image_export.request import Export
from migration.cloud import Cloud
from migration.credentials import CredentialSource
from migration.disk import Disk, DiskRole
from migration.errors import FindingsRemain, Interrupted, MigrationError, NoLinuxRoot
from migration.exported_object import ExportedObject
from migration.verdict import Verdict
from migration.workspace import Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class HomeBringer:
    """What it takes to bring the disks of an export home."""

    workspace: Workspace
    cloud: Cloud
    credentials: CredentialSource
    transfer: Transfer
    stops_on_mismatch: bool
    draft: Draft
    running: RunningTasks

    def bring(self, export: Export) -> tuple[Disk, ...]:
        """Return all disks, the system disk first.

        Raises `FindingsRemain` or `NoLinuxRoot` with disks still in the bucket, where a mismatch is to stop the run
        and one is certain already. Where nobody could look so early, the check after the download decides.
        """
        objects = export.objects
        missing = [one for one in objects if not is_downloaded(self.workspace, one)]
        if missing and all(is_readable_by_range(one) for one in objects):
            self._look_in_bucket(objects)
        elif self.stops_on_mismatch and any(one.role is DiskRole.DATA for one in missing):
            return self._system_disk_first(export)
        return self._download(objects)

    def _look_in_bucket(self, objects: tuple[ExportedObject, ...]) -> None:
        look = check_fstab_in_bucket.submit(self.cloud, self.credentials, objects, self.running.stop)
        self.running.add([look])
        answer = self._answer_of(look)
        if answer is not None:
            verdict, share = answer
            self._heed(verdict, f"Looked at in the bucket before the download, for {share} of its bytes")

    def _system_disk_first(self, export: Export) -> tuple[Disk, ...]:
        """Archives cannot be looked into where they lie: the system disk comes alone, for it has the fstab."""
        [system] = [one for one in export.objects if one.role is DiskRole.SYSTEM]
        [disk] = self._download((system,))
        self.draft.add(disks=(disk,))
        awaited = tuple(one.device for one in export.objects if one.role is DiskRole.DATA)
        look = check_fstab.submit((disk,), export.image, self.running.stop, awaited)
        self.running.add([look])
        verdict = self._answer_of(look)
        if verdict is not None:
            self._heed(verdict, "Looked at with the system disk alone, before the data disks were downloaded")
        rest = tuple(one for one in export.objects if one is not system)
        return (disk, *self._download(rest))

    def _download(self, objects: tuple[ExportedObject, ...]) -> tuple[Disk, ...]:
        futures = self.running.add(
            [
                download.submit(self.workspace, self.cloud, self.credentials, one, self.transfer, self.running.stop)
                for one in objects
            ]
        )
        return tuple(future.result() for future in futures)

    def _answer_of(self, look: PrefectFuture[Any]) -> Any:
        """Return what an early look found, None where nobody could look: that alone is no reason to stop."""
        try:
            return look.result()
        except Interrupted:
            raise
        except MigrationError as error:
            if self.stops_on_mismatch and isinstance(error, NoLinuxRoot):
                self.draft.add(not_examined=str(error), early_sight="Looked at before the download was complete.")
                raise
            log.warning("The guest could not be judged early, the check after the download decides: %s", error)
            self.draft.add(early_sight=f"The guest could not be judged before the download: {error.message}")
            return None

    def _heed(self, verdict: Verdict, how: str) -> None:
        """Stop here for a mismatch, where one is to stop the run; a clean verdict is for the full check to give."""
        if verdict.is_clean:
            log.info("%s: nothing stands in the way", how)
            self.draft.add(early_sight=f"{how}: nothing stood in the way.")
            return
        log.info("%s", render_text(verdict))
        message = describe_mismatch(verdict)
        if not self.stops_on_mismatch:
            log.warning("%s; downloading all the same, as asked", message)
            self.draft.add(early_sight=f"{how}: it did not match.")
            return
        self.draft.add(verdict=verdict, early_sight=f"{how}: nothing more was downloaded.")
        raise FindingsRemain(
            f"{message}; nothing more was downloaded",
            "the report says what to do; on_fstab_mismatch=warn downloads and converts all the same",
        )
