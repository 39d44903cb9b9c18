"""Puts the demo server into an emulated account: an image of three disks, and a bucket for its export."""

from __future__ import annotations

import tempfile
from pathlib import Path

from demo.guest_image import make_demo_guest
from emulator.account import add_image, list_images, read_settings
from emulator.object_store import add_bucket, find_bucket

IMAGE_ID = "m-bp1ferrydemoserver0001"
BUCKET = "ferry-demo-exports"


def make_demo_account(folder: Path) -> tuple[str, str]:
    """Make image and bucket in `folder` where they are missing; returns the image's id and the bucket's name."""
    folder.mkdir(parents=True, exist_ok=True)
    if not any(image.image_id == IMAGE_ID for image in list_images(folder)):
        with tempfile.TemporaryDirectory(prefix=".demo-guest-", dir=folder) as scratch:
            disks = make_demo_guest(Path(scratch))
            add_image(
                folder, IMAGE_ID, disks, name="ferry-demo-server", os_name="Ferry demo server", platform="Others Linux"
            )
    if find_bucket(folder, BUCKET) is None:
        add_bucket(folder, BUCKET, region_id=read_settings(folder).region_id)
    return IMAGE_ID, BUCKET
