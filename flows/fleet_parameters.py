"""The parameters that a fleet has beside those of its migrations: which images, how many at once, what is kept."""

from __future__ import annotations

import os
import string
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from flows.fleet_run import CONVERSIONS, DOWNLOADS, EXPORTS
from flows.parameters import GroupOfSettings, workspace_path
from image_export.selection import Selector, Which
from migration.errors import InvalidInput

Images = Annotated[
    list[str],
    Field(title="Images", description="Ids of the custom images, as m-bp1…. Give these, or a file, or a selector"),
]
FleetFile = Annotated[
    str,
    Field(
        title="File",
        description="CSV or YAML on the worker that lists the images, each with what is different for it: "
        "image_id, formats, targets, on_fstab_mismatch, …",
    ),
]
Force = Annotated[
    bool,
    Field(
        title="Repeat",
        description="Run again what was migrated already. In the same workspace only what is missing or was changed is "
        "made anew; with {date} in the workspace it is a whole new copy, which is billed like the first",
    ),
]
AtMost = Annotated[
    int,
    Field(
        ge=1,
        le=1000,
        title="At most",
        description="If more images than these are to be migrated, none is: a selector may mean more than one thinks",
    ),
]
KeepLast = Annotated[
    int | None,
    Field(
        ge=1,
        title="Keep the last",
        description="After the run, delete older workspaces, so that so many proven migrations are left of what the "
        "selector means, or of each image family. Never one in use, never what is not proven and there is no other of. "
        "Empty: nothing is deleted",
    ),
]
DeleteObjects = Annotated[
    bool,
    Field(
        title="Delete the objects in OSS",
        description="Once a migration is proven, delete the very objects that it downloaded, which are billed until "
        "then. The keys need oss:DeleteObject",
    ),
]


OnMismatchInFleet = Annotated[
    Literal["fail", "warn", "repair"],
    Field(
        title="On fstab mismatch",
        description="As for a single image. To be asked about one, migrate it on its own: a fleet waits for nobody",
    ),
]


class ImageSelector(GroupOfSettings):
    """Images by what they have in common. At least one of family, name and tags."""

    family: str = Field(default="", max_length=128, title="Image family", description="Its whole name")
    name: str = Field(
        default="", max_length=128, title="Name", description="Pattern of image names, as web-*: * ? and [abc]"
    )
    tags: dict[str, str] = Field(default_factory=dict, title="Tags", description="All of them, key and value")
    which: Which = Field(
        default=Which.NEWEST,
        title="Which",
        description="newest: the newest alone; newer: all that came since the first that was migrated here; all",
    )

    def selector(self) -> Selector:
        """Return what this means. Raises `InvalidInput`."""
        return Selector(family=self.family, name=self.name, tags=tuple(sorted(self.tags.items())), which=self.which)


class AtOnce(GroupOfSettings):
    """How much goes on at once in one fleet. What all fleets and workers do together, Prefect's limits bound."""

    images: int = Field(
        default=6, ge=1, le=32, title="Images", description="Migrations under way, most of them waiting for something"
    )
    exports: int = Field(default=3, ge=1, le=32, title="Exports", description="The account's quota is not published")
    downloads: int = Field(default=4, ge=1, le=32, title="Downloads", description="Disks, of all images together")
    conversions: int | None = Field(
        default=None, ge=1, le=64, title="Conversions",
        description="Conversions and looks into guests. Each keeps a core busy, a look takes about 1 GiB of memory. "
        "Empty: as many as the worker has cores",
    )  # fmt: skip

    @property
    def bounds(self) -> dict[str, int]:
        """Return how many of each kind of work one process does at once."""
        cores = len(os.sched_getaffinity(0))
        return {EXPORTS: self.exports, DOWNLOADS: self.downloads, CONVERSIONS: self.conversions or cores}


def check_template(template: str) -> None:
    """Raise `InvalidInput` for a workspace in which two images would meet."""
    workspace_path(template, "m-any")  # which tells a placeholder that is none
    fields = {name for _, name, _, _ in string.Formatter().parse(template)}
    if "image_id" not in fields:
        raise InvalidInput(f"workspace {template!r} is the same for all images", "put {image_id} into it")


def check_names(*names: str) -> None:
    """Raise `InvalidInput` for a name that all machines or bundles of a fleet would have."""
    for name in filter(None, names):
        raise InvalidInput(f"the name {name!r} would be that of all images", "leave it out: each has one by its image")


def root_of(template: str) -> tuple[Path, int]:
    """Return the folder under which the workspaces of `template` lie, and how many folders down."""
    parts = Path(template).expanduser().parts
    fixed = 0
    while fixed < len(parts) - 1 and not _has_field(parts[fixed]):
        fixed += 1
    root = Path(*(part.format() for part in parts[:fixed]))
    return root, len(parts) - fixed


def _has_field(part: str) -> bool:
    return any(name is not None for _, name, _, _ in string.Formatter().parse(part))
