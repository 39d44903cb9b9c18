"""Knows where the cloud's credentials come from, and keeps the secret half from ever being printed.

The search order is the cloud's own (`alibabacloud-credentials`): environment variables, OIDC, the
`aliyun` command line's profile, `~/.alibabacloud/credentials`, the RAM role of the ECS instance.
"""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from migration.errors import CloudRefused, CloudUnavailable

# What the names of the variables begin with in which the cloud's libraries look for keys.
KEY_VARIABLES = ("ALIBABA_CLOUD_", "ALICLOUD_", "ALIYUN_")


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
    """Return the machine's source of credentials, or raise `CloudRefused` if it has none now.

    Asked later, the source raises `CloudUnavailable` where it can renew nothing at that moment: a
    machine that had credentials an hour ago has most likely lost its metadata service for a while.
    """
    # 0.3 s of imports that `ferry --help` and the offline commands need not pay.
    from alibabacloud_credentials.provider import DefaultCredentialsProvider  # noqa: PLC0415

    return _renewing(
        DefaultCredentialsProvider,
        "no Alibaba Cloud credentials on this machine",
        "set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, run `aliyun configure`, "
        "or give this ECS instance a RAM role",
    )


def find_role_credentials(role: str) -> CredentialSource:
    """Return what the metadata service of this ECS instance gives for its RAM `role`, "": the one it has.

    Raises as `find_credentials` does.
    """
    from alibabacloud_credentials.provider import EcsRamRoleCredentialsProvider  # noqa: PLC0415

    return _renewing(
        lambda: EcsRamRoleCredentialsProvider(role_name=role or None),
        f"the metadata service of this machine gives no credentials for the RAM role {role or 'of the instance'}",
        "run on an ECS instance that has the role, or name another kind of credentials",
    )


def find_profile_credentials(profile: str) -> CredentialSource:
    """Return the source that a profile of `aliyun configure` names, read again whenever that writes it anew.

    Raises as `find_credentials` does.
    """
    from alibabacloud_credentials.provider import CLIProfileCredentialsProvider  # noqa: PLC0415

    file = Path.home() / ".aliyun" / "config.json"

    return _renewing(
        lambda: CLIProfileCredentialsProvider(profile_name=profile, profile_file=str(file)),
        f"{file} has no profile {profile} that gives credentials",
        f"`aliyun configure --profile {shlex.quote(profile)}`, as the user who runs this",
        file,
    )


def _renewing(make: Callable[[], Any], complaint: str, remedy: str, file: Path | None = None) -> CredentialSource:
    """Return the source that the library's provider is, made again when `file` has changed; it must have some now."""
    # The library gives its logger, which has this unlucky name, a handler of its own, and prints a
    # traceback for every provider that has nothing to offer (alibabacloud-credentials 1.0.12).
    logging.getLogger("credentials").setLevel(logging.CRITICAL)
    made: dict[int, Any] = {}  # when the file was written → the provider that has read it

    def ask() -> Credentials | str:
        """Return credentials, or in a word why there are none."""
        try:
            written = file.stat().st_mtime_ns if file is not None else 0
            if written not in made:
                made.clear()
                made[written] = make()
            found = made[written].get_credentials()
        except Exception as error:  # noqa: BLE001  # the library raises whatever its transports raise
            # Only the kind: the library puts what it read, keys included, into some of its messages.
            return type(error).__name__
        credentials = Credentials(
            access_key_id=found.get_access_key_id() or "",
            access_key_secret=found.get_access_key_secret() or "",
            security_token=found.get_security_token() or "",
            source=found.get_provider_name() or "",
        )
        has_both_halves = credentials.access_key_id and credentials.access_key_secret
        return credentials if has_both_halves else "an access key without its other half"

    def renew() -> Credentials:
        found = ask()
        if isinstance(found, str):
            raise CloudUnavailable(
                f"the credentials of this machine cannot be renewed ({found})",
                "if it stays so: check the instance's RAM role, or `aliyun configure`",
            )
        return found

    first = ask()
    if isinstance(first, str):
        raise CloudRefused(f"{complaint} ({first})", remedy)
    return renew


_SIGNED_QUERY = re.compile(r"(?<=[\w/])\?\S*=\S*")


def redacted(text: str, credentials: Credentials | None = None) -> str:
    """Return `text`, which came over the network or from a transport, fit to be shown to anyone.

    Without the query of any URL (a signature and a token travel there), without the secret halves of
    `credentials`, and on one line without control characters.
    """
    secrets = (credentials.access_key_secret, credentials.security_token) if credentials else ()
    for secret in filter(None, secrets):
        text = text.replace(secret, "***").replace(quote(secret, safe=""), "***")
    text = _SIGNED_QUERY.sub("?…", text)
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
