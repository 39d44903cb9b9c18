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
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from image_download.content import HEAD, find_format, find_packing, find_virtual_size, warn_of_packing
from image_download.fetch import fetch_missing
from image_download.follower import ComingFile, Follower
from image_download.inflate import ByteStream
from image_download.part_map import ObjectIdentity
from image_download.part_store import PartStore, open_part_store
from image_download.ranged_source import RangedSource, open_source
from image_download.records import (
    DiskRecord,
    ObjectRecord,
    disk_step,
    find_identity,
    object_step,
    parts_beside,
)
from image_download.settings import DownloadSettings
from image_download.sparse_file import crc64_of_file
from image_download.unpack import Unpacked, unpack_disk
from image_download.verify import take_back, verify_disk
from migration.cloud import Cloud
from migration.credentials import CredentialSource
from migration.disk import Disk, DiskFormat
from migration.errors import CorruptData
from migration.exported_object import ExportedObject, Packing
from migration.journal import Journal
from migration.progress import Progress, Stop, no_progress
from migration.storage import (
    check_free_space,
    find_fingerprint,
    fingerprint_of,
    format_size,
    storage_errors,
    sync_directory,
)
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


def is_downloaded(workspace: Workspace, exported: ExportedObject) -> bool:
    """Return whether the object's disk lies in the workspace as it was recorded, without asking the cloud."""
    record = workspace.journal.get(disk_step(exported), DiskRecord)
    if record is None or record.object != find_identity(exported):
        return False
    return find_fingerprint(workspace.disks / record.disk.path.name) == record.fingerprint


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
    def _identity(self) -> ObjectIdentity:
        return find_identity(self.exported)

    @property
    def _object(self) -> Path:
        """Where the object goes. Not named by its key, for two keys may end the same."""
        packing = "" if self.exported.packing is Packing.NONE else f".{self.exported.packing}"
        return self.workspace.objects / f"{self.exported.stem}{self.exported.format.suffix}{packing}"

    @property
    def _unpacked(self) -> Path:
        """Where the disk is unpacked to, until its object is proven."""
        return self.workspace.disks / f"{self.exported.stem}{self.exported.format.suffix}.partial"

    @property
    def _journal(self) -> Journal:
        return self.workspace.journal

    def find_finished(self) -> Disk | None:
        """Return the disk if an earlier call finished it and nobody has changed it since."""
        record = self._journal.get(disk_step(self.exported), DiskRecord)
        if record is None:
            return self._find_unrecorded()
        if not _is_same_content(record.object, self._identity):
            log.warning("%s is of another object than %s: downloading", record.disk.path.name, self.exported.key)
            return None
        path = self.workspace.disks / record.disk.path.name  # the workspace may have moved
        fingerprint = find_fingerprint(path)
        if fingerprint is None:
            log.warning("%s is gone: downloading it again", path.name)
            return None
        if fingerprint != record.fingerprint:
            log.info("%s was touched since it was downloaded: reading it again", path.name)
            verification = verify_disk(self.workspace, record, stop=self.stop)
            if not verification.is_whole:
                is_kept = take_back(record, verification, self._object)
                what = "what was changed" if is_kept else "it"
                log.warning("%s was changed since it was downloaded: downloading %s again", path.name, what)
                return None
            self._journal.record(disk_step(self.exported), replace(record, fingerprint=fingerprint))
        log.info("%s: downloaded before", path.name)
        self._sweep()
        self.progress(self.exported.size, self.exported.size)
        return replace(record.disk, path=path)

    def _find_unrecorded(self) -> Disk | None:
        """Return the disk if its file is there without a record: we were killed in between, or the journal is lost."""
        exported, path = self.exported, self._disk_path(self.exported.format)
        fingerprint = find_fingerprint(path)
        if exported.packing is not Packing.NONE or fingerprint is None or fingerprint.size != exported.size:
            return None
        if exported.crc64 is None or crc64_of_file(path, self.stop) != exported.crc64:
            log.warning("%s lies there, but cannot be shown to be what OSS has: it will be replaced", path.name)
            return None
        log.info("%s lies there already, equal to what OSS has", path.name)
        disk = self._record_disk(path, exported.format, exported.crc64)
        self._sweep()
        return disk

    def finish(self) -> Disk:
        """Do what is left to do: fetch the object, unpack it if it is packed."""
        fetched = self._find_object() or self._fetch()
        disk = fetched if isinstance(fetched, Disk) else self._unpack()
        if self.exported.crc64 is None:
            log.warning("%s: %s", disk.path.name, disk.proof)
        size = f"{format_size(disk.virtual_size)}, {format_size(disk.path.stat().st_blocks * 512)} on disk"
        log.info("%s is here: %s; %s", disk.path.name, size, disk.proof)
        return disk

    def _find_object(self) -> ObjectRecord | None:
        """Return what is known of the packed object if it lies there as it was left."""
        record = self._journal.get(object_step(self.exported), ObjectRecord)
        if record is None or record.object != self._identity or record.fingerprint != find_fingerprint(self._object):
            return None
        log.info("%s has been downloaded before", self._object.name)
        self.progress(self.exported.size, self.exported.size)
        return record

    def _fetch(self) -> Disk | ObjectRecord:
        """Fetch and prove the object. A disk that is not packed is thereby finished."""
        if not self.exported.size:
            raise CorruptData(f"{self.exported.key}: the object is empty", "export the image again with a new prefix")
        self._check_free_space()
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
        return open_part_store(self._object, self._identity, self.settings.part_size, reads_behind=reads_behind)

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
            self._unpacked.unlink()
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

    def _land(self, store: PartStore, crc: int) -> Disk | ObjectRecord:
        """Give the proven object its name, by what its first bytes say it is, and record it."""
        with store.path.open("rb") as file:
            head = file.read(HEAD)
        packing = find_packing(self.exported, head)
        if packing is Packing.NONE:
            warn_of_packing(self.exported, packing)
            disk_format = find_format(self.exported, store.path)
            self._check_size(disk_format)
            path = self._disk_path(disk_format)
            store.publish(path, parts=parts_beside(path))
            return self._record_disk(self._disk_path(disk_format), disk_format, crc)
        store.publish(self._object)
        record = ObjectRecord(object=self._identity, fingerprint=fingerprint_of(self._object))
        self._journal.record(object_step(self.exported), record)
        return record

    def _unpack(self) -> Disk:
        """Unpack the object that lies there into the disk."""
        with self._blaming_the_copy(), self._object.open("rb") as packed:
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
        log.info("Unpacking %s (%s)", self._object.name, format_size(exported.size))
        packing = exported.packing if exported.packing is not Packing.NONE else Packing.TAR_GZIP
        warn_of_packing(exported, packing)
        return unpack_disk(packed, packing, self._unpacked, subject=exported.key, size=size, stop=stop)

    @contextmanager
    def _blaming_the_copy(self) -> Iterator[None]:
        """Drop the object where nothing proves that it came as it is in OSS, and it cannot be unpacked."""
        try:
            yield
        except CorruptData:
            if self.exported.crc64 is None:
                self._object.unlink()
            raise

    def _publish(self, unpacked: Unpacked) -> Disk:
        """Give the unpacked disk its name and record it, then let go of the object unless it is to be kept."""
        disk_format = find_format(self.exported, self._unpacked)
        path = self._unpacked.rename(self._disk_path(disk_format))
        sync_directory(path.parent)
        disk = self._record_disk(path, disk_format, unpacked.crc64)
        self._sweep()
        return disk

    def _sweep(self) -> None:
        """Remove what the finished disk no longer needs, also where a killed process had no time to."""
        if not self.settings.keep_objects:
            self._journal.forget(object_step(self.exported))
            self._object.unlink(missing_ok=True)
        for ending in ("partial", "parts"):
            for left in self.workspace.objects.glob(f"{self.exported.stem}.*.{ending}"):
                left.unlink(missing_ok=True)

    def _record_disk(self, path: Path, disk_format: DiskFormat, file_crc64: int) -> Disk:
        disk = Disk(
            device=self.exported.device, role=self.exported.role, path=path, format=disk_format,
            virtual_size=find_virtual_size(path, disk_format),
            crc64=file_crc64 if disk_format is DiskFormat.RAW else None, proof=_proof(self.exported),
        )  # fmt: skip
        record = DiskRecord(
            object=self._identity, fingerprint=fingerprint_of(path), file_crc64=file_crc64, disk=disk
        )  # fmt: skip
        self._journal.record(disk_step(self.exported), record)
        return disk

    def _disk_path(self, disk_format: DiskFormat) -> Path:
        return self.workspace.disks / f"{self.exported.stem}{disk_format.suffix}"

    def _check_free_space(self) -> None:
        """Refuse what cannot fit; of a disk that is not packed nobody knows yet how much of it is zeros."""
        partial = self._object.with_name(f"{self._object.name}.partial")
        present = partial.stat().st_blocks * 512 if partial.exists() else 0
        needed = self.exported.size - present
        if self.exported.packing is not Packing.NONE:
            check_free_space(self.workspace.objects, needed, f"downloading {self.exported.key}")
        free = shutil.disk_usage(self.workspace.objects).free
        if free < needed:
            log.warning(
                "%s may need up to %s, %s are free: it fits only if enough of it is zeros",
                self.exported.key, format_size(needed), format_size(free),
            )  # fmt: skip

    def _check_size(self, disk_format: DiskFormat) -> None:
        """Refuse a bare disk of another length than the image tells. What has come is kept."""
        exported = self.exported
        known = exported.disk_size is not None and not self.settings.accept_other_size
        if disk_format is DiskFormat.RAW and known and exported.size != exported.disk_size:
            raise CorruptData(
                f"{exported.key} has {exported.size} bytes, the image's disk {exported.disk_size}",
                "is this the right object? If you are sure: --accept-other-size (flow: transfer.accept_other_size)",
            )


def _is_same_content(one: ObjectIdentity, other: ObjectIdentity) -> bool:
    """Return whether two objects hold the same bytes: an image exported again has new names for its old disks."""
    return one == other or (one.crc64 is not None and (one.crc64, one.size) == (other.crc64, other.size))


def _proof(exported: ExportedObject) -> str:
    if exported.crc64 is not None:
        return f"CRC-64 {exported.crc64} of the object as it was stored here equals OSS's"
    checked = "its length" if exported.packing is Packing.NONE else "its length and gzip's own CRC-32"
    return f"UNKNOWN: OSS tells no CRC-64 for this object, only {checked} could be checked"
