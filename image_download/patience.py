"""Knows how long to wait before trying again, and when to stop trying: after too long without a single byte."""

from __future__ import annotations

import logging
import random
import threading
import time

from image_download.ranged_source import StaleCredentials
from image_download.settings import DownloadSettings
from migration.errors import CloudRefused

log = logging.getLogger(__name__)

STALE_CREDENTIALS_ATTEMPTS = 4  # a provider that renews in the background needs a moment


class Patience:
    """What the threads of one download share: when bytes last came. Thread-safe."""

    def __init__(self, settings: DownloadSettings, halt: threading.Event) -> None:
        self._settings = settings
        self._halt = halt
        self._last_bytes = time.monotonic()

    def got_bytes(self) -> None:
        """Note that bytes have come just now."""
        self._last_bytes = time.monotonic()

    def pause(self, failures: int, error: CloudRefused) -> None:
        """Wait before trying again after the `failures`-th failure in a row, or raise `error`. `halt` ends the wait.

        Half of the pause is left to chance, so that many threads do not come back all at once.
        """
        idle = time.monotonic() - self._last_bytes
        hopeless = isinstance(error, StaleCredentials) and failures >= STALE_CREDENTIALS_ATTEMPTS
        if hopeless or idle > self._settings.idle_timeout:
            raise error
        longest = min(self._settings.longest_pause, self._settings.first_pause * 2 ** min(failures - 1, 30))
        seconds = longest * random.uniform(0.5, 1)  # noqa: S311  # nobody gains by guessing it
        log.info("%s; trying again in %.1f s", error.message, seconds)
        self._halt.wait(seconds)
