"""Knows how long to wait for the cloud: intervals that grow, patience that ends, a stop that is heard at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from migration.errors import MigrationError
from migration.progress import Stop, check_stop

log = logging.getLogger(__name__)

T = TypeVar("T")

GLANCE = 0.5  # seconds between two looks at `stop`


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Intervals and patiences, all in seconds. The defaults are for the real cloud.

    The vendor's throttling page asks for polling that backs off, at one call a second at most. The first
    looks come soon, as refusals and failures do; an export takes minutes to hours, so that later a look
    every half minute loses nothing.
    """

    first_interval: float = 2.0
    longest_interval: float = 30.0
    growth: float = 1.4
    read_timeout: float = 20.0  # of one call; the SDK's own 10 s would lose more replies

    answer_patience: float = 120.0  # for a call that only reads, before the export runs
    silence_patience: float = 1800.0  # following a task: without any answer at all
    busy_patience: float = 3600.0  # for a free place among concurrent exports, or for another's export of the image
    lost_reply_patience: float = 120.0  # until a task that nobody sees is taken not to exist
    missing_task_patience: float = 60.0  # until a task that DescribeTaskAttribute does not know is taken as gone
    objects_patience: float = 60.0  # until the objects of a finished task must be there
    cancel_patience: float = 600.0  # until a cancelled task must be settled

    def intervals(self) -> Iterator[float]:
        """Yield how long to wait after each look, without end."""
        interval = self.first_interval
        while True:
            yield interval
            interval = min(interval * self.growth, self.longest_interval)


def wait(seconds: float, stop: Stop | None) -> None:
    """Wait, or raise `Interrupted` at most half a second after somebody set `stop`."""
    deadline = time.monotonic() + seconds
    check_stop(stop)
    while (left := deadline - time.monotonic()) > 0:
        if stop is None:
            time.sleep(min(left, GLANCE))
        else:
            stop.wait(min(left, GLANCE))
            check_stop(stop)


def insist(call: Callable[[], T], *, patience: float, policy: Policy, stop: Stop | None) -> T:
    """Return what `call` returns, calling again for as long as it fails in a way that time may mend.

    After `patience` seconds its last error is raised. Only for calls that change nothing.
    """
    deadline = time.monotonic() + patience
    intervals = policy.intervals()
    while True:
        check_stop(stop)
        try:
            return call()
        except MigrationError as error:
            interval = next(intervals)
            if not error.transient or time.monotonic() + interval > deadline:
                raise
            log.info("The cloud does not answer, asking again in %.0f s: %s", interval, error.message)
        wait(interval, stop)
