"""A disk of the guest whose bytes lie elsewhere and can be read here, through a socket that speaks NBD."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from migration.disk import Disk, DiskFormat, DiskRole


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedDisk:
    """One disk of the guest, bare (RAW) and read-only, as long as somebody serves it at `socket`.

    `device`, `role` and `virtual_size` are as in `Disk`; `name` is what people call it.
    """

    device: str
    role: DiskRole
    name: str
    socket: Path
    virtual_size: int

    @property
    def format(self) -> DiskFormat:
        """Always RAW: what is served are the disk's own bytes."""
        return DiskFormat.RAW

    @property
    def location(self) -> str:
        """What QEMU opens."""
        return f"nbd+unix:///?socket={quote(str(self.socket))}"

    @property
    def is_there(self) -> bool:
        """Whether anybody can be asked for its bytes."""
        return self.socket.is_socket()


# What can be looked into, wherever its bytes lie.
ReadableDisk = Disk | ServedDisk
