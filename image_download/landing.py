"""Knows where one object and its disk lie in the workspace, and what the journal says of them."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from image_download.content import find_virtual_size
from image_download.part_map import ObjectIdentity
from image_download.records import DiskRecord, ObjectRecord, disk_step, find_identity, object_step
from image_download.sparse_file import crc64_of_file
from image_download.verify import take_back, verify_disk
from migration.disk import Disk, DiskFormat
from migration.errors import CorruptData
from migration.exported_object import ExportedObject, Packing
from migration.let_go import find_stand_in
from migration.progress import Stop
from migration.storage import allocated, check_free_space, find_fingerprint, fingerprint_of, format_size
from migration.workspace import Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Landing:
    """The files of one disk and of the object that it comes as."""

    workspace: Workspace
    exported: ExportedObject

    @property
    def identity(self) -> ObjectIdentity:
        return find_identity(self.exported)

    @property
    def object(self) -> Path:
        """Where the object goes. Not named by its key, for two keys may end the same."""
        packing = "" if self.exported.packing is Packing.NONE else f".{self.exported.packing}"
        return self.workspace.objects / f"{self.exported.stem}{self.exported.format.suffix}{packing}"

    @property
    def unpacked(self) -> Path:
        """Where the disk is unpacked to, until its object is proven."""
        return self.workspace.disks / f"{self.exported.stem}{self.exported.format.suffix}.partial"

    def disk(self, disk_format: DiskFormat) -> Path:
        """Where the finished disk goes."""
        return self.workspace.disks / f"{self.exported.stem}{disk_format.suffix}"

    def find_disk(self, stop: Stop | None) -> Disk | None:
        """Return the disk if an earlier call finished it and nobody has changed it since.

        A disk that was changed is made unfinished again, if what is good of it can be used.
        """
        record = self.workspace.journal.get(disk_step(self.exported), DiskRecord)
        if record is None:
            return self._find_unrecorded(stop)
        if not _is_same_content(record.object, self.identity):
            log.warning("%s is of another object than %s: downloading", record.disk.path.name, self.exported.key)
            return None
        path = self.workspace.disks / record.disk.path.name  # the workspace may have moved
        fingerprint = find_fingerprint(path)
        if fingerprint is None:
            stand_in = find_stand_in(self.workspace, self.exported.stem)
            if stand_in is None:
                log.warning("%s is gone: downloading it again", path.name)
            return stand_in
        if fingerprint != record.fingerprint:
            log.info("%s was touched since it was downloaded: reading it again", path.name)
            verification = verify_disk(self.workspace, record, stop=stop)
            if not verification.is_whole:
                is_kept = take_back(record, verification, self.object)
                what = "what was changed" if is_kept else "it"
                log.warning("%s was changed since it was downloaded: downloading %s again", path.name, what)
                return None
            self.workspace.journal.record(disk_step(self.exported), replace(record, fingerprint=fingerprint))
        log.info("%s: downloaded before", path.name)
        return replace(record.disk, path=path)

    def _find_unrecorded(self, stop: Stop | None) -> Disk | None:
        """Return the disk if its file is there without a record: we were killed in between, or the journal is lost."""
        exported, path = self.exported, self.disk(self.exported.format)
        fingerprint = find_fingerprint(path)
        if exported.packing is not Packing.NONE or fingerprint is None or fingerprint.size != exported.size:
            return None
        if exported.crc64 is None or crc64_of_file(path, stop) != exported.crc64:
            log.warning("%s lies there, but cannot be shown to be what OSS has: it will be replaced", path.name)
            return None
        log.info("%s lies there already, equal to what OSS has", path.name)
        return self.record_disk(path, exported.format, exported.crc64)

    def has_object(self) -> bool:
        """Return whether the packed object lies there as it was left, proven."""
        record = self.workspace.journal.get(object_step(self.exported), ObjectRecord)
        return (
            record is not None
            and record.object == self.identity
            and record.fingerprint == find_fingerprint(self.object)
        )

    def record_object(self) -> None:
        """Remember that the packed object lies there, proven."""
        record = ObjectRecord(object=self.identity, fingerprint=fingerprint_of(self.object))
        self.workspace.journal.record(object_step(self.exported), record)

    def record_disk(self, path: Path, disk_format: DiskFormat, file_crc64: int) -> Disk:
        """Remember that the disk lies at `path`, proven, and return it."""
        disk = Disk(
            device=self.exported.device, role=self.exported.role, path=path, format=disk_format,
            virtual_size=find_virtual_size(path, disk_format),
            crc64=file_crc64 if disk_format is DiskFormat.RAW else None, proof=_proof(self.exported),
        )  # fmt: skip
        record = DiskRecord(
            object=self.identity, fingerprint=fingerprint_of(path), file_crc64=file_crc64, disk=disk
        )  # fmt: skip
        self.workspace.journal.record(disk_step(self.exported), record)
        return disk

    def sweep(self, *, keep_object: bool) -> None:
        """Remove what the finished disk no longer needs, also where a killed process had no time to."""
        if not keep_object:
            self.workspace.journal.forget(object_step(self.exported))
            if self.object.exists():
                self.object.unlink()
                log.info("%s is not needed any more: removed (--keep-objects keeps it)", self.object.name)
        for ending in ("partial", "parts"):
            for left in self.workspace.objects.glob(f"{self.exported.stem}.*.{ending}"):
                left.unlink(missing_ok=True)

    def check_free_space(self) -> None:
        """Refuse what cannot fit; of a disk that is not packed nobody knows yet how much of it is zeros."""
        partial = self.object.with_name(f"{self.object.name}.partial")
        present = allocated(partial) if partial.exists() else 0
        needed = self.exported.size - present
        if self.exported.packing is not Packing.NONE:
            check_free_space(self.workspace.objects, needed, f"downloading {self.exported.key}")
        free = shutil.disk_usage(self.workspace.objects).free
        if free < needed:
            log.warning(
                "%s may need up to %s, %s are free: it fits only if enough of it is zeros",
                self.exported.key, format_size(needed), format_size(free),
            )  # fmt: skip

    def check_size(self) -> None:
        """Refuse a bare RAW disk of another length than the image tells. What has come is kept."""
        exported = self.exported
        if exported.disk_size is not None and exported.size != exported.disk_size:
            raise CorruptData(
                f"{exported.key} has {exported.size} bytes, the image's disk {exported.disk_size}",
                "is this the right object? If you are sure: --accept-other-size (flow: transfer.accept_other_size)",
            )


def is_downloaded(workspace: Workspace, exported: ExportedObject) -> bool:
    """Return whether the object's disk lies in the workspace as it was recorded, without asking the cloud."""
    record = workspace.journal.get(disk_step(exported), DiskRecord)
    if record is None or record.object != find_identity(exported):
        return False
    found = find_fingerprint(workspace.disks / record.disk.path.name)
    if found is None:
        return find_stand_in(workspace, exported.stem) is not None
    return found == record.fingerprint


def _is_same_content(one: ObjectIdentity, other: ObjectIdentity) -> bool:
    """Return whether two objects hold the same bytes: an image exported again has new names for its old disks."""
    return one == other or (one.crc64 is not None and (one.crc64, one.size) == (other.crc64, other.size))


def _proof(exported: ExportedObject) -> str:
    if exported.crc64 is not None:
        return f"CRC-64 {exported.crc64} of the object as it was stored here equals OSS's"
    checked = "its length" if exported.packing is Packing.NONE else "its length and gzip's own CRC-32"
    return f"UNKNOWN: OSS tells no CRC-64 for this object, only {checked} could be checked"
