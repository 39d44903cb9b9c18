"""Knows how to start a machine with plain QEMU over a set of disks or images, without changing them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from migration.disk import DiskFormat


class Image(Protocol):
    """What can be booted: a `Disk`, an `Artifact`."""

    @property
    def path(self) -> Path: ...

    @property
    def format(self) -> DiskFormat: ...


def boot_argv(images: Sequence[Image], *, kvm: bool, interactive: bool = False) -> list[str]:
    """Return the command that boots a BIOS machine with `images` as its virtio disks, in their order.

    What the guest writes goes to a temporary overlay: the files stay as they are. The serial console
    is stdin and stdout; `interactive` adds QEMU's keys to it (Ctrl-A X ends the machine).
    """
    argv = [
        "qemu-system-x86_64", "-machine", f"pc,accel={'kvm' if kvm else 'tcg'}", "-cpu", "max", "-m", "512",
        "-nodefaults", "-vga", "std", "-display", "none", "-no-reboot",
        "-serial", "mon:stdio" if interactive else "stdio",
    ]  # fmt: skip
    for image in images:
        name = os.fspath(image.path).replace(",", ",,")  # a comma ends a value
        argv += ["-drive", f"file={name},format={image.format},if=virtio,snapshot=on"]
    return argv
