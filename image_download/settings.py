"""Knows what an operator may choose about a download, and which choices make sense."""

from __future__ import annotations

from dataclasses import dataclass

from image_download.bandwidth import UNLIMITED, Bandwidth
from migration.errors import InvalidInput

MIB = 1024**2

# What OSS accepts as x-oss-traffic-limit, in bits a second (source: vendor's page on single-connection limits).
TRAFFIC_LIMITS = (819_200, 838_860_800)

PART_GRAIN = 4096  # bytes; a part is made of whole blocks of the file system


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadSettings:
    """How one object is brought home. Sizes are bytes, times are seconds.

    A wait on the network is bounded by `connect_timeout` and `read_timeout`; what fails is tried
    again after a pause that doubles from `first_pause` to `longest_pause`, until `idle_timeout` has
    passed without a single byte of the object having come. A connection that brings less than
    `slowest_rate` bytes a second over `slowest_over` seconds is given up for a new one: some middle
    boxes leave one alive but all but dead.

    Downloads that are given the same `bandwidth` share it. `oss_traffic_limit` is another thing: bits
    a second that OSS itself keeps each single request below.
    """

    connections: int = 4
    part_size: int = 16 * MIB
    connect_timeout: float = 10
    read_timeout: float = 20
    idle_timeout: float = 300
    first_pause: float = 0.5
    longest_pause: float = 30
    slowest_rate: int = 1024
    slowest_over: float = 30
    bandwidth: Bandwidth = UNLIMITED
    oss_traffic_limit: int | None = None
    restore_archived: bool = False  # ask OSS to restore an archived object, which it charges for
    restore_first_look: float = 10
    restore_longest_look: float = 300
    keep_objects: bool = False  # keep the packed object after it has been unpacked
    accept_other_size: bool = False  # take a disk whose size is not the one DescribeImages tells

    def __post_init__(self) -> None:
        if not 1 <= self.connections <= 64:
            raise InvalidInput(f"{self.connections} connections", "between 1 and 64 make sense")
        if self.part_size % PART_GRAIN or not 64 * 1024 <= self.part_size <= 1024 * MIB:
            raise InvalidInput(
                f"a part size of {self.part_size} bytes", f"64 KiB to 1 GiB, in whole multiples of {PART_GRAIN}"
            )
        lowest, highest = TRAFFIC_LIMITS
        if self.oss_traffic_limit is not None and not lowest <= self.oss_traffic_limit <= highest:
            raise InvalidInput(
                f"an OSS traffic limit of {self.oss_traffic_limit} bit/s", f"OSS takes {lowest} to {highest} bit/s"
            )
        times = ("connect_timeout", "read_timeout", "idle_timeout", "first_pause", "longest_pause", "slowest_over",
                 "restore_first_look", "restore_longest_look")  # fmt: skip
        for name in times:
            if getattr(self, name) <= 0:
                raise InvalidInput(f"{name.replace('_', ' ')} of {getattr(self, name)} s", "give more than 0 seconds")
