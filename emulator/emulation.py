"""The state that ECS and OSS share while they run: the account, the variants, and what was asked of them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from emulator.account import read_settings
from emulator.variants import Variants


class Call(NamedTuple):
    """A request that was received.

    `action` is ECS's own ("ExportImage") or OSS's method and path ("GET /bucket/key", path not encoded);
    `params` are the API's parameters without the ones for signing; the headers `Range` and `x-oss-traffic-limit`
    are among them.
    """

    service: str  # "ecs" or "oss"
    action: str
    params: dict[str, str]


_SIGNING = frozenset({
    "AccessKeyId", "Signature", "SignatureMethod", "SignatureNonce", "SignatureType", "SignatureVersion",
    "SecurityToken", "Timestamp", "Format", "Version", "Action",
    "OSSAccessKeyId", "security-token", "x-oss-signature", "x-oss-security-token",
})  # fmt: skip


class Emulation:
    """Shared by the servers' thread, the exports' threads and whoever looks on."""

    def __init__(self, folder: Path, variants: Variants) -> None:
        self.folder = folder
        self.settings = read_settings(folder)
        self._variants = variants
        self._spent: Counter[str] = Counter()
        self._calls: list[Call] = []
        self._lock = threading.Lock()

    @property
    def variants(self) -> Variants:
        return self._variants

    @variants.setter
    def variants(self, variants: Variants) -> None:
        with self._lock:
            self._variants = variants
            self._spent.clear()

    def oss_time(self) -> float:
        """Return the Unix time by OSS's clock."""
        return time.time() + self._variants.clock_ahead_seconds

    def strikes(self, fault: str, *, of: str = "") -> bool:
        """Return whether the fault that the variant called `fault` counts hits this time, and spend one of its count.

        `of` gives every name (an object, say) a count of its own.
        """
        with self._lock:
            times: int = getattr(self._variants, fault)
            hits = self._spent[fault + of] < times
            self._spent[fault + of] += hits
            return hits

    def is_first(self, event: str) -> bool:
        """Return whether `event` has not happened since the variants were set; it has then."""
        with self._lock:
            self._spent[event] += 1
            return self._spent[event] == 1

    def note(self, service: str, action: str, params: Mapping[str, str]) -> None:
        """Remember a request."""
        with self._lock:
            self._calls.append(Call(service, action, {k: v for k, v in params.items() if k not in _SIGNING}))

    @property
    def calls(self) -> list[Call]:
        """All requests so far, oldest first."""
        with self._lock:
            return list(self._calls)
