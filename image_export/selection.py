"""Chooses the images to migrate by what they have in common: a family, tags, a pattern of names, how new they are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from image_export.outcome import Outcome
from image_export.policy import Policy
from image_export.preflight import PreflightFacts, check_preflight
from image_export.request import ExportRequest
from image_export.session import REAL_CLOUD, Session
from migration.cloud import Cloud
from migration.credentials import CredentialSource
from migration.errors import InvalidInput
from migration.image import Image
from migration.progress import Stop
from migration.str_enum import StrEnum

AVAILABLE = "Available"
_ABOUT_THE_IMAGE = frozenset({
    "image-status", "image-owner", "marketplace", "encryption", "operating-system", "data-disk-count", "data-disk-size",
})  # fmt: skip


class Which(StrEnum):
    """Which of the images that match are meant."""

    NEWEST = "newest"  # the newest alone
    NEWER = "newer"  # all that are newer than the oldest one migrated already; where there is none, the newest
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """What an image must have to be meant; at least one of the three. `name` is a pattern with * ? and [abc]."""

    family: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    name: str = ""
    which: Which = Which.NEWEST

    def __post_init__(self) -> None:
        if not (self.family or self.tags or self.name):
            raise InvalidInput(
                "a selector without family, tags or name means every image of the account",
                "give one of them; to mean every image all the same, the name *",
            )

    def matches(self, image: Image) -> bool:
        """Return whether the image has all that is asked for."""
        return (
            self.family in {"", image.family}
            and set(self.tags) <= set(image.tags)
            and (not self.name or fnmatchcase(image.name, self.name))
        )

    def __str__(self) -> str:
        """Say it for people: `newest of family web, name web-*`."""
        words = [f"family {self.family}"] if self.family else []
        words += [f"tag {key}={value}" for key, value in self.tags]
        words += [f"name {self.name}"] if self.name else []
        return f"{self.which} of {', '.join(words)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One image that matches, and why it is left out; "" where it is meant."""

    image: Image
    left_out: str = ""


def find_images(
    cloud: Cloud, credentials: CredentialSource, selector: Selector,
    *, policy: Policy = REAL_CLOUD, stop: Stop | None = None,
) -> tuple[Image, ...]:  # fmt: skip
    """Return the account's own images that match, the newest first. Raises `InvalidInput` where there are none."""
    session = Session(cloud=cloud, credentials=credentials, policy=policy, stop=stop)
    seen = session.insist(lambda: session.ecs.list_images(family=selector.family, tags=selector.tags))
    found = [image for image in seen if selector.matches(image)]
    if not found:
        raise InvalidInput(
            f"no image of the account in {cloud.region_id} is meant by: {selector}"
            + (f" ({len(seen)} have the family and the tags, none of them the name)" if seen and selector.name else ""),
            "`ferry images --name '*'` lists all; a name is compared whole, with * for any characters",
        )
    return tuple(sorted(found, key=_age, reverse=True))


def choose(
    images: Sequence[Image], which: Which, *, migrated: Collection[str] = (), at_most: int | None = None
) -> tuple[Choice, ...]:
    """Return every image, the newest first, with why it is left out, if it is; those `migrated` (ids) count as seen.

    `at_most` is how many are kept on disk: to fetch one more would be to delete it again.
    """
    newest_first = sorted(images, key=_age, reverse=True)
    usable = [image for image in newest_first if image.status in {"", AVAILABLE}]
    count = len(usable) if at_most is None else at_most
    if which is Which.NEWEST:
        count = 1
    elif which is Which.NEWER:
        known = [number for number, image in enumerate(usable) if image.image_id in migrated]
        count = min(count, known[-1] + 1 if known else 1)
    meant = {image.image_id for image in usable[:count]}
    why = {
        Which.NEWEST: "not the newest",
        Which.NEWER: "older than what has been migrated",
        Which.ALL: f"older than the {at_most} that are kept",
    }[which]
    return tuple(
        Choice(image=image, left_out="" if image.image_id in meant else _left_out(image, why)) for image in newest_first
    )


def check_count(chosen: Sequence[object], at_most: int) -> None:
    """Raise `InvalidInput` where more are to be migrated than somebody expects to pay for."""
    if len(chosen) > at_most:
        raise InvalidInput(
            f"{len(chosen)} images are to be migrated, and no more than {at_most} are expected",
            "narrow the selector, or raise the limit (--at-most, flow: at_most); nothing was exported",
        )


def why_not_exportable(image: Image) -> str:
    """Return which rules about the image itself its export would break, "" if none."""
    facts = PreflightFacts(
        request=ExportRequest(image_id=image.image_id, bucket=""), region_id=image.region_id, image=image, bucket=None
    )
    broken = [
        finding.message for finding in check_preflight(facts)
        if finding.rule in _ABOUT_THE_IMAGE and finding.outcome is Outcome.REFUSE
    ]  # fmt: skip
    return "; ".join(broken)


def _left_out(image: Image, why: str) -> str:
    return why if image.status in {"", AVAILABLE} else f"it is {image.status}"


def _age(image: Image) -> tuple[int, str]:
    """Order by creation, as far as it is told; ids decide between images of one second, so that the order is one."""
    return image.created or 0, image.image_id
