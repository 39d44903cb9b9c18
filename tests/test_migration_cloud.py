"""Endpoints: HTTPS to the real cloud, always; plain http to this machine alone."""

from __future__ import annotations

import pytest

from migration.cloud import Cloud, endpoint_url, is_loopback
from migration.errors import InvalidInput


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        pytest.param("ecs.cn-hangzhou.aliyuncs.com", "https://ecs.cn-hangzhou.aliyuncs.com", id="host"),
        pytest.param("https://ecs.example/", "https://ecs.example", id="url"),
        pytest.param("ecs.example:8443", "https://ecs.example:8443", id="port"),
        pytest.param("127.0.0.1:8123", "http://127.0.0.1:8123", id="loopback"),
        pytest.param("localhost:8123", "http://localhost:8123", id="localhost"),
        pytest.param("[::1]:8123", "http://[::1]:8123", id="loopback-ipv6"),
        pytest.param("https://127.0.0.1:8123", "https://127.0.0.1:8123", id="loopback-with-https"),
        pytest.param("127.9.9.9", "http://127.9.9.9", id="loopback-net"),
    ],
)
def test_endpoint_url_is_https_except_on_loopback(endpoint: str, url: str) -> None:
    assert endpoint_url(endpoint) == url


@pytest.mark.parametrize(
    "endpoint",
    [
        pytest.param("http://ecs.cn-hangzhou.aliyuncs.com", id="http-to-the-cloud"),
        pytest.param("HTTP://ecs.cn-hangzhou.aliyuncs.com", id="http-in-capitals"),
        pytest.param("http://127.0.0.1.example.com", id="loopback-lookalike"),
        pytest.param("http://localhost.example.com", id="localhost-lookalike"),
        pytest.param("http://10.0.0.1", id="http-to-the-lan"),
        pytest.param("ftp://ecs.example", id="ftp"),
        pytest.param("https://user:password@ecs.example", id="user"),
        pytest.param("https://ecs.example/path", id="path"),
        pytest.param("https://ecs.example?x=1", id="query"),
        pytest.param("ecs.example:port", id="port-that-is-none"),
        pytest.param("", id="empty"),
        pytest.param("https://", id="no-host"),
    ],
)
def test_endpoint_url_refuses_what_would_show_keys_or_is_no_endpoint(endpoint: str) -> None:
    with pytest.raises(InvalidInput):
        endpoint_url(endpoint)


def test_cloud_knows_the_usual_endpoints_of_a_region() -> None:
    cloud = Cloud(region_id="cn-hangzhou")
    assert (cloud.ecs_url, cloud.oss_url) == (
        "https://ecs.cn-hangzhou.aliyuncs.com", "https://oss-cn-hangzhou.aliyuncs.com",
    )  # fmt: skip


@pytest.mark.parametrize("field", ["ecs_endpoint", "oss_endpoint"])
def test_cloud_refuses_a_bad_endpoint_when_it_is_made(field: str) -> None:
    with pytest.raises(InvalidInput):
        Cloud(region_id="cn-hangzhou", **{field: "http://example.com"})  # type: ignore[arg-type]  # both are strings


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("127.0.0.1", True), ("::1", True), ("0.0.0.0", False), ("10.0.0.1", False), ("a.b", False)],  # noqa: S104
)
def test_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
