"""Boots disks in QEMU to see what the guest says: the proof that an image is more than equal bytes."""

from __future__ import annotations

from collections.abc import Sequence

from demo.guest_root import BOOT_COMPLETE
from migration.acceleration import kvm_works
from migration.errors import CommandFailed, GuestError
from migration.progress import Stop
from migration.run import run
from private_cloud.qemu_system import Image, boot_argv

PATIENCE = 180.0  # seconds; an emulated CPU on a busy machine takes a fifth of it
LAST_WORDS = 15  # lines of the console that an error shows


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
