"""An emulated account full of small images for the tests of fleets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emulator.account import add_image
from emulator.object_store import add_bucket
from emulator.server import EmulatedCloud, Variants, emulated_cloud
from migration.disk import Disk
from migration.disk_file import find_disks_in
from tests.conftest import BUCKET, MIB, write_raw

FAMILY = "web"
# Nobody looks into a guest here: without an appliance each run says in a moment that it could not, and goes on.
NO_APPLIANCE = {"LIBGUESTFS_PATH": "/nonexistent"}


def image_id(number: int) -> str:
    """Return the id of a small image."""
    return f"m-bp1fleet{number:04}"


def make_disk(folder: Path, seed: int = 0) -> Sequence[Disk]:
    """Make a system disk of 1 MiB that holds no guest."""
    folder.mkdir(parents=True)
    write_raw(folder / "system.raw", MIB, seed=seed)
    return find_disks_in(folder)


def add_small_images(folder: Path, count: int, **fields: Any) -> None:
    """Add images of one disk each, made a minute apart, the last the newest; `fields` are those of `EmulatedImage`."""
    for number in range(count):
        add_image(
            folder, image_id(number), make_disk(folder / "disks" / str(number), number), name=f"web-{number:02}",
            **{"family": FAMILY, "creation_time": f"2026-01-01T{number // 60:02}:{number % 60:02}:00Z", **fields},
        )  # fmt: skip


@contextmanager
def small_cloud(folder: Path, count: int, *, variants: Variants = Variants()) -> Iterator[EmulatedCloud]:  # noqa: B008
    """Run a cloud with `count` small images."""
    add_small_images(folder, count)
    add_bucket(folder, BUCKET)
    with emulated_cloud(folder, variants=variants) as cloud:
        yield cloud
