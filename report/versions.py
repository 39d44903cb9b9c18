"""Knows which versions of what did the work, for whoever has to do it again or to find out why it differs."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
from collections.abc import Mapping

from migration.errors import MigrationError
from migration.run import run

_LIBRARIES = {"Ferry": "ferry-migration", "Prefect": "prefect", "oss2": "oss2", "ECS SDK": "aliyun-python-sdk-ecs"}


def find_versions() -> dict[str, str]:
    """Return name → version; what cannot be found out is left out."""
    found = {**package_versions(_LIBRARIES), "Python": platform.python_version(), **qemu_img_version()}
    with contextlib.suppress(OSError):
        found["System"] = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    found["Kernel"] = platform.release()
    return found


def package_versions(packages: Mapping[str, str]) -> dict[str, str]:
    """Return name → version of those `packages` (name → distribution) that are installed."""
    found = {}
    for name, package in packages.items():
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(package)
    return found


def qemu_img_version() -> dict[str, str]:
    """Return "qemu-img" → version, nothing where there is none."""
    with contextlib.suppress(MigrationError, IndexError):
        return {"qemu-img": run(["qemu-img", "--version"]).splitlines()[0].removeprefix("qemu-img version ")}
    return {}
