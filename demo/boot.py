"""Boots disks in QEMU to see what the guest says: the proof that an image is more than equal bytes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from demo.guest_root import BOOT_COMPLETE
from migration.acceleration import kvm_works
from migration.disk import DiskFormat
from migration.errors import CommandFailed, GuestError
from migration.progress import Stop
from migration.run import run

PATIENCE = 180.0  # seconds; an emulated CPU on a busy machine takes a fifth of it
LAST_WORDS = 15  # lines of the console that an error shows


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


class _MarkerSeen(Exception):
    """Ends the machine once it has said what we waited for."""


def boot(
    images: Sequence[Image],
    *,
    marker: str = BOOT_COMPLETE,
    timeout: float = PATIENCE,
    stop: Stop | None = None,
) -> str:
    """Boot `images` until a console line contains `marker`, and return what the console said.

    Characters that cannot be printed come as `?`. Raises `GuestError` if the machine went off or
    `timeout` seconds went by before that line, `Interrupted` when `stop` is set.
    """
    lines: list[str] = []

    def listen(line: str) -> None:
        lines.append("".join(char if char.isprintable() else "?" for char in line))
        if marker in line:
            raise _MarkerSeen

    try:
        run(boot_argv(images, kvm=kvm_works()), on_line=listen, timeout=timeout, stop=stop)
        failure = "the machine went off"
    except _MarkerSeen:
        return "\n".join(lines)
    except CommandFailed as error:
        failure = str(error)
    last_words = "\n".join(lines[-LAST_WORDS:]) or "(nothing)"
    raise GuestError(
        f"{images[0].path.name}: no {marker!r} on the console: {failure}\nthe console said last:\n{last_words}",
        "boot it with a screen attached to see more",
    )
