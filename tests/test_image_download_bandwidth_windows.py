"""At every moment of the week exactly one limit holds, the one that is written down for it."""

from __future__ import annotations

from datetime import datetime, time, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_download import bandwidth
from image_download.bandwidth import Bandwidth
from image_download.bandwidth_windows import make_plan, parse_window
from image_download.settings import MIB
from migration.errors import InvalidInput

MONDAY = datetime(2026, 11, 23, tzinfo=timezone.utc)


def at(day: int, clock: str) -> datetime:
    hour, minute = (int(word) for word in clock.split(":"))
    return MONDAY + timedelta(days=day, hours=hour, minutes=minute)


@pytest.mark.parametrize(
    ("window", "moment", "rate"),
    [
        pytest.param("22:00-06:00=100", at(0, "22:00"), 100, id="its-first-moment"),
        pytest.param("22:00-06:00=100", at(0, "05:59"), 100, id="over-midnight"),
        pytest.param("22:00-06:00=100", at(0, "06:00"), 7, id="its-end-is-outside"),
        pytest.param("08:00-18:00=10", at(0, "12:00"), 10, id="daytime"),
        pytest.param("08:00-18:00=10", at(0, "18:00"), 7, id="evening"),
        pytest.param("Mon-Fri 08:00-18:00=10", at(5, "12:00"), 7, id="saturday"),
        pytest.param("Fri-Mon 08:00-18:00=10", at(6, "12:00"), 10, id="days-over-the-weeks-end"),
        pytest.param("Fri 22:00-06:00=10", at(5, "05:00"), 10, id="belongs-to-the-day-it-starts-on"),
        pytest.param("Fri 22:00-06:00=10", at(4, "05:00"), 7, id="not-to-the-day-it-ends-on"),
        pytest.param("00:00-24:00=10", at(3, "00:00"), 10, id="the-whole-day"),
        pytest.param("22:00-06:00=0.5", at(0, "23:00"), 0.5, id="less-than-a-mib"),
        pytest.param("22:00-06:00=unlimited", at(0, "23:00"), None, id="unlimited"),
    ],
)
def test_window_holds_when_it_says(window: str, moment: datetime, rate: float | None) -> None:
    plan = make_plan([window], otherwise=7 * MIB, zone="UTC")
    assert plan.rate_at(moment) == (None if rate is None else int(rate * MIB))


def test_first_window_that_covers_counts_and_the_zone_is_the_named_one() -> None:
    plan = make_plan(["22:00-23:00=1", "20:00-06:00=2"], otherwise=None, zone="Asia/Shanghai")
    assert plan.rate_at(at(0, "14:30")) == MIB  # 22:30 there
    assert plan.rate_at(at(0, "15:30")) == 2 * MIB
    assert plan.rate_at(at(0, "23:00")) is None  # 07:00 there


@pytest.mark.parametrize(
    "text",
    ["", "22:00-06:00", "22-06=100", "25:00-06:00=1", "22:60-06:00=1", "22:00-06:00=0", "22:00-06:00=-1",
     "22:00-06:00=0.01", "Foo 22:00-06:00=1", "22:00-06:00=100M", "22:00-06:00=1e9", "24:30-01:00=1", "٢٢:00-06:00=1"],
)  # fmt: skip
def test_what_is_no_window_is_refused_with_how_one_is_written(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_window(text)


def test_zone_that_is_none_is_refused() -> None:
    for name in ("Mars/Base", "../../etc/passwd", "CSTT"):
        with pytest.raises(InvalidInput, match="no time zone"):
            make_plan([], otherwise=None, zone=name)


clocks = st.times().map(lambda moment: moment.replace(second=0, microsecond=0))


@given(start=clocks, end=clocks, minute=st.integers(0, 7 * 24 * 60 - 1))
def test_window_covers_as_many_minutes_as_it_is_long(start: time, end: time, minute: int) -> None:
    window = parse_window(f"{start:%H:%M}-{end:%H:%M}=1")
    moment = MONDAY + timedelta(minutes=minute)
    since = (moment.hour * 60 + moment.minute - start.hour * 60 - start.minute) % 1440
    length = (end.hour * 60 + end.minute - start.hour * 60 - start.minute) % 1440 or 1440
    assert window.covers(moment) is (since < length)


@given(st.text(max_size=30))
def test_any_text_is_a_window_or_refused(text: str) -> None:
    try:
        window = parse_window(text)
    except InvalidInput:
        return
    assert window.days


def test_download_under_way_follows_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandwidth, "ASK_EVERY", 0.0)
    rates: list[int | None] = [None]
    limit = Bandwidth(plan=lambda: rates[0])
    assert limit.bytes_per_second is None
    assert limit.slice(64 * MIB) == bandwidth.LARGEST_SLICE, "what is read now may have to be paid for later"
    rates[0] = MIB
    assert limit.slice(64 * MIB) == MIB // bandwidth.SLICES
    rates[0] = None
    assert limit.bytes_per_second is None
