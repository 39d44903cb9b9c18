"""Knows how to reach one region's ECS and OSS: which host, always by HTTPS unless it is this machine."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from migration.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """A region of the cloud, with endpoints where they are not the region's usual ones.

    An endpoint is `host[:port]` or a URL. http is accepted for loopback only: the SDKs' own default
    for ECS is plain http even to the real service (aliyun-python-sdk-core 2.16).
    `oss_is_cname` says that `oss_endpoint` is a custom domain bound to the one bucket, which
    accounts opened since 2025-03-20 need for data in mainland China.
    """

    region_id: str
    ecs_endpoint: str = ""
    oss_endpoint: str = ""
    oss_is_cname: bool = False

    def __post_init__(self) -> None:
        for name in ("ecs_endpoint", "oss_endpoint"):
            endpoint_url(getattr(self, name) or "localhost")

    @property
    def ecs_url(self) -> str:
        """The ECS endpoint with its scheme (source: vendor's endpoint table, `ecs.<region>.aliyuncs.com`)."""
        return endpoint_url(self.ecs_endpoint or f"ecs.{self.region_id}.aliyuncs.com")

    @property
    def oss_url(self) -> str:
        """The OSS endpoint with its scheme (source: vendor's regions and endpoints page)."""
        return endpoint_url(self.oss_endpoint or f"oss-{self.region_id}.aliyuncs.com")


def endpoint_url(endpoint: str) -> str:
    """Return `endpoint` with a scheme: https, or http where it is loopback and nothing else was said.

    Raises `InvalidInput` for http to anywhere but this machine, and for what is no endpoint.
    """
    has_scheme = "://" in endpoint
    parts = urlsplit(endpoint if has_scheme else f"//{endpoint}")
    try:
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not host or parts.path.strip("/") or parts.query or parts.username:
        raise InvalidInput(f"{endpoint!r} is not an endpoint", "give host, host:port or https://host[:port]")
    scheme = parts.scheme if has_scheme else ("http" if is_loopback(host) else "https")
    if scheme == "http" and not is_loopback(host):
        raise InvalidInput(f"{endpoint}: plain http would show keys and disks to the network", f"use https://{host}")
    if scheme not in {"http", "https"}:
        raise InvalidInput(f"{endpoint!r}: {scheme} is not how the cloud is spoken to", f"use https://{host}")
    return f"{scheme}://{host if ':' not in host else f'[{host}]'}{f':{port}' if port else ''}"


def is_loopback(host: str) -> bool:
    """Return whether `host` can only mean this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
