"""A proxy that cannot be meant is refused by everything that speaks to the cloud, and nothing of it is shown."""

from __future__ import annotations

import pytest

from image_export.ecs import find_proxies
from migration.cloud import Cloud
from migration.credentials import Credentials
from migration.errors import InvalidInput
from migration.oss import open_bucket
from migration.proxy import check_proxies

KEYS = Credentials(access_key_id="id", access_key_secret="secret")


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "all_proxy"])
@pytest.mark.parametrize("password", ["wr0ng/word", "wr0ng#word", "wr0ng?word", "123/wr0ng"])
def test_password_that_is_not_written_as_in_a_url_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, variable: str, password: str
) -> None:
    monkeypatch.setenv(variable, f"http://ferry:{password}@proxy.example:3128")
    with pytest.raises(InvalidInput, match=variable.upper()) as caught:
        check_proxies()
    assert "wr0ng" not in f"{caught.value}{caught.value.__cause__}"


@pytest.mark.parametrize(
    "value",
    ["", "proxy.example:3128", "http://proxy.example", "http://name:p%2Fw@proxy.example:3128/", "http://[::1]:3128",
     "socks5://proxy.example:1080"],
)  # fmt: skip
def test_proxy_that_can_be_meant_is_taken(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)
    check_proxies()


def test_whoever_speaks_to_the_cloud_looks_at_the_proxy_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://ferry:wr0ng/word@proxy.example:3128")
    with pytest.raises(InvalidInput):
        open_bucket(Cloud(region_id="cn-hangzhou"), lambda: KEYS, "bucket")
    with pytest.raises(InvalidInput):
        find_proxies("https://ecs.cn-hangzhou.aliyuncs.com")
    open_bucket(Cloud(region_id="cn-hangzhou", oss_endpoint="127.0.0.1:9"), lambda: KEYS, "bucket")
