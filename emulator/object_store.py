"""Knows how buckets and their objects lie in the account's folder.

    buckets/<bucket>/bucket.json             `BucketSettings`
    buckets/<bucket>/objects/<key>           the bytes; the key is percent-encoded, so "/" makes no folders
    buckets/<bucket>/metadata/<key>.json     `ObjectMetadata`

An object exists when its metadata does. Both files are put in place together, under a lock.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import anycrc

from emulator.account import read_settings
from emulator.folder import FolderModel, file_name, read_model, write_model
from emulator.sparse import CHUNK

# What OSS calls CRC-64 ECMA is CRC-64/XZ (vendor's data verification page; oss2's Crc64 agrees).
CRC64 = anycrc.Model("CRC64-XZ")

StorageClass = Literal["Standard", "IA", "Archive", "ColdArchive", "DeepColdArchive"]

_placing = threading.Lock()  # nobody sees the bytes of one object with the metadata of another


class BucketSettings(FolderModel):
    """A bucket; fields are GetBucketInfo's own."""

    name: str
    region_id: str = "cn-hangzhou"
    storage_class: StorageClass = "Standard"
    domain: str = ""  # a custom domain (CNAME) that is bound to the bucket
    versioning: bool = False  # a DELETE without a version hides an object, which is billed on
    creation_time: str = "2024-01-10T08:00:00.000Z"


class ObjectMetadata(FolderModel):
    """What OSS knows of an object. `etag` is without quotes, `crc64` a number, `last_modified` Unix time."""

    key: str
    size: int
    etag: str
    crc64: int
    last_modified: int
    object_type: Literal["Normal", "Multipart", "Appendable"] = "Normal"
    version_id: str = ""  # in a bucket with versions
    storage_class: StorageClass = "Standard"


@dataclass(frozen=True)
class Bucket:
    """A bucket and the folder it lies in."""

    folder: Path
    settings: BucketSettings

    def data_path(self, key: str) -> Path:
        return self.folder / "objects" / file_name(key)

    def metadata_path(self, key: str) -> Path:
        return self.folder / "metadata" / f"{file_name(key)}.json"


def add_bucket(
    folder: Path, name: str, region_id: str = "", storage_class: StorageClass = "Standard", domain: str = ""
) -> Bucket:
    """Add a bucket to the account in `folder`, in its home region by default, or change the one that has the name."""
    region_id = region_id or read_settings(folder).region_id
    settings = BucketSettings(name=name, region_id=region_id, storage_class=storage_class, domain=domain)
    bucket = Bucket(folder / "buckets" / file_name(name), settings)
    for part in ("objects", "metadata"):
        (bucket.folder / part).mkdir(parents=True, exist_ok=True)
    write_model(bucket.folder / "bucket.json", settings)
    return bucket


def find_bucket(folder: Path, name: str) -> Bucket | None:
    """Return the bucket called `name`, or None."""
    home = folder / "buckets" / file_name(name)
    if not (home / "bucket.json").exists():
        return None
    return Bucket(home, read_model(home / "bucket.json", BucketSettings))


def find_bucket_by_domain(folder: Path, domain: str) -> str:
    """Return the name of the bucket to which a custom domain is bound, or ""."""
    found = (read_model(path, BucketSettings) for path in (folder / "buckets").glob("*/bucket.json"))
    return next((settings.name for settings in found if settings.domain == domain), "")


def put_object(
    folder: Path, bucket: str, key: str, content: bytes | Path, *, storage_class: StorageClass | None = None
) -> ObjectMetadata:
    """Store bytes or a file as PutObject would: type Normal, the ETag is the MD5. The bucket must exist."""
    found = find_bucket(folder, bucket)
    if found is None:
        raise FileNotFoundError(f"no bucket {bucket} in {folder}")
    with open_writer(found, key) as writer:
        if isinstance(content, Path):
            with content.open("rb") as source:
                writer.write_all(iter(lambda: source.read(CHUNK), b""))
        else:
            writer.write(content)
        return writer.commit(storage_class=storage_class)


def find_object(bucket: Bucket, key: str) -> ObjectMetadata | None:
    """Return an object's metadata, or None where there is none."""
    path = bucket.metadata_path(key)
    return read_model(path, ObjectMetadata) if path.exists() else None


@contextmanager
def open_object(bucket: Bucket, key: str) -> Iterator[tuple[ObjectMetadata, IO[bytes]] | None]:
    """Open an object's bytes together with the metadata that belongs to them; None where there is none."""
    with _placing:
        metadata = find_object(bucket, key)
        stream = bucket.data_path(key).open("rb", buffering=0) if metadata else None
    if metadata is None or stream is None:
        yield None
        return
    with stream:
        yield metadata, stream


def list_objects(bucket: Bucket) -> list[ObjectMetadata]:
    """Return all objects in the order in which OSS lists them, by the bytes of their keys."""
    with _placing:
        found = [read_model(path, ObjectMetadata) for path in (bucket.folder / "metadata").glob("*.json")]
    return sorted(found, key=lambda metadata: metadata.key.encode())


def delete_object(bucket: Bucket, key: str, version_id: str = "") -> None:
    """Remove an object, or the version of it; one that does not exist is no error, as in OSS.

    In a bucket with versions an object whose version is not named is hidden only: its bytes go to `hidden/`.
    """
    with _placing:
        metadata = find_object(bucket, key)
        if metadata is None or version_id not in {"", metadata.version_id}:
            return
        if bucket.settings.versioning and not version_id:
            hidden = bucket.folder / "hidden"
            hidden.mkdir(exist_ok=True)
            bucket.data_path(key).rename(hidden / file_name(key))
        bucket.metadata_path(key).unlink(missing_ok=True)
        bucket.data_path(key).unlink(missing_ok=True)


class ObjectWriter:
    """An object that is being written. Nobody sees it before `commit`."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket, self._key = bucket, key
        # Outside `objects`, as an open multipart upload is no object. Two writers of one key do not meet.
        uploads = bucket.folder / "uploads"
        uploads.mkdir(exist_ok=True)
        self.path = uploads / f"{file_name(key)}.{threading.get_ident():x}.{time.monotonic_ns():x}"
        self._stream = self.path.open("wb", buffering=0)
        self.size = 0
        self._crc64 = 0
        self._md5 = hashlib.md5(usedforsecurity=False)

    def write(self, chunk: bytes) -> None:
        self._stream.write(chunk)
        self._crc64 = CRC64.calc(chunk, self._crc64)
        self._md5.update(chunk)
        self.size += len(chunk)

    def write_all(self, chunks: Iterable[bytes]) -> None:
        for chunk in chunks:
            self.write(chunk)

    def commit(self, *, parts: int = 0, storage_class: StorageClass | None = None) -> ObjectMetadata:
        """Let the object appear. With `parts` it is the result of a multipart upload.

        Its ETag is then no MD5 but has the form `<32 hex>-<n>` (the form is a guess; that it is no MD5
        is in the vendor's data verification page).
        """
        self._stream.close()
        metadata = ObjectMetadata(
            key=self._key,
            size=self.size,
            etag=self._md5.hexdigest().upper() + (f"-{parts}" if parts else ""),
            crc64=self._crc64,
            last_modified=int(time.time()),
            object_type="Multipart" if parts else "Normal",
            version_id=secrets.token_hex(16) if self._bucket.settings.versioning else "",
            storage_class=storage_class or self._bucket.settings.storage_class,
        )
        with _placing:
            self.path.replace(self._bucket.data_path(self._key))
            write_model(self._bucket.metadata_path(self._key), metadata)
        return metadata

    def close(self) -> None:
        """Give the bytes up, unless they were committed."""
        self._stream.close()
        self.path.unlink(missing_ok=True)


def discard_uploads(folder: Path) -> None:
    """Remove what an emulator that was killed had begun to write."""
    for uploads in (folder / "buckets").glob("*/uploads"):
        shutil.rmtree(uploads)


@contextmanager
def open_writer(bucket: Bucket, key: str) -> Iterator[ObjectWriter]:
    """Write an object; it appears with `commit` and leaves nothing behind without."""
    writer = ObjectWriter(bucket, key)
    try:
        yield writer
    finally:
        writer.close()
