"""Knows how many bytes a second may be taken at which time of the day: less while others work, more at night."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from image_download.bandwidth import KIB, SMALLEST_LIMIT, Bandwidth
from image_download.settings import MIB
from migration.errors import InvalidInput

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
UNLIMITED = "unlimited"

_WINDOW = re.compile(
    r"(?:(?P<first>[a-z]{3})(?:-(?P<last>[a-z]{3}))? +)?"
    r"(?P<start>\d{1,2}:\d\d)-(?P<end>\d{1,2}:\d\d)=(?P<rate>unlimited|\d{1,7}(?:\.\d{1,3})?)",
    re.ASCII,
)
_HOW = "write HH:MM-HH:MM=MIB, as 22:00-06:00=100 or Mon-Fri 08:00-18:00=10; unlimited in place of the number lifts it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A part of some days, from `start` on, and the bytes a second that may be taken in it; None is no limit.

    `days` are those on which it starts, Monday is 0. One that ends no later than it starts ends on the next day.
    """

    days: frozenset[int]
    start: time
    end: time
    rate: int | None

    def covers(self, moment: datetime) -> bool:
        """Return whether a time of the day at the window's place lies in it."""
        now, today = moment.time(), moment.weekday()
        if self.start < self.end:
            return today in self.days and self.start <= now < self.end
        yesterday = (moment - timedelta(days=1)).weekday()
        return (today in self.days and now >= self.start) or (yesterday in self.days and now < self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class BandwidthPlan:
    """Windows, of which the first that covers a moment counts, and what holds outside of them all."""

    windows: tuple[Window, ...]
    otherwise: int | None
    zone: tzinfo | None  # None: that of this machine

    def rate_at(self, moment: datetime) -> int | None:
        """Return the bytes a second at a moment (with a time zone), None for no limit."""
        here = moment.astimezone(self.zone)
        return next((window.rate for window in self.windows if window.covers(here)), self.otherwise)

    def rate_now(self) -> int | None:
        """Return the bytes a second now."""
        return self.rate_at(datetime.now().astimezone())


def make_plan(windows: Sequence[str], *, otherwise: int | None, zone: str = "") -> BandwidthPlan:
    """Return the plan that `windows` write down; `zone` as Asia/Shanghai. Raises `InvalidInput`."""
    return BandwidthPlan(windows=tuple(parse_window(one) for one in windows), otherwise=otherwise, zone=find_zone(zone))


def make_bandwidth(windows: Sequence[str], limit: int | None, zone: str = "") -> Bandwidth:
    """Return a new limit, which follows the windows where there are any. Raises `InvalidInput`."""
    plan = make_plan(windows, otherwise=limit, zone=zone)
    return Bandwidth(plan=plan.rate_now) if windows else Bandwidth(limit)


def find_zone(name: str) -> tzinfo | None:
    """Return the time zone `name`, None for "". Raises `InvalidInput`."""
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise InvalidInput(f"{name!r} is no time zone of this machine", "as Asia/Shanghai or UTC") from error


def parse_window(text: str) -> Window:
    """Return the window that a text such as `22:00-06:00=100` (MiB a second) means. Raises `InvalidInput`."""
    match = _WINDOW.fullmatch(text.strip().lower())
    if match is None:
        raise InvalidInput(f"{text!r} is no bandwidth window", _HOW)
    rate = None if match["rate"] == UNLIMITED else int(float(match["rate"]) * MIB)
    if rate is not None and rate < SMALLEST_LIMIT:
        raise InvalidInput(
            f"{text!r} is too little", f"give {SMALLEST_LIMIT / MIB:g} ({SMALLEST_LIMIT // KIB}K) or more"
        )
    return Window(
        days=_parse_days(text, match["first"], match["last"]),
        start=_parse_time(text, match["start"]), end=_parse_time(text, match["end"]), rate=rate,
    )  # fmt: skip


def _parse_days(text: str, first: str | None, last: str | None) -> frozenset[int]:
    if first is None:
        return frozenset(range(7))
    if not {first, last or first} <= set(DAYS):
        raise InvalidInput(f"{text!r}: a day is none", "days are Mon, Tue, Wed, Thu, Fri, Sat, Sun")
    start, end = DAYS.index(first), DAYS.index(last or first)
    return frozenset((start + step) % 7 for step in range((end - start) % 7 + 1))


def _parse_time(text: str, word: str) -> time:
    hour, minute = (int(part) for part in word.split(":"))
    if (hour, minute) == (24, 0):
        return time(0)
    if hour > 23 or minute > 59:
        raise InvalidInput(f"{text!r}: {word} is no time of the day", _HOW)
    return time(hour, minute)
