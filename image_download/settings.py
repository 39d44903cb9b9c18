"""Knows what an operator may choose about a download, and which choices make sense."""

from __future__ import annotations

from dataclasses import dataclass

from migration.errors import InvalidInput

MIB = 1024**2

PART_GRAIN = 4096  # bytes; a part is made of whole blocks of the file system


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadSettings:
    """How one object is brought home. Sizes are bytes, times are seconds.

    A wait on the network is bounded by `connect_timeout` and `read_timeout`; what fails is tried
    again after a pause that doubles from `first_pause` to `longest_pause`, until `idle_timeout` has
    passed without a single byte of the object having come.
    """

    connections: int = 4
    part_size: int = 16 * MIB
    connect_timeout: float = 10
    read_timeout: float = 20
    idle_timeout: float = 300
    first_pause: float = 0.5
    longest_pause: float = 30
    keep_objects: bool = False  # keep the packed object after it has been unpacked
    accept_other_size: bool = False  # take a disk whose size is not the one DescribeImages tells

    def __post_init__(self) -> None:
        if not 1 <= self.connections <= 64:
            raise InvalidInput(f"{self.connections} connections", "between 1 and 64 make sense")
        if self.part_size % PART_GRAIN or not 64 * 1024 <= self.part_size <= 1024 * MIB:
            raise InvalidInput(
                f"a part size of {self.part_size} bytes", f"64 KiB to 1 GiB, in whole multiples of {PART_GRAIN}"
            )
        times = ("connect_timeout", "read_timeout", "idle_timeout", "first_pause", "longest_pause")
        for name in times:
            if getattr(self, name) <= 0:
                raise InvalidInput(f"{name.replace('_', ' ')} of {getattr(self, name)} s", "give more than 0 seconds")
