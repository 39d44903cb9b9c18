"""A Prefect block for the cloud's credentials: what they are, or where the worker finds them."""

from __future__ import annotations

import logging
import threading
import time
from typing import Literal

from prefect.blocks.core import Block
from pydantic import Field, SecretStr, model_validator

from migration.credentials import (
    Credentials,
    CredentialSource,
    find_credentials,
    find_profile_credentials,
    find_role_credentials,
)
from migration.errors import InvalidInput

log = logging.getLogger(__name__)

READ_AGAIN = 60.0  # seconds; a token that a person or a job puts into the block is used from then on


class AlibabaCloudCredentials(Block):
    """Credentials of Alibaba Cloud, given here or named. Give the block to a flow by its name only."""

    _block_type_name = "Alibaba Cloud Credentials"
    _block_type_slug = "alibaba-cloud-credentials"

    kind: Literal["AccessKey", "STS", "RAM role", "Profile"] = Field(
        default="AccessKey",
        title="Kind",
        description=(
            "AccessKey, STS: what you enter below. RAM role: the worker's ECS instance's, Profile: of `aliyun "
            "configure` on the worker; nothing secret is stored then, and what they give is renewed by itself"
        ),
    )
    access_key_id: str = Field(default="", title="AccessKey ID", description="For AccessKey and STS")
    access_key_secret: SecretStr = Field(
        default=SecretStr(""), title="AccessKey secret", description="For AccessKey and STS"
    )
    security_token: SecretStr | None = Field(
        default=None,
        title="Security token",
        description="For STS. Enter a new one before it runs out: runs use it within a minute",
    )
    role_name: str = Field(default="", title="RAM role", description="Empty: the one that the instance has")
    profile_name: str = Field(default="", title="Profile", description="For Profile: its name")

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> AlibabaCloudCredentials:
        needed: dict[str, object] = {}
        if self.kind in {"AccessKey", "STS"}:
            secret = self.access_key_secret.get_secret_value()
            needed = {"an AccessKey ID": self.access_key_id, "an AccessKey secret": secret}
        if self.kind == "STS":
            needed["a security token"] = self.security_token and self.security_token.get_secret_value()
        if self.kind == "Profile":
            needed["the name of a profile"] = self.profile_name
        if missing := [name for name, value in needed.items() if not value]:
            raise ValueError(f"credentials of the kind {self.kind} need {', '.join(missing)}")
        return self

    def source(self) -> CredentialSource:
        """Return where the credentials come from: for what is entered in the block, the block as it is now."""
        if self.kind == "RAM role":
            return find_role_credentials(self.role_name)
        if self.kind == "Profile":
            return find_profile_credentials(self.profile_name)
        credentials = self._entered()
        return lambda: credentials

    def _entered(self) -> Credentials:
        token = self.security_token.get_secret_value() if self.security_token else ""
        return Credentials(
            access_key_id=self.access_key_id, access_key_secret=self.access_key_secret.get_secret_value(),
            security_token=token, source=f"Prefect block {self._block_document_name or self._block_type_slug}",
        )  # fmt: skip


def load_credentials(block_name: str) -> CredentialSource:
    """Return the block's source of credentials, or this machine's where no block is named."""
    if not block_name:
        return find_credentials()
    block = _load(block_name)
    return _reread(block_name, block) if block.kind in {"AccessKey", "STS"} else block.source()


def _load(block_name: str) -> AlibabaCloudCredentials:
    try:
        block = AlibabaCloudCredentials.load(block_name, _sync=True)  # type: ignore[call-arg]  # added by a decorator
    except ValueError as error:  # no such block, or one that lacks what its kind needs
        # Only the kind: the text may show what was entered.
        raise InvalidInput(
            f"there is no block {block_name!r} of the type Alibaba Cloud Credentials that can be used "
            f"({type(error).__name__})",
            "`prefect block ls` lists what there is; make or mend it in Prefect's UI",
        ) from None
    assert isinstance(block, AlibabaCloudCredentials)  # noqa: S101  # not awaited: we are not in a coroutine
    return block


def _reread(block_name: str, block: AlibabaCloudCredentials) -> CredentialSource:
    """Return the block's keys as a source that looks into it again, once a minute at most."""
    lock = threading.Lock()
    source, read = block.source(), time.monotonic()

    def ask() -> Credentials:
        nonlocal source, read
        with lock:
            if time.monotonic() - read > READ_AGAIN:
                read = time.monotonic()
                try:
                    source = _load(block_name).source()
                except Exception as error:  # noqa: BLE001  # whatever Prefect's client raises while the server is away
                    log.warning("Block %s could not be read again (%s)", block_name, type(error).__name__)
            return source()

    return ask
