"""Knows which versions of what did the work, for whoever has to do it again or to find out why it differs."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform

from migration.errors import MigrationError
from migration.run import run

_LIBRARIES = {"Ferry": "ferry-migration", "Prefect": "prefect", "oss2": "oss2", "ECS SDK": "aliyun-python-sdk-ecs"}


def find_versions() -> dict[str, str]:
    """Return name → version; what cannot be found out is left out."""
    found = {}
    for name, package in _LIBRARIES.items():
        try:
            found[name] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # noqa: PERF203  # four times
            continue
    found["Python"] = platform.python_version()
    with contextlib.suppress(MigrationError, IndexError):
        found["qemu-img"] = run(["qemu-img", "--version"]).splitlines()[0].removeprefix("qemu-img version ")
    with contextlib.suppress(OSError):
        found["System"] = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    found["Kernel"] = platform.release()
    return found
