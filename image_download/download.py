r"""Brings one exported object home as a proven, sparse disk file, going on wherever an earlier attempt stopped.

object --ranges in parallel--> <stem>.partial --CRC-64 from storage--> RAW disk
                                            \--> unpacked behind the download --> RAW disk, once all is proven

A packed object is unpacked while it comes, and is kept whole until the disk is there, because an interrupted
download could not go on without what it had (inflating cannot be entered in the middle). Its CRC-64 is then of
the very bytes that were unpacked. The journal is asked first and told last: `download:<stem>` once the disk is
proven, `object:<stem>` where a packed object was proven by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from image_download.content import HEAD, find_format, find_packing, warn_of_packing
from image_download.fetch import fetch_missing
from image_download.follower import ComingFile, Follower
from image_download.inflate import ByteStream
from image_download.landing import Landing
from image_download.part_store import PartStore, open_part_store
from image_download.ranged_source import RangedSource, open_source
from image_download.records import (
    parts_beside,
)
from image_download.settings import DownloadSettings
from image_download.unpack import Unpacked, unpack_disk
from migration.cloud import Cloud
from migration.credentials import CredentialSource
from migration.disk import Disk, DiskFormat
from migration.errors import CorruptData
from migration.exported_object import ExportedObject, Packing
from migration.progress import Progress, Stop, no_progress
from migration.storage import allocated, format_size, storage_errors, sync_directory
from migration.workspace import Workspace

log = logging.getLogger(__name__)

AS_USUAL = DownloadSettings()
HEALING_ROUNDS = 3  # times that a download is proven, with what storage did not keep fetched again in between


def download_disk(
    workspace: Workspace,
    cloud: Cloud,
    credentials: CredentialSource,
    exported: ExportedObject,
    *,
    settings: DownloadSettings = AS_USUAL,
    progress: Progress = no_progress,
    stop: Stop | None = None,
) -> Disk:
    """Bring an exported object home as `workspace.disks/<stem>.raw` (or `.qcow2` … for such an object).

    What an earlier call finished or began is used, however that call ended. `progress` counts bytes of
    the object. Several disks may be fetched at once, from several threads, in one workspace.

    Raises `SourceChanged` (the object was replaced), `CorruptData`, `NoSpace`, `CloudUnavailable` (nothing
    came for `idle_timeout` seconds), `CloudRefused` or `Interrupted`; what is finished stays.
    """
    job = _Download(
        workspace=workspace, cloud=cloud, credentials=credentials, exported=exported,
        settings=settings, progress=progress, stop=stop,
    )  # fmt: skip
    with storage_errors(workspace.path):
        return job.find_finished() or job.finish()


@dataclass(frozen=True, kw_only=True)
class _Download:
    """One disk on its way: the steps, each of which leaves the workspace fit to go on from."""

    workspace: Workspace
    cloud: Cloud
    credentials: CredentialSource
    exported: ExportedObject
    settings: DownloadSettings
    progress: Progress
    stop: Stop | None

    @property
    def _landing(self) -> Landing:
        return Landing(self.workspace, self.exported)

    def find_finished(self) -> Disk | None:
        """Return the disk if an earlier call finished it and nobody has changed it since."""
        disk = self._landing.find_disk(self.stop)
        if disk is not None:
            self._landing.sweep(keep_object=self.settings.keep_objects)
            self.progress(self.exported.size, self.exported.size)
        return disk

    def finish(self) -> Disk:
        """Do what is left to do: fetch the object, unpack it if it is packed."""
        disk = None if self._has_object() else self._fetch()
        if disk is None:
            disk = self._unpack()
        if self.exported.crc64 is None:
            log.warning("%s: %s", disk.path.name, disk.proof)
        size = f"{format_size(disk.virtual_size)}, {format_size(allocated(disk.path))} on disk"
        log.info("%s is here: %s; %s", disk.path.name, size, disk.proof)
        return disk

    def _has_object(self) -> bool:
        """Return whether the packed object lies there, so that it need only be unpacked."""
        if not self._landing.has_object():
            return False
        log.info("%s has been downloaded before", self._landing.object.name)
        self.progress(self.exported.size, self.exported.size)
        return True

    def _fetch(self) -> Disk | None:
        """Fetch and prove the object; return the disk, or None where the object has still to be unpacked."""
        if not self.exported.size:
            raise CorruptData(f"{self.exported.key}: the object is empty", "export the image again with a new prefix")
        self._landing.check_free_space()
        with (
            self._open_store() as store,
            Follower(store, self._unpack_ahead) as follower,
            open_source(self.exported, self.cloud, self.credentials, self.settings) as source,
        ):
            self._fetch_missing(source, store, follower)
            unpacked = self._take_unpacked(follower)
            if unpacked is not None and not self.settings.keep_objects:
                return self._publish(unpacked)
            crc = self._fetch_until_kept(source, store, follower)
            if self.exported.crc64 not in {None, crc}:
                store.discard()
                raise CorruptData(
                    f"{self.exported.key}: what came has CRC-64 {crc}, OSS says {self.exported.crc64}; "
                    "which of the bytes are wrong cannot be told",
                    "run again to fetch all of it anew; if it stays so, export the image again with a new prefix",
                )
            landed = self._land(store, crc)
            return landed if unpacked is None else self._publish(unpacked)

    def _open_store(self) -> AbstractContextManager[PartStore]:
        """Open the object's file. A packed one that is not to be kept is proven as it is unpacked, not from storage."""
        reads_behind = self.exported.packing is Packing.NONE or self.settings.keep_objects
        landing, part_size = self._landing, self.settings.part_size
        return open_part_store(landing.object, landing.identity, part_size, reads_behind=reads_behind)

    def _fetch_missing(self, source: RangedSource, store: PartStore, follower: Follower[Unpacked]) -> None:
        name, size = self.exported.key, format_size(self.exported.size)
        log.info("Downloading %s (%s, parts to fetch: %d)", name, size, len(store.missing_parts()))

        def progress(done: int, total: int) -> None:
            follower.check()  # a full disk, say, is noticed now and not when all has come
            self.progress(done, total)

        fetch_missing(source, store, self.settings, progress, self.stop)

    def _take_unpacked(self, follower: Follower[Unpacked]) -> Unpacked | None:
        """Return what was unpacked ahead, if that was of the very bytes that are in OSS.

        None where the object is not packed, or where only the whole object, read back from storage, can tell
        whether it or its transfer is at fault.
        """
        try:
            unpacked = follower.wait(self.stop)
        except CorruptData:
            return None
        if unpacked is None:
            return None
        if not follower.file.is_read or self.exported.crc64 not in {None, follower.file.crc64}:
            log.warning("%s: what was unpacked is not what OSS has: looking for what went wrong", self.exported.key)
            self._landing.unpacked.unlink()
            return None
        return unpacked

    def _fetch_until_kept(self, source: RangedSource, store: PartStore, follower: Follower[Unpacked]) -> int:
        """Fetch again what storage has not kept as it came, until it has; return the CRC-64 of the file."""
        for attempts_left in reversed(range(HEALING_ROUNDS)):
            check = store.check(self.stop)
            if not check.bad_parts:
                return check.crc64
            if not attempts_left:
                break
            log.warning(
                "%s: storage has not kept %d of %d parts as they came: fetching those again",
                store.path.name, len(check.bad_parts), store.part_count,
            )  # fmt: skip
            store.forget(check.bad_parts)
            self._fetch_missing(source, store, follower)
        raise CorruptData(
            f"{store.path}: storage does not keep what is written to it", "check this machine's disk and memory"
        )

    def _land(self, store: PartStore, crc: int) -> Disk | None:
        """Give the proven object its name, by what its first bytes say it is, and record it: a bare disk is done."""
        with store.path.open("rb") as file:
            head = file.read(HEAD)
        packing = find_packing(self.exported, head)
        if packing is Packing.NONE:
            warn_of_packing(self.exported, packing)
            disk_format = find_format(self.exported, store.path)
            if disk_format is DiskFormat.RAW and not self.settings.accept_other_size:
                self._landing.check_size()
            path = self._landing.disk(disk_format)
            store.publish(path, parts=parts_beside(path))
            return self._landing.record_disk(path, disk_format, crc)
        store.publish(self._landing.object)
        self._landing.record_object()
        return None

    def _unpack(self) -> Disk:
        """Unpack the object that lies there into the disk."""
        with self._blaming_the_copy(), self._landing.object.open("rb") as packed:
            unpacked = self._unpack_stream(packed, self.stop)
        return self._publish(unpacked)

    def _unpack_ahead(self, coming: ComingFile, stop: Stop) -> Unpacked | None:
        """Unpack the object while it comes; None if it turns out not to be packed."""
        if find_packing(self.exported, coming.peek(HEAD)) is Packing.NONE:
            return None
        return self._unpack_stream(coming, stop)

    def _unpack_stream(self, packed: ByteStream, stop: Stop | None) -> Unpacked:
        exported = self.exported
        size = None if exported.format is not DiskFormat.RAW or self.settings.accept_other_size else exported.disk_size
        log.info("Unpacking %s (%s)", self._landing.object.name, format_size(exported.size))
        packing = exported.packing if exported.packing is not Packing.NONE else Packing.TAR_GZIP
        warn_of_packing(exported, packing)
        return unpack_disk(packed, packing, self._landing.unpacked, subject=exported.key, size=size, stop=stop)

    @contextmanager
    def _blaming_the_copy(self) -> Iterator[None]:
        """Drop the object where nothing proves that it came as it is in OSS, and it cannot be unpacked."""
        try:
            yield
        except CorruptData:
            if self.exported.crc64 is None:
                self._landing.object.unlink()
            raise

    def _publish(self, unpacked: Unpacked) -> Disk:
        """Give the unpacked disk its name and record it, then let go of the object unless it is to be kept."""
        disk_format = find_format(self.exported, self._landing.unpacked)
        path = self._landing.unpacked.rename(self._landing.disk(disk_format))
        sync_directory(path.parent)
        disk = self._landing.record_disk(path, disk_format, unpacked.crc64)
        self._landing.sweep(keep_object=self.settings.keep_objects)
        return disk
