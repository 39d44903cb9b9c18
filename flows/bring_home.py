"""Downloads the disks, having judged the guest as early as its bytes can be had: before the bill, where that goes."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from flows.drafting import Draft
from flows.early_sight import EarlySight, weigh_failure, weigh_verdict
from flows.stopping import RunningTasks
from flows.tasks import check_fstab, check_fstab_in_bucket, download
from fstab_check.render import render_text
from image_download.landing import is_downloaded
from image_download.remote_view import is_readable_by_range
from image_download.settings import DownloadSettings
from image_export.request import Export
from migration.cloud import Cloud
from migration.credentials import CredentialSource
from migration.disk import Disk, DiskRole
from migration.errors import Interrupted, MigrationError
from migration.exported_object import ExportedObject
from migration.target import Target
from migration.verdict import Verdict
from migration.workspace import Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class HomeBringer:
    """What it takes to bring the disks of an export home."""

    workspace: Workspace
    cloud: Cloud
    credentials: CredentialSource
    settings: DownloadSettings  # one for all disks: they share the bandwidth limit
    stops_on_mismatch: bool
    stops_without_linux: bool  # what no repair could mend
    targets: tuple[Target, ...]
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
        look = check_fstab_in_bucket.submit(
            self.cloud, self.credentials, objects, self.targets, self.running.stop, self.draft.clock
        )
        self.running.add([look])
        try:
            verdict, share = look.result()
        except MigrationError as error:
            self._heed_failure(error)
        else:
            self._heed(verdict, f"Looked at in the bucket before the download, for {share} of its bytes")

    def _system_disk_first(self, export: Export) -> tuple[Disk, ...]:
        """Archives cannot be looked into where they lie: the system disk comes alone, for it has the fstab."""
        [system] = [one for one in export.objects if one.role is DiskRole.SYSTEM]
        [disk] = self._download((system,))
        self.draft.add(disks=(disk,))
        rest = tuple(one for one in export.objects if one is not system)
        awaited = tuple(one.device for one in rest)
        look = check_fstab.submit((disk,), export.image, self.targets, self.running.stop, self.draft.clock, awaited)
        self.running.add([look])
        try:
            verdict = look.result()
        except MigrationError as error:
            self._heed_failure(error)
        else:
            self._heed(verdict, "Looked at with the system disk alone, before the data disks were downloaded")
        return (disk, *self._download(rest))

    def _download(self, objects: tuple[ExportedObject, ...]) -> tuple[Disk, ...]:
        futures = self.running.add(
            [
                download.submit(
                    self.workspace,
                    self.cloud,
                    self.credentials,
                    one,
                    self.settings,
                    self.running.stop,
                    self.draft.clock,
                )
                for one in objects
            ]
        )
        return tuple(future.result() for future in futures)

    def _heed(self, verdict: Verdict, how: str) -> None:
        log.info("%s", render_text(verdict))
        sight = weigh_verdict(verdict, how, stops_on_mismatch=self.stops_on_mismatch)
        log.log(logging.INFO if verdict.is_clean else logging.WARNING, "%s", sight.message)
        self._take(sight)

    def _heed_failure(self, error: MigrationError) -> None:
        if isinstance(error, Interrupted):
            raise error
        sight = weigh_failure(error, stops_without_linux=self.stops_without_linux)
        log.warning("%s", sight.message)
        self._take(sight)

    def _take(self, sight: EarlySight) -> None:
        self.draft.add(**sight.facts)
        if sight.refusal is not None:
            raise sight.refusal
