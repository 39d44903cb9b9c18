"""The options that say how objects are downloaded, and what they mean to a download and to the flows."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from ferry.options import parse_rate

if TYPE_CHECKING:
    from flows.transfer import Transfer
    from image_download.settings import DownloadSettings

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferWords:
    """What was said of the download, each word by the name of its option. `bandwidth_limit` is bytes a second."""

    connections: int
    bandwidth_limit: int | None
    bandwidth_windows: tuple[str, ...]
    bandwidth_timezone: str
    oss_traffic_limit: int | None
    restore_archived: bool
    keep_objects: bool
    accept_other_size: bool

    def check(self) -> None:
        """Raise `InvalidInput` for windows that are none; to be called before anything is started."""
        from image_download.bandwidth_windows import make_plan  # noqa: PLC0415

        make_plan(self.bandwidth_windows, otherwise=None, zone=self.bandwidth_timezone)

    def settings(self, *, part_size: int) -> DownloadSettings:
        """Return what this means to a download; `part_size` in bytes. Disks that are given it share its limit."""
        from image_download.bandwidth_windows import make_bandwidth  # noqa: PLC0415
        from image_download.settings import DownloadSettings  # noqa: PLC0415

        return DownloadSettings(
            connections=self.connections, part_size=part_size,
            bandwidth=make_bandwidth(self.bandwidth_windows, self.bandwidth_limit, self.bandwidth_timezone),
            oss_traffic_limit=self.oss_traffic_limit, restore_archived=self.restore_archived,
            keep_objects=self.keep_objects, accept_other_size=self.accept_other_size,
        )  # fmt: skip

    def transfer(self) -> Transfer:
        """Return what this means as a parameter of the flows."""
        from flows.transfer import Transfer  # noqa: PLC0415  # brings Prefect along
        from image_download.settings import MIB  # noqa: PLC0415

        return Transfer(
            connections=self.connections, bandwidth_limit_mib=self.bandwidth_limit and self.bandwidth_limit / MIB,
            bandwidth_windows=self.bandwidth_windows, bandwidth_timezone=self.bandwidth_timezone,
            oss_traffic_limit=self.oss_traffic_limit, restore_archived=self.restore_archived,
            keep_objects=self.keep_objects, accept_other_size=self.accept_other_size,
        )  # fmt: skip


def transfer_options(function: F) -> F:
    """Add these options to a command, which takes them all together, as the keyword `transfer`."""

    @functools.wraps(function)
    def command(**given: Any) -> Any:
        words = TransferWords(**{field.name: given.pop(field.name) for field in fields(TransferWords)})
        return function(transfer=words, **given)

    options = [
        click.option(
            "--connections", type=click.IntRange(1, 64), default=4, show_default=True, help="Ranges in flight per disk."
        ),
        click.option(
            "--bandwidth-limit", type=parse_rate, metavar="RATE",
            help="For all disks together, in bytes a second: 500K, 50M (MiB/s), 1G.",
        ),
        click.option(
            "--bandwidth-window", "bandwidth_windows", multiple=True, metavar="HH:MM-HH:MM=MIB",
            help="Another limit at a time of the day, as 22:00-06:00=100 (MiB/s). May be repeated.",
        ),
        click.option(
            "--bandwidth-timezone", default="", help="Of the windows, as Asia/Shanghai.  [default: this machine's]"
        ),
        click.option(
            "--oss-traffic-limit", type=click.IntRange(819_200, 838_860_800), metavar="BITS",
            help="Ask OSS to keep each connection below so many bits a second.",
        ),
        click.option(
            "--restore-archived", is_flag=True,
            help="Have OSS restore archived objects, which it charges for, and wait."
        ),
        click.option("--keep-objects", is_flag=True, help="Keep the downloaded archives beside the unpacked disks."),
        click.option(
            "--accept-other-size", is_flag=True, help="Take a disk whose size is not the one the image tells."
        ),
    ]  # fmt: skip
    decorated: Any = command
    for option in reversed(options):
        decorated = option(decorated)
    return cast("F", decorated)
