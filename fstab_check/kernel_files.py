"""Fetches out of a guest what tells its drivers: each kernel's built-in list and its initramfs."""

from __future__ import annotations

import logging
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from fstab_check.drivers import KernelDrivers
from fstab_check.initramfs import Unlisted, list_modules
from migration.appliance import Refused, names_in, refusals
from migration.kernel_names import module_name, release_order

if TYPE_CHECKING:
    import guestfs

log = logging.getLogger(__name__)

MAX_KERNELS = 3  # the newest; each costs seconds under emulation
MAX_INITRAMFS = 512 * 1024**2  # bytes
MAX_BUILTIN = 2 * 1024**2  # libguestfs hands out less than 4 MiB at once

_KERNEL = re.compile(r"vmlinu[xz]-(?P<release>[\w.+-]+)")
_NOT_MEANT = ("rescue", "kdump", "memtest")
# Debian and Ubuntu; Red Hat, SUSE and the vendor's own Linux; SUSE of old.
_INITRAMFS = ("/boot/initrd.img-{}", "/boot/initramfs-{}.img", "/boot/initrd-{}")
_MODULES = ("/lib/modules/{}", "/usr/lib/modules/{}")


def read_kernels(g: guestfs.GuestFS) -> tuple[KernelDrivers, ...]:
    """Return the newest kernels in /boot of the mounted guest, with the drivers that each has to find its root by."""
    names = [match["release"] for name in names_in(g, "/boot") if (match := _KERNEL.fullmatch(name))]
    releases = [name for name in names if not any(word in name for word in _NOT_MEANT)]
    return tuple(
        _read_kernel(g, release) for release in sorted(releases, key=release_order, reverse=True)[:MAX_KERNELS]
    )


def _read_kernel(g: guestfs.GuestFS, release: str) -> KernelDrivers:
    try:
        with refusals(g):
            built_in = _read_built_in(g, release)
            return KernelDrivers(release=release, modules=built_in | _read_initramfs(g, release))
    except (Refused, Unlisted) as reason:
        return KernelDrivers(release=release, unexamined=f"{reason}")


def _read_built_in(g: guestfs.GuestFS, release: str) -> frozenset[str]:
    for folder in _MODULES:
        path = f"{folder.format(release)}/modules.builtin"
        if g.is_file(path, followsymlinks=True):
            text = bytes(g.pread(path, MAX_BUILTIN, 0)).decode("utf-8", "replace")
            return frozenset(module_name(line) for line in text.splitlines() if line)
    raise Unlisted(f"there is no modules.builtin of {release}")


def _read_initramfs(g: guestfs.GuestFS, release: str) -> frozenset[str]:
    for pattern in _INITRAMFS:
        path = pattern.format(release)
        if not g.is_file(path, followsymlinks=True):
            continue
        size = g.filesize(path)
        if size > MAX_INITRAMFS:
            raise Unlisted(f"{path} has {size} bytes, more than any initramfs")
        with tempfile.TemporaryDirectory(prefix="ferry-initramfs-") as folder:
            copy = Path(folder, "initramfs")
            g.download(path, str(copy))
            return list_modules(copy)
    raise Unlisted(f"there is no initramfs of {release} in /boot")
