"""What is asked of an export, the attempt that the journal remembers, and what comes back.

ExportRequest --preflight--> Attempt --ExportImage--> task --Finished--> Export
"""

from __future__ import annotations

import secrets
import string
import time
from dataclasses import dataclass, replace

from migration.exported_object import ExportedObject
from migration.image import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """One image to one bucket.

    `prefix` is what the objects' names begin with: 1 to 30 letters and digits, "" for none. None, the
    default, has one made for this attempt: the cloud names objects after prefix, image and disk alone,
    and whether a second export of the image overwrites the first is not documented. `image_format`
    "" or "raw" is RAW; the others are offered in a few regions only. `role_name` "" is the cloud's own.
    """

    image_id: str
    bucket: str
    prefix: str | None = None
    image_format: str = ""
    role_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One intent to export, recorded before the cloud is asked, so that it is never asked twice.

    `started` is when ExportImage was about to be called, in Unix seconds; None once it is known that
    nothing is under way: the cloud refused, or the task failed. `task_id` is "" until it is known.
    `prefix` None: the task was found, not started, and its prefix is read off its objects. `is_adopted`:
    that we started it is not certain, so it is not cancelled unasked. `excluded` are tasks known not to
    come of this attempt: those of earlier ones, and those that turned out to be others'.
    """

    request: ExportRequest
    image: Image
    prefix: str | None
    started: int | None = None
    task_id: str = ""
    is_adopted: bool = False
    excluded: tuple[str, ...] = ()

    @property
    def is_under_way(self) -> bool:
        return self.started is not None

    def closed(self) -> Attempt:
        """Return this attempt once nothing of it is under way any more; its task is never taken for another's."""
        excluded = dict.fromkeys((*self.excluded, *filter(None, [self.task_id])))
        return replace(self, started=None, task_id="", is_adopted=False, excluded=tuple(excluded))


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A finished export: one object for every disk of the image, the system disk first."""

    image: Image
    bucket: str
    prefix: str
    task_id: str
    objects: tuple[ExportedObject, ...]


def new_prefix() -> str:
    """Return a prefix that no other export has, and that says when it was made: `ferry260131k3x9q`."""
    tail = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(5))
    return f"ferry{time.strftime('%y%m%d', time.gmtime())}{tail}"
