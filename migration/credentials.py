"""Knows where the cloud's credentials come from, and keeps the secret half from ever being printed.

The search order is the cloud's own (`alibabacloud-credentials`): environment variables, OIDC, the
`aliyun` command line's profile, `~/.alibabacloud/credentials`, the RAM role of the ECS instance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from migration.errors import CloudRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """One set of keys, valid now. A security token (STS) dies after a while: ask the source again."""

    access_key_id: str
    access_key_secret: str = field(repr=False)
    security_token: str = field(default="", repr=False)
    source: str = ""  # which provider they came from, for people


# Asked before every request that needs signing, so that a token renewed meanwhile is used.
CredentialSource = Callable[[], Credentials]


def find_credentials() -> CredentialSource:
    """Return the machine's source of credentials, or raise `CloudRefused` if it has none now."""
    # 0.3 s of imports that `ferry --help` and the offline commands need not pay.
    from alibabacloud_credentials.provider import DefaultCredentialsProvider  # noqa: PLC0415

    provider = DefaultCredentialsProvider()

    def ask() -> Credentials:
        try:
            found = provider.get_credentials()
        except Exception as error:  # noqa: BLE001  # the library raises whatever its transports raise
            # Not chained: the library puts what it read, keys included, into some of its messages.
            raise _not_found(type(error).__name__) from None
        return Credentials(
            access_key_id=found.get_access_key_id() or "",
            access_key_secret=found.get_access_key_secret() or "",
            security_token=found.get_security_token() or "",
            source=found.get_provider_name() or "",
        )

    ask()
    return ask


def _not_found(kind: str) -> CloudRefused:
    return CloudRefused(
        f"no Alibaba Cloud credentials on this machine ({kind})",
        "set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, run `aliyun configure`, "
        "or give this ECS instance a RAM role",
    )
