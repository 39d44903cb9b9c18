"""Knows how Linux names its releases and its modules."""

from __future__ import annotations

import posixpath
import re


def release_order(release: str) -> list[tuple[int, str]]:
    """Return a key that sorts releases, or file names that end in one, from old to new: 6.10 after 6.9."""
    words = re.findall(r"\d+|[^\d]+", release)
    return [(int(word), "") if word.isdigit() else (0, word) for word in words]


def module_name(path: str) -> str:
    """Return the name of the module in a file, as lsmod spells it: "virtio_ring" for `…/virtio-ring.ko.xz`."""
    return posixpath.basename(path).partition(".ko")[0].replace("-", "_")
