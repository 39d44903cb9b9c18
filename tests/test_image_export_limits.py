"""Limits of the cloud: dated, sourced, and anybody's to override."""

from __future__ import annotations

import dataclasses

import pytest

from image_export.limits import LIMITS, Limit


def test_every_limit_says_since_when_and_who_says_so() -> None:
    limits = [value for field in dataclasses.fields(LIMITS) if isinstance(value := getattr(LIMITS, field.name), Limit)]
    assert limits
    assert all(limit.as_of and limit.source for limit in limits)


def test_override_changes_one_limit_and_says_that_the_caller_did() -> None:
    changed = LIMITS.override(data_disks=16)
    assert (changed.data_disks.value, changed.data_disks.source) == (16, "given by the caller")
    assert changed.data_disk_size == LIMITS.data_disk_size


def test_override_refuses_a_limit_that_does_not_exist() -> None:
    with pytest.raises(TypeError, match="data_discs"):
        LIMITS.override(data_discs=16)
