"""The emulated cloud starts, answers and ends without a trace."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from emulator.server import EmulatedCloud
from emulator.server import emulated_cloud as run_emulated_cloud
from migration.errors import InvalidInput
from migration.oss import open_bucket
from tests.conftest import BUCKET


def test_cloud_answers_both_services_on_loopback(emulated_cloud: EmulatedCloud) -> None:
    bucket = open_bucket(emulated_cloud.cloud, emulated_cloud.credentials, BUCKET)
    assert bucket.get_bucket_location().location == "oss-cn-hangzhou"
    assert emulated_cloud.ecs_endpoint.startswith("127.0.0.1:")


def test_cloud_ends_its_threads_with_the_block(account: Path) -> None:
    before = threading.active_count()
    with run_emulated_cloud(account):
        assert threading.active_count() > before
    assert threading.active_count() == before


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.com"])  # noqa: S104
def test_cloud_refuses_a_host_that_is_not_this_machine(account: Path, host: str) -> None:
    with pytest.raises(InvalidInput, match="loopback only"), run_emulated_cloud(account, host=host):
        pass
