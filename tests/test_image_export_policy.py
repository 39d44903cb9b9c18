"""Waiting: intervals that grow to a limit, calls repeated only where time may mend them, a stop heard in between."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from image_export.policy import Policy, insist, wait
from migration.errors import CloudRefused, CloudUnavailable, Interrupted
from migration.progress import Stop
from tests.image_export_fixtures import HURRIED


def test_intervals_grow_and_stay_at_the_longest() -> None:
    policy = Policy(first_interval=10, growth=2, longest_interval=30)
    assert list(itertools.islice(policy.intervals(), 4)) == [10, 20, 30, 30]


def test_default_policy_is_mild_to_the_real_cloud() -> None:
    intervals = list(itertools.islice(Policy().intervals(), 50))
    assert min(intervals) >= 1  # the vendor's throttling page: one call a second at most
    assert intervals == sorted(intervals)
    assert intervals[10:] == [30] * 40


def test_insist_calls_again_until_the_cloud_answers() -> None:
    failures = [CloudUnavailable("busy"), CloudUnavailable("busy")]

    def call() -> str:
        if failures:
            raise failures.pop()
        return "answer"

    assert insist(call, patience=60, policy=HURRIED, stop=None) == "answer"


def test_insist_does_not_repeat_what_time_does_not_mend() -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise CloudRefused("no")

    with pytest.raises(CloudRefused, match="no"):
        insist(call, patience=60, policy=HURRIED, stop=None)
    assert len(calls) == 1


def test_insist_raises_the_last_error_when_patience_ends() -> None:
    numbers = itertools.count()

    def call() -> None:
        raise CloudUnavailable(f"busy {next(numbers)}")

    with pytest.raises(CloudUnavailable, match="busy") as caught:
        insist(call, patience=0.05, policy=HURRIED, stop=None)
    assert caught.value.message == f"busy {next(numbers) - 1}"


def test_insist_hears_a_stop_between_two_calls() -> None:
    stop = Stop()

    def call() -> None:
        stop.set()
        raise CloudUnavailable("busy")

    with pytest.raises(Interrupted):
        insist(call, patience=3600, policy=replace(HURRIED, first_interval=600.0), stop=stop)


def test_wait_is_over_at_once_when_somebody_has_asked_to_stop() -> None:
    stop = Stop()
    stop.set()
    with pytest.raises(Interrupted):
        wait(600, stop)
