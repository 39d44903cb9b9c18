"""Says how fast something goes and when it will be done, from what was reported lately."""

from __future__ import annotations

from collections import deque

from migration.storage import format_size

WINDOW = 60.0  # seconds: long enough to be steady, short enough to notice that a network has slowed down
FEWEST = 5.0  # seconds; before that any speed is a guess


class Pace:
    """The pace of one thing whose progress is reported now and then; `now` is on a clock that only goes forward.

    What was there when the first report came was done by an earlier run, and is no part of the speed.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def take(self, now: float, done: int) -> None:
        """Remember a report."""
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[1][0] >= WINDOW:
            self._seen.popleft()

    @property
    def speed(self) -> float:
        """How much is done in a second; 0 where that is not known yet, or nothing goes on."""
        if not self._seen:
            return 0.0
        (began, before), (now, done) = self._seen[0], self._seen[-1]
        return max(0.0, (done - before) / (now - began)) if now - began >= FEWEST else 0.0

    def describe(self, done: int, total: int, *, is_bytes: bool) -> str:
        """Return "1.5 GiB of 40.0 GiB, 35.0 MiB/s, 19 min left", as much of it as can be said."""
        words = [f"{format_size(done)} of {format_size(total)}"] if is_bytes else []
        if self.speed:
            if is_bytes:
                words.append(f"{format_size(self.speed)}/s")
            words.append(f"{describe_duration(max(0, total - done) / self.speed)} left")
        return ", ".join(words)


def describe_duration(seconds: float) -> str:
    """Return a duration as roughly as a person would tell it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
