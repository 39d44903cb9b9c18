"""The fault matrix: whatever the network does, the disk comes home byte by byte, and nothing finished is asked again.

Every fault is that of a real server on loopback: `tests.middle_box`, or the emulator behind it.
"""

from __future__ import annotations

import logging
import random
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emulator.server import EmulatedCloud, Variants
from image_download.bandwidth import Bandwidth
from image_download.download import download_disk
from image_download.settings import DownloadSettings
from migration.credentials import Credentials, CredentialSource
from migration.disk import Disk
from migration.errors import CloudRefused, CloudUnavailable, CorruptData, SourceChanged
from migration.exported_object import ExportedObject
from migration.workspace import Workspace, open_workspace
from tests import middle_box as spoil
from tests.image_download_fixtures import KIB, MIB, QUICK, put_disk
from tests.middle_box import Answer, MiddleBox, Spoil, middle_box

pytestmark = pytest.mark.slow

CONTENT = random.Random(12).randbytes(20 * 64 * KIB)  # 20 parts, none of them a hole
# A second is long for loopback, also on a busy machine: only what is meant to be given up is given up.
IMPATIENT = replace(QUICK, read_timeout=1, slowest_rate=4 * KIB, slowest_over=1)


class Bench:
    """A download from an emulated cloud through a box that may spoil it."""

    def __init__(self, cloud: EmulatedCloud, workspace: Workspace) -> None:
        self.cloud, self.workspace = cloud, workspace
        self.exported = put_disk(cloud, CONTENT)

    def download(self, box: MiddleBox, settings: DownloadSettings = QUICK, **options: Any) -> Disk:
        """Download by way of the box; `endpoint` and `credentials` in place of the usual ones."""
        cloud = replace(self.cloud.cloud, oss_endpoint=options.pop("endpoint", box.endpoint))
        keys: CredentialSource = options.pop("credentials", self.cloud.credentials)
        exported: ExportedObject = options.pop("exported", self.exported)
        return download_disk(self.workspace, cloud, keys, exported, settings=settings, **options)

    def box(self, does: Spoil = Answer.send, hits: Any = ()) -> Any:
        return middle_box(self.cloud.oss_endpoint, does, hits)


@pytest.fixture
def bench(tmp_path: Path, emulated_cloud: EmulatedCloud) -> Iterator[Bench]:
    with open_workspace(tmp_path / "workspace") as workspace:
        yield Bench(emulated_cloud, workspace)


@pytest.mark.parametrize(
    "does",
    [
        pytest.param(spoil.reset, id="reset in mid-body"),
        pytest.param(spoil.reset_at_once, id="reset before an answer"),
        pytest.param(spoil.truncate, id="body cut short"),
        pytest.param(spoil.says(500, "InternalError"), id="500"),
        pytest.param(spoil.says(500), id="500 without a text"),
        pytest.param(spoil.says(502), id="502 without a text"),
        pytest.param(spoil.says(503, "ServiceUnavailable"), id="503"),
        pytest.param(spoil.says(503, "SlowDown", x_oss_qos_delay_time="300"), id="503 throttled"),
        pytest.param(spoil.says(503, "DownloadTrafficRateLimitExceeded"), id="503 traffic"),
        pytest.param(spoil.says(504), id="504"),
        pytest.param(spoil.says(429, "TooManyRequests", Retry_After="1"), id="429"),
        pytest.param(spoil.says(400, "RequestTimeout"), id="400 slow client"),
        pytest.param(spoil.wrong_range, id="wrong Content-Range"),
        pytest.param(spoil.ignore_range, id="200 for a range"),
        pytest.param(spoil.login_page, id="login page"),
        pytest.param(spoil.compress, id="compressed on the way"),
        pytest.param(spoil.compress_chunked, id="compressed on the way, of unknown length"),
        pytest.param(spoil.babble, id="no HTTP at all"),
    ],
)
def test_fault_costs_only_the_answers_it_hits(bench: Bench, does: Spoil) -> None:
    with bench.box(does, hits={2, 3, 5, 9, 16}) as box:
        disk = bench.download(box)
    assert disk.path.read_bytes() == CONTENT
    assert box.spoiled == 5
    assert box.asked_again == []
    assert len(box.ranges) == 20 + box.spoiled


@pytest.mark.parametrize(
    "does",
    [
        pytest.param(spoil.stall, id="silence in mid-body"),
        pytest.param(spoil.trickle, id="a slow byte now and then"),
    ],
)
def test_connection_that_is_all_but_dead_is_given_up_for_a_new_one(bench: Bench, does: Spoil) -> None:
    with bench.box(does, hits={2, 3, 9}) as box:
        disk = bench.download(box, IMPATIENT)
    assert disk.path.read_bytes() == CONTENT
    assert box.spoiled == 3
    assert box.asked_again == []


def test_many_faults_of_the_cloud_itself_are_outlasted(bench: Bench) -> None:
    bench.cloud.variants = Variants(reset_gets=9, truncate_gets=9, unavailable_gets=9)
    with bench.box() as box:
        disk = bench.download(box)
    assert disk.path.read_bytes() == CONTENT
    assert box.asked_again == []


def test_object_replaced_in_mid_download_is_noticed_though_a_cache_hides_it(bench: Bench) -> None:
    def other_etag(answer: Answer) -> None:
        answer.headers["etag"] = '"OTHER"'
        answer.send()

    with bench.box(other_etag, hits={9}) as box:
        with pytest.raises(SourceChanged):
            bench.download(box)
        disk = bench.download(box)  # and it was a mistake: what had come is still of this object
    assert disk.path.read_bytes() == CONTENT
    assert len(box.asked_again) < QUICK.connections  # only what the others were just reading


def test_bit_that_flips_on_the_way_is_never_taken_for_the_disk(bench: Bench) -> None:
    def flip(answer: Answer) -> None:
        answer.body = bytes([answer.body[0] ^ 1]) + answer.body[1:]
        answer.send()

    with bench.box(flip, hits={9}) as box:
        with pytest.raises(CorruptData, match="CRC-64"):
            bench.download(box)
        assert list(bench.workspace.disks.iterdir()) == []
        disk = bench.download(box)
    assert disk.path.read_bytes() == CONTENT


class Tokens:
    """A source of temporary keys whose token is replaced `late` askings after the old one has expired."""

    def __init__(self, cloud: EmulatedCloud, late: int) -> None:
        self._cloud, self._late = cloud, late
        self.asked_since = 0
        cloud.variants = Variants(security_token="t0ken-1")

    def expire(self, done: int, total: int) -> None:
        """Let the first token expire in mid-download."""
        if done > total // 3 and self._cloud.variants.security_token == "t0ken-1":
            self._cloud.variants = Variants(security_token="t0ken-2")

    def ask(self) -> Credentials:
        found = self._cloud.credentials()
        if found.security_token == "t0ken-2":
            self.asked_since += 1
            if self.asked_since <= self._late:
                return replace(found, security_token="t0ken-1")
        return found


SLOWLY = replace(QUICK, bandwidth=Bandwidth(2 * MIB))  # so that there is time to interfere


def test_token_that_expires_in_mid_download_is_asked_for_again(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    tokens = Tokens(bench.cloud, late=5)
    with bench.box() as box:
        disk = bench.download(box, SLOWLY, credentials=tokens.ask, progress=tokens.expire)
    assert disk.path.read_bytes() == CONTENT
    assert tokens.asked_since > 5
    assert box.asked_again == []
    assert "t0ken" not in caplog.text


def test_token_that_nobody_renews_ends_the_download_and_the_next_goes_on(bench: Bench) -> None:
    tokens = Tokens(bench.cloud, late=1_000_000)
    with bench.box() as box:
        with pytest.raises(CloudRefused, match="InvalidSecurityToken") as caught:
            bench.download(box, SLOWLY, credentials=tokens.ask, progress=tokens.expire)
        assert not caught.value.transient
        assert "get new credentials" in caught.value.remedy
        finished = [one for one in box.ranges if one.passed_on]
        disk = bench.download(box)
    assert disk.path.read_bytes() == CONTENT
    assert len(finished) > QUICK.connections
    assert len(box.asked_again) < QUICK.connections  # only what the others were just reading


def test_keys_that_cannot_be_had_for_a_while_are_waited_for(bench: Bench) -> None:
    asked = 0

    def ask() -> Credentials:
        nonlocal asked
        asked += 1
        if 6 <= asked < 20:
            raise CloudUnavailable("the metadata service does not answer", "wait")
        return bench.cloud.credentials()

    with bench.box() as box:
        disk = bench.download(box, credentials=ask)
    assert disk.path.read_bytes() == CONTENT
    assert asked > 20
    assert box.asked_again == []


@pytest.mark.parametrize(("seconds", "words"), [(1800, "30 min ahead of"), (-7200, "120 min behind")])
def test_clock_that_is_wrong_is_named_and_by_how_much(bench: Bench, seconds: float, words: str) -> None:
    with bench.box() as box:
        bench.cloud.variants = Variants(clock_ahead_seconds=seconds)
        with pytest.raises(CloudRefused, match=words) as caught:
            bench.download(box)
        assert not caught.value.transient
        assert "timedatectl" in caught.value.remedy
        assert len(box.ranges) <= QUICK.connections  # refused at once, not again and again
        bench.cloud.variants = Variants(clock_ahead_seconds=seconds / abs(seconds) * 600)  # OSS bears a quarter hour
        disk = bench.download(box)
    assert disk.path.read_bytes() == CONTENT


def test_names_that_cannot_be_resolved_for_a_while_are_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Patched because a resolver that fails for a moment cannot be had on loopback without touching this
    # machine's own /etc/resolv.conf.
    resolve, failures = socket.getaddrinfo, 0

    def unwell(host: Any, *rest: Any, **options: Any) -> Any:
        nonlocal failures
        if host == "localhost" and box.spoiled and failures < 12:
            failures += 1
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return resolve(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", unwell)
    # The connections are cut, so that names must be resolved again.
    with bench.box(spoil.reset, hits=range(5, 13)) as box:
        disk = bench.download(box, endpoint=f"localhost:{box.port}")
    assert disk.path.read_bytes() == CONTENT
    assert failures == 12
    assert box.asked_again == []


def gone_after(box: MiddleBox, parts: int, *, back_after: float | None) -> threading.Thread:
    """Let the box leave, connections and all, once it has passed on some parts; and come back some time later."""

    def work() -> None:
        while sum(one.passed_on for one in box.ranges) < parts:
            time.sleep(0.005)
        box.leave()
        if back_after is not None:
            time.sleep(back_after)
            box.come_back()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_server_that_is_gone_for_a_while_is_waited_for(bench: Bench) -> None:
    with bench.box() as box:
        absence = gone_after(box, 5, back_after=0.5)
        disk = bench.download(box, SLOWLY)
        absence.join()
    assert disk.path.read_bytes() == CONTENT
    # Passed on is not yet received: what was in the sockets when they were cut is asked for again.
    assert len(box.asked_again) <= QUICK.connections


def test_network_that_is_down_for_too_long_ends_the_download_and_the_next_goes_on(bench: Bench) -> None:
    with bench.box() as box:
        absence = gone_after(box, 5, back_after=None)
        with pytest.raises(CloudUnavailable, match="bp1test_system") as caught:
            bench.download(box, replace(SLOWLY, idle_timeout=0.5))
        assert caught.value.transient
        absence.join()
        box.come_back()
        before = len(box.ranges)
        disk = bench.download(box)
        assert len(box.ranges) - before <= 15 + QUICK.connections
    assert disk.path.read_bytes() == CONTENT
