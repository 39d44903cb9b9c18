"""One run's access to the cloud: where, as whom, how patiently, and until who says stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from image_export.bucket import ExportBucket
from image_export.ecs import Ecs
from image_export.policy import Policy, insist
from migration.cloud import Cloud
from migration.credentials import CredentialSource
from migration.progress import Stop

T = TypeVar("T")

REAL_CLOUD = Policy()


@dataclass(frozen=True, kw_only=True)
class Session:
    """What every step of an export needs to speak to the cloud."""

    cloud: Cloud
    credentials: CredentialSource
    policy: Policy = REAL_CLOUD
    stop: Stop | None = None

    @cached_property
    def ecs(self) -> Ecs:
        return Ecs(self.cloud, self.credentials, read_timeout=self.policy.read_timeout)

    def bucket(self, name: str) -> ExportBucket:
        """Return a bucket of the region. Raises `InvalidInput` for a name that no bucket can have."""
        return ExportBucket(self.cloud, self.credentials, name)

    def insist(self, call: Callable[[], T], patience: float | None = None) -> T:
        """Return what a call that only reads returns, for as long as time may mend its failures.

        `patience` is in seconds, the policy's for one answer unless given.
        """
        seconds = self.policy.answer_patience if patience is None else patience
        return insist(call, patience=seconds, policy=self.policy, stop=self.stop)
