"""A Prefect block for the cloud's credentials, for workers that have none of their own."""

from __future__ import annotations

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from migration.credentials import Credentials, CredentialSource, find_credentials


class AlibabaCloudCredentials(Block):
    """An access key, or a temporary one with its security token. Give it to a flow by its name only."""

    _block_type_name = "Alibaba Cloud Credentials"
    _block_type_slug = "alibaba-cloud-credentials"

    access_key_id: str = Field(title="AccessKey ID")
    access_key_secret: SecretStr = Field(title="AccessKey secret")
    security_token: SecretStr | None = Field(default=None, title="Security token", description="For STS credentials")

    def source(self) -> CredentialSource:
        """Return the block's keys as a source of credentials."""
        token = self.security_token.get_secret_value() if self.security_token else ""
        credentials = Credentials(
            access_key_id=self.access_key_id, access_key_secret=self.access_key_secret.get_secret_value(),
            security_token=token, source=f"Prefect block {self._block_document_name or self._block_type_slug}",
        )  # fmt: skip
        return lambda: credentials


def load_credentials(block_name: str) -> CredentialSource:
    """Return the block's source of credentials, or this machine's where no block is named."""
    if not block_name:
        return find_credentials()
    block = AlibabaCloudCredentials.load(block_name, _sync=True)  # type: ignore[call-arg]  # added by a decorator
    assert isinstance(block, AlibabaCloudCredentials)  # noqa: S101  # not awaited: we are not in a coroutine
    return block.source()
