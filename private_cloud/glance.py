"""Uploads images into OpenStack Glance: whole, proven and under their name, or not at all.

An image is registered under a name that says it is unfinished, gets its bytes, is proven by the digest that
Glance computed of what it stored, and only then gets its name. So a server, a network or a Ferry that dies in
between leaves nothing that anyone could boot by mistake, and the next run finds what is left and removes it.
"""

from __future__ import annotations

import fcntl
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from migration.artifact import Artifact
from migration.errors import CloudRefused, CloudUnavailable, CorruptData, InvalidInput, MigrationError
from migration.progress import Progress, Stop, check_stop, no_progress
from migration.storage import format_size, storage_errors
from private_cloud.glance_properties import GUEST_KEYS, PROVENANCE, SHA256, GlanceImage
from private_cloud.glance_service import CLEAN_UP, ImageService, StoredImage
from private_cloud.upload_body import UploadBody, digest_of

log = logging.getLogger(__name__)

UNFINISHED = " (unfinished upload)"  # behind the name of an image that is not whole yet
PAUSES = (2.0, 5.0)  # seconds before the second attempt and the third, after a failure that time may mend


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedImage:
    """An image as it is in Glance now. `uploaded` is False for one that an earlier run had brought there."""

    image_id: str
    name: str
    device: str
    size: int
    disk_format: str
    uploaded: bool
    proof: str  # how equality was shown, in words a report can print; begins with UNKNOWN where it was not


def find_finished(
    service: ImageService, image: GlanceImage, artifact: Artifact, stop: Stop | None = None
) -> StoredImage | None:
    """Return the image of that name if it is this very artifact, None if the name is free.

    Raises `CloudRefused` where the name belongs to anything else: nothing of anybody's is replaced.
    """
    found = service.find(image.name, stop)
    if not found:
        return None
    ids = ", ".join(one.id for one in found)
    if len(found) > 1:
        raise CloudRefused(f"there are {len(found)} images called {image.name!r}: {ids}", _ANOTHER_NAME)
    (stored,) = found
    if _is_same(stored, image, artifact):
        return stored
    what = "holds other bytes" if stored.is_ours else "was not uploaded by Ferry"
    if stored.properties.get(SHA256) == artifact.sha256:
        what = f"is {stored.status}, {stored.disk_format}"
    raise CloudRefused(f"there is an image called {image.name!r} already, and it {what}: {stored.id}", _ANOTHER_NAME)


_ANOTHER_NAME = "choose another --name, or remove what is there with `openstack image delete ID` if nobody needs it"


def import_image(
    service: ImageService,
    image: GlanceImage,
    artifact: Artifact,
    *,
    progress: Progress = no_progress,
    stop: Stop | None = None,
) -> ImportedImage:
    """Return `artifact` as an image called `image.name`, uploading it if it is not there yet.

    What an earlier upload of the same name left unfinished is removed. Failures that time may mend are tried again with
    an upload from the beginning. Raises `CloudRefused`, `CloudUnavailable`, `CorruptData` (Glance stored something
    else; `SourceChanged` if the file is not what it was), `InvalidInput`, `Interrupted`.
    """
    with _alone(artifact):
        for pause in (*PAUSES, None):
            try:
                return _import_once(service, image, artifact, progress, stop)
            except CloudUnavailable as error:  # noqa: PERF203  # three times, each as long as an upload
                if pause is None:
                    raise
                log.warning("%s: %s; trying again from the beginning", image.name, error.message)
                _wait(pause, stop)
    raise AssertionError("unreachable")


def _import_once(
    service: ImageService, image: GlanceImage, artifact: Artifact, progress: Progress, stop: Stop | None
) -> ImportedImage:
    finished = find_finished(service, image, artifact, stop)
    if finished is not None:
        log.info("%s is there already: %s", image.name, finished.id)
        finished = _bring_up_to_date(service, finished, image, stop)
        progress(artifact.file_size, artifact.file_size)
        proof = f"uploaded and proven before: {SHA256} and size are those of {artifact.path.name}"
        return _imported(finished, artifact, uploaded=False, proof=proof)
    _remove_leftovers(service, image, stop)
    body = UploadBody(artifact.path, sha256=artifact.sha256, progress=progress, stop=stop)
    log.info("Uploading %s as %s (%s)", artifact.path.name, image.name, format_size(len(body)))
    # From here on something of ours is there, known to us by its name if not by its id.
    try:
        registered = service.create(image, image.name + UNFINISHED, stop)
        stored = _upload(service, registered, body, stop)
        proof = prove(stored, body, stop)
        named = _give_name(service, stored, image, stop)
    except BaseException as error:
        _clean_up(service, image, error)
        raise
    return _imported(named, artifact, uploaded=True, proof=proof)


def _give_name(service: ImageService, stored: StoredImage, image: GlanceImage, stop: Stop | None) -> StoredImage:
    check_stop(stop)
    if service.find(image.name, stop):
        raise CloudRefused(f"somebody else took the name {image.name!r} meanwhile", _ANOTHER_NAME)
    return service.change(stored.id, [{"op": "replace", "path": "/name", "value": image.name}], stop)


def _upload(service: ImageService, registered: StoredImage, body: UploadBody, stop: Stop | None) -> StoredImage:
    """Return the image with its bytes. An answer that was lost after Glance had stored all is no failure."""
    lost: CloudUnavailable | None = None
    try:
        service.upload(registered.id, body, stop)
    except CloudUnavailable as error:
        lost = error
    stored = service.get(registered.id, stop)
    if stored is None:
        raise CloudRefused(f"somebody removed the image {registered.id} while it was uploaded", "run again")
    if stored.status == "active" and body.sha512:
        return stored
    if lost is not None:
        raise lost
    raise CloudUnavailable(f"Glance took all bytes, but calls the image {stored.status}", "look into Glance's log")


def prove(stored: StoredImage, body: UploadBody, stop: Stop | None = None) -> str:
    """Return how Glance's own digest shows that it stored what was sent, or raise `CorruptData`."""
    if stored.size != len(body):
        raise _unequal(stored, f"{stored.size} bytes", f"{len(body)} bytes")
    algorithm, told = stored.hash_algo, stored.hash_value
    if not told:
        algorithm, told = "md5", stored.checksum
    if not told:
        return "UNKNOWN: this Glance tells no digest of what it stores; the size is right"
    try:
        ours = body.sha512 if algorithm == "sha512" else digest_of(body.path, algorithm, stop)
    except ValueError:
        return f"UNKNOWN: Glance's digest is {algorithm}, which is not known here; the size is right"
    if ours != told:
        raise _unequal(stored, f"{algorithm} {told}", ours)
    return f"Glance's {algorithm} of what it stored is that of {body.path.name}"


def _unequal(stored: StoredImage, theirs: str, ours: str) -> CorruptData:
    return CorruptData(
        f"{stored.id}: Glance stored {theirs}, sent were {ours}",
        "nothing of it is kept; run again, and look at Glance's store if it stays so",
    )


def _is_same(stored: StoredImage, image: GlanceImage, artifact: Artifact) -> bool:
    # Only what was proven gets such a name, so that digest and size of then are enough now.
    return (
        stored.status == "active"
        and stored.size == artifact.file_size
        and stored.properties.get(SHA256) == artifact.sha256
        and (stored.disk_format, stored.container_format) == (image.disk_format, image.container_format)
    )


def _bring_up_to_date(service: ImageService, stored: StoredImage, image: GlanceImage, stop: Stop | None) -> StoredImage:
    """Give an image of ours the properties that are asked for now: another bus needs no other bytes."""
    changes = property_changes(stored, image)
    if not changes:
        return stored
    log.info("%s: changing %s", image.name, ", ".join(change["path"].removeprefix("/") for change in changes))
    return service.change(stored.id, changes, stop)


def property_changes(stored: StoredImage, image: GlanceImage) -> list[dict[str, Any]]:
    """Return the JSON Patch that makes `stored` as `image` is. What somebody else added to it stays."""
    known: dict[str, Any] = {**stored.properties, "min_disk": stored.min_disk, "min_ram": stored.min_ram}
    wanted: dict[str, Any] = {**image.properties, "min_disk": image.min_disk, "min_ram": image.min_ram}
    ours = {key for key in known if key in GUEST_KEYS or key.startswith(PROVENANCE)}
    return [
        *(
            {"op": "replace" if key in known else "add", "path": f"/{key}", "value": value}
            for key, value in wanted.items()
            if known.get(key) != value
        ),
        *({"op": "remove", "path": f"/{key}"} for key in sorted(ours - set(wanted))),
    ]


def _remove_leftovers(service: ImageService, image: GlanceImage, stop: Stop | None) -> None:
    for left in service.find(image.name + UNFINISHED, stop):
        if left.is_ours:
            log.info("Removing an upload of %s that was not finished: %s, %s", image.name, left.id, left.status)
            service.delete(left.id)


def _clean_up(service: ImageService, image: GlanceImage, error: BaseException) -> None:
    """Remove what a failed upload registered; by name, as the answer with its id may have been lost."""
    try:
        for left in service.find(image.name + UNFINISHED, timeout=CLEAN_UP):
            if left.is_ours:
                service.delete(left.id)
    except MigrationError as second:
        log.warning(
            "%s: what was uploaded could not be removed (%s); it is called %r and goes with the next run",
            image.name, second.message, image.name + UNFINISHED,
        )  # fmt: skip
        if isinstance(error, CloudUnavailable) and not error.remedy:
            error.remedy = "run again when it can be reached"


def _imported(stored: StoredImage, artifact: Artifact, *, uploaded: bool, proof: str) -> ImportedImage:
    return ImportedImage(
        image_id=stored.id, name=stored.name, device=artifact.device, size=artifact.file_size,
        disk_format=stored.disk_format, uploaded=uploaded, proof=proof,
    )  # fmt: skip


@contextmanager
def _alone(artifact: Artifact) -> Iterator[None]:
    """Keep a second Ferry on this machine from taking our upload for one that was left unfinished."""
    with storage_errors(artifact.path), artifact.path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvalidInput(
                f"{artifact.path}: another run is uploading this file", "wait for it, or stop it"
            ) from None
        except OSError:  # a network file system that has no such lock on a file that is only read
            log.debug("%s cannot be locked", artifact.path)
        yield


def _wait(seconds: float, stop: Stop | None) -> None:
    if stop is None:
        time.sleep(seconds)
    else:
        stop.wait(seconds)
        check_stop(stop)


def check_names(
    service: ImageService, images: Sequence[GlanceImage], artifacts: Sequence[Artifact], stop: Stop | None = None
) -> None:
    """Raise `CloudRefused` if any of the names is taken, before the first byte is sent."""
    for image, artifact in zip(images, artifacts, strict=True):
        find_finished(service, image, artifact, stop)
