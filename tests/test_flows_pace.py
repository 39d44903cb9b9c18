"""How fast and how long: told from what was reported lately, and not before it can be known."""

from __future__ import annotations

import pytest

from flows.pace import WINDOW, Pace, describe_duration

MIB = 1024**2


def paced(*reports: tuple[float, int]) -> Pace:
    pace = Pace()
    for now, done in reports:
        pace.take(now, done)
    return pace


def test_speed_and_time_left_are_told_once_they_can_be_known() -> None:
    assert paced().describe(0, 10 * MIB, is_bytes=True) == "0 B of 10.0 MiB"
    assert paced((100.0, 0), (102.0, MIB)).describe(MIB, 10 * MIB, is_bytes=True) == "1.0 MiB of 10.0 MiB"
    known = paced((100.0, 0), (110.0, 20 * MIB))
    assert known.describe(20 * MIB, 40 * MIB, is_bytes=True) == "20.0 MiB of 40.0 MiB, 2.0 MiB/s, 10 s left"


def test_what_an_earlier_run_had_done_is_no_speed() -> None:
    assert paced((0.0, 1000 * MIB), (10.0, 1010 * MIB)).speed == MIB


def test_network_that_slows_down_shows_within_a_minute() -> None:
    fast = [(float(second), second * 100 * MIB) for second in range(100)]
    slow = [(100.0 + second, (9_900 + second) * MIB) for second in range(int(WINDOW) + 2)]
    assert paced(*fast, *slow).speed == pytest.approx(MIB, rel=0.05)


def test_percent_has_no_bytes_and_standstill_no_end() -> None:
    assert paced((0.0, 10), (10.0, 20)).describe(20, 100, is_bytes=False) == "80 s left"
    assert paced((0.0, 10), (10.0, 10)).describe(10, 100, is_bytes=False) == ""


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.2, "1 s"), (89, "89 s"), (95, "2 min"), (7100, "118 min"), (7300, "2 h 2 min")]
)
def test_duration_is_told_as_a_person_would(seconds: float, told: str) -> None:
    assert describe_duration(seconds) == told
