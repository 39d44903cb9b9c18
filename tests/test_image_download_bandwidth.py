"""All connections of all disks share one limit, which neither stops them from ending nor looks like a bad network.

Times are asserted from below only: a busy machine makes them longer, never shorter.
"""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from image_download.bandwidth import KIB, UNLIMITED, Bandwidth
from image_download.settings import DownloadSettings
from migration.errors import Interrupted, InvalidInput
from tests.image_download_fixtures import MIB, QUICK, Home, home, put_disk

__all__ = ["home"]

pytestmark = pytest.mark.slow

DATA_KEY = "m-bp1test_data_xvdb.raw"


def test_limit_holds_for_all_who_share_it() -> None:
    limit, halt, begun = Bandwidth(64 * KIB), threading.Event(), time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: limit.pay(4 * KIB, halt), range(8)))
    assert time.monotonic() - begun >= 0.5  # seconds for 32 KiB


def test_silence_is_no_credit_for_a_burst() -> None:
    limit, halt = Bandwidth(64 * KIB), threading.Event()
    limit.pay(KIB, halt)
    time.sleep(0.3)
    assert limit.pay(16 * KIB, halt) >= 0.25


def test_halt_ends_the_wait() -> None:
    limit, halt = Bandwidth(64 * KIB), threading.Event()
    waiting = threading.Thread(target=limit.pay, args=(64 * MIB, halt), daemon=True)
    waiting.start()
    halt.set()
    waiting.join(timeout=60)  # of the 1024 that it was to wait
    assert not waiting.is_alive()


def test_slices_are_small_so_that_nobody_waits_long() -> None:
    assert Bandwidth(64 * KIB).slice(MIB) == 4 * KIB
    assert Bandwidth(1024 * MIB).slice(MIB) == 256 * KIB
    assert Bandwidth(MIB).slice(100) == 100
    assert UNLIMITED.slice(MIB) == MIB


def test_limit_that_would_starve_the_connections_is_refused() -> None:
    with pytest.raises(InvalidInput, match="64K"):
        Bandwidth(1000)


def test_disks_fetched_at_once_share_the_limit(home: Home) -> None:
    content = random.Random(1).randbytes(MIB)
    objects = [put_disk(home.cloud, content), put_disk(home.cloud, content, key=DATA_KEY)]
    settings = replace(QUICK, bandwidth=Bandwidth(2 * MIB))
    begun = time.monotonic()
    with ThreadPoolExecutor() as pool:
        disks = list(pool.map(lambda exported: home.download(exported, settings), objects))
    # 2 MiB in all; two limits of their own would let them be here in half of the time.
    assert time.monotonic() - begun >= 0.9
    assert [disk.path.read_bytes() for disk in disks] == [content, content]


def test_limited_connection_is_not_taken_for_a_dead_one(home: Home) -> None:
    """The limit lets half of the bytes come that a living connection must bring."""
    exported = put_disk(home.cloud, random.Random(2).randbytes(64 * KIB))
    settings = replace(
        QUICK, bandwidth=Bandwidth(64 * KIB), slowest_rate=128 * KIB, slowest_over=0.2, idle_timeout=0.2
    )  # fmt: skip
    disk = home.download(exported, settings)
    assert disk.crc64 == exported.crc64
    assert len(home.ranges) == 1


def test_stop_does_not_wait_for_the_limit(home: Home) -> None:
    exported = put_disk(home.cloud, bytes(8 * MIB))  # 128 s at this limit
    stop = threading.Event()

    def stop_at_once(done: int, _: int) -> None:
        if done:
            stop.set()

    with pytest.raises(Interrupted):
        home.download(exported, replace(QUICK, bandwidth=Bandwidth(64 * KIB)), progress=stop_at_once, stop=stop)


def test_traffic_limit_is_asked_of_oss_with_every_range(home: Home) -> None:
    exported = put_disk(home.cloud, random.Random(3).randbytes(200 * KIB))
    disk = home.download(exported, replace(QUICK, oss_traffic_limit=8_192_000))
    assert disk.crc64 == exported.crc64
    asked = [call.params["x-oss-traffic-limit"] for call in home.cloud.calls]
    assert asked == ["8192000"] * 4


@pytest.mark.parametrize("limit", [0, 819_199, 838_860_801])
def test_traffic_limit_that_oss_would_not_take_is_refused(limit: int) -> None:
    with pytest.raises(InvalidInput, match="bit/s"):
        DownloadSettings(oss_traffic_limit=limit)
