"""Finds the objects of an export in its bucket and proves each by a HEAD: of a task, by hand, or once more."""

from __future__ import annotations

import time
from collections.abc import Sequence

from image_export.bucket import ExportBucket
from image_export.objects import FoundObject, ObjectsMismatch, match_objects
from image_export.own_task import CLOCK_SLACK
from image_export.policy import Policy, wait
from image_export.request import Attempt, Export
from image_export.session import REAL_CLOUD, Session
from image_export.task import ExportTask
from migration.cloud import Cloud
from migration.credentials import CredentialSource
from migration.exported_object import ExportedObject
from migration.image import Image
from migration.progress import Stop

# ECS's CreationTime may lack its seconds; the rest is room for two clocks of the cloud.
_TASK_CLOCK_SLACK = 180  # seconds


def collect_objects(session: Session, attempt: Attempt, task: ExportTask | None) -> tuple[ExportedObject, ...]:
    """Return one object for every disk of the attempt's image; `task` None where the cloud forgot it.

    For `Policy.objects_patience` the last of them may still be on its way. Raises `ObjectsMismatch`.
    """
    bucket = session.bucket(attempt.request.bucket)
    deadline = time.monotonic() + (session.policy.objects_patience if task is not None else 0)
    intervals = session.policy.intervals()

    def look() -> tuple[ExportedObject, ...]:
        found = match_objects(
            bucket.name,
            list_objects(session, attempt, task),
            image_id=attempt.image.image_id,
            image=attempt.image,
            prefix=attempt.prefix,
            named=task.related("OSSObject") if task else (),
            not_before=_oldest_object(attempt, task),
        )
        return _confirmed(bucket, found)

    while True:
        try:
            return session.insist(look, session.policy.silence_patience)
        except ObjectsMismatch:
            interval = next(intervals)
            if time.monotonic() + interval > deadline:
                raise
        wait(interval, session.stop)


def list_objects(session: Session, attempt: Attempt, task: ExportTask | None) -> tuple[FoundObject, ...]:
    """Return what the bucket has of the attempt's image, under the attempt's prefix where that is known."""
    image = attempt.image
    named = task.related("OSSObject") if task else ()
    keys = (*named, *_usual_keys(image.image_id, attempt.prefix, image))
    return _find(session.bucket(attempt.request.bucket), image.image_id, attempt.prefix, keys)


def find_exported_objects(
    cloud: Cloud, credentials: CredentialSource, *, bucket: str, image_id: str, prefix: str | None = None,
    image: Image | None = None, policy: Policy = REAL_CLOUD, stop: Stop | None = None,
) -> tuple[ExportedObject, ...]:  # fmt: skip
    """Return the objects of an export that somebody else made, one for every disk, the system disk first.

    `prefix` "" is none, None any; a bucket with several exports of the image needs it. With `image` the
    objects must be its disks exactly; without, they are taken for all there are and sizes are unknown.
    Raises `ObjectsMismatch` and what OSS refuses.
    """
    session = Session(cloud=cloud, credentials=credentials, policy=policy, stop=stop)
    source = session.bucket(bucket)

    def look() -> tuple[ExportedObject, ...]:
        listing = _find(source, image_id, prefix, _usual_keys(image_id, prefix, image))
        return _confirmed(source, match_objects(bucket, listing, image_id=image_id, image=image, prefix=prefix))

    return session.insist(look)


def find_lost_objects(session: Session, export: Export) -> tuple[str, ...]:
    """Return the keys of a finished export's objects that are gone, or were replaced since."""
    bucket = session.bucket(export.bucket)
    confirmed = session.insist(lambda: [bucket.confirm(one) for one in export.objects])
    return tuple(one.key for one, now in zip(export.objects, confirmed, strict=True) if now is None)


def _find(bucket: ExportBucket, image_id: str, prefix: str | None, keys: Sequence[str]) -> tuple[FoundObject, ...]:
    """List what begins as the export's objects do; with a prefix nobody knows that is the whole bucket."""
    start = "" if prefix is None else prefix or image_id
    return bucket.find_objects(start, image_id, keys)


def _usual_keys(image_id: str, prefix: str | None, image: Image | None) -> tuple[str, ...]:
    """Return the names that the objects of an export usually have (see `image_export.objects`)."""
    stem = f"{prefix}_{image_id}" if prefix else image_id
    data = [disk.device for disk in image.data_disks] if image else []
    disks = ["system", *(f"data_{device}" for device in data)]
    return tuple(f"{stem}_{disk}.{suffix}" for disk in disks for suffix in ("raw.tar.gz", "raw"))


def _oldest_object(attempt: Attempt, task: ExportTask | None) -> int | None:
    """Return the Unix time before which an object belongs to an earlier export; a prefix of its own needs none."""
    if attempt.request.prefix is None and attempt.prefix is not None:
        return None
    if task is not None and task.created is not None:
        return task.created - _TASK_CLOCK_SLACK
    return None if attempt.started is None else attempt.started - CLOCK_SLACK


def _confirmed(bucket: ExportBucket, found: tuple[ExportedObject, ...]) -> tuple[ExportedObject, ...]:
    """Return the objects with what only a HEAD tells, or raise `ObjectsMismatch` if one is another by now."""
    confirmed = [bucket.confirm(one) for one in found]
    changed = [one.key for one, now in zip(found, confirmed, strict=True) if now is None]
    if changed:
        raise ObjectsMismatch(f"{', '.join(changed)}: changed while being looked at", "is another export running?")
    return tuple(one for one in confirmed if one is not None)
