"""A real Glance for the tests of one module, and a box on the way to it that can be told to misbehave."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.glance_proxy import GlanceProxy, glance_proxy
from tests.glance_service import Glance, reason_to_skip, run_glance


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glance]:
    if reason := reason_to_skip():
        pytest.skip(reason)
    with run_glance(tmp_path_factory.mktemp("glance")) as running:
        yield running


@pytest.fixture
def box(real: Glance) -> Iterator[GlanceProxy]:
    with glance_proxy(real.port) as running:
        yield running
