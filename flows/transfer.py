"""The parameters that say how objects are downloaded."""

from __future__ import annotations

from pydantic import Field, model_validator

from flows.fleet_run import current_fleet
from flows.parameters import GroupOfSettings
from image_download.bandwidth import SMALLEST_LIMIT, Bandwidth
from image_download.bandwidth_windows import make_bandwidth, make_plan
from image_download.settings import MIB, TRAFFIC_LIMITS, DownloadSettings
from migration.errors import InvalidInput


class Transfer(GroupOfSettings):
    """How the objects are downloaded."""

    connections: int = Field(default=4, ge=1, le=64, title="Connections", description="Ranges in flight per object")
    part_size_mib: int = Field(default=16, ge=1, le=1024, title="Part size", description="MiB per range")
    bandwidth_limit_mib: float | None = Field(
        default=None,
        ge=SMALLEST_LIMIT / MIB,
        title="Bandwidth limit",
        description="MiB a second for all disks of a run together. Empty: no limit",
    )
    bandwidth_windows: tuple[str, ...] = Field(
        default=(),
        title="Bandwidth windows",
        description="Other limits at some times of the day, in MiB a second: 22:00-06:00=100, Mon-Fri 08:00-18:00=10, "
        "22:00-06:00=unlimited. The first that covers the moment counts, a download under way follows it, and outside "
        "of all the bandwidth limit holds",
    )
    bandwidth_timezone: str = Field(
        default="", title="Time zone of the windows", description="As Asia/Shanghai. Empty: the worker's"
    )
    oss_traffic_limit: int | None = Field(
        default=None,
        ge=TRAFFIC_LIMITS[0],
        le=TRAFFIC_LIMITS[1],
        title="OSS traffic limit",
        description="Bits a second that OSS keeps each connection below. Empty: no limit",
    )
    restore_archived: bool = Field(
        default=False,
        title="Restore archived objects",
        description="Have OSS restore objects of an archive class, which it charges for, and wait for minutes to days",
    )
    keep_objects: bool = Field(
        default=False, title="Keep objects", description="Keep downloaded archives beside the unpacked disks"
    )
    accept_other_size: bool = Field(
        default=False, title="Accept another size", description="Take a disk whose size is not the one the image tells"
    )

    @model_validator(mode="after")
    def _check_windows(self) -> Transfer:
        try:
            make_plan(self.bandwidth_windows, otherwise=None, zone=self.bandwidth_timezone)
        except InvalidInput as error:
            raise ValueError(str(error)) from error
        return self

    def bandwidth(self) -> Bandwidth:
        """Return a new limit; whoever is given it shares it."""
        limit = None if self.bandwidth_limit_mib is None else int(self.bandwidth_limit_mib * MIB)
        return make_bandwidth(self.bandwidth_windows, limit, self.bandwidth_timezone)

    def settings(self) -> DownloadSettings:
        """Return what this means to the download. Disks that are to share the bandwidth limit share the result.

        All migrations of a fleet share one.
        """
        fleet = current_fleet()
        return DownloadSettings(
            connections=self.connections, part_size=self.part_size_mib * MIB,
            bandwidth=fleet.bandwidth if fleet is not None else self.bandwidth(),
            oss_traffic_limit=self.oss_traffic_limit,
            restore_archived=self.restore_archived, keep_objects=self.keep_objects,
            accept_other_size=self.accept_other_size,
        )  # fmt: skip
