"""Asks ECS for the image that an export was made of, which says how many disks there should be."""

from __future__ import annotations

import logging

from image_export.export import describe_image
from migration.cloud import Cloud
from migration.credentials import CredentialSource
from migration.errors import CloudRefused
from migration.image import Image

log = logging.getLogger("ferry")


def find_image(cloud: Cloud, credentials: CredentialSource, image_id: str) -> Image | None:
    """Return the image, None where there is none any more; who may only read the bucket goes without."""
    try:
        image = describe_image(cloud, credentials, image_id)
        why = f"there is no image {image_id} any more"
    except CloudRefused as error:
        image, why = None, error.message
    if image is None:
        log.warning("Whether a data disk is missing from the bucket is unknown: %s", why)
    return image
