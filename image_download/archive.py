"""Knows that an archived object cannot be read before OSS has restored it, and has it restored if that is wanted.

Restoring costs money, so it is done only when asked for. The storage class alone does not decide: the
object may have been restored already, or the bucket may let Archive objects be read as they are
(real-time access). What OSS says of the object in this moment does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from enum import Enum, auto
from typing import TypeVar

from image_download.patience import Patience
from image_download.ranged_source import RangedSource, StaleCredentials
from image_download.settings import DownloadSettings
from migration.errors import CloudRefused, CloudUnavailable
from migration.oss import OssRefused
from migration.progress import Stop, check_stop

log = logging.getLogger(__name__)

T = TypeVar("T")

# How long OSS takes with the usual priority (source: vendor's pages on restoring objects).
HOW_LONG = {"Archive": "about a minute", "ColdArchive": "2 to 5 hours", "DeepColdArchive": "up to 48 hours"}
RESTORE_DAYS = 7  # the most that OSS grants class Archive
LOOK_EVERY = 0.2  # seconds between two looks at `stop`
RESTORE_PATIENCE = 72 * 3600  # seconds; more than OSS takes for anything


class ArchivedObject(CloudRefused):
    """The object is archived, and nobody asked for its restore, or the restore came to nothing."""


class _State(Enum):
    READABLE = auto()
    RESTORING = auto()
    FROZEN = auto()


def make_readable(source: RangedSource, settings: DownloadSettings, stop: Stop | None) -> None:
    """Return once the object can be read; have it restored and wait for that if `settings.restore_archived`.

    An object of another class costs no request, unless restoring was asked for: a lifecycle rule may
    have archived it since it was found. Raises `ArchivedObject`, what OSS refuses, or `Interrupted`.
    """
    if source.exported.storage_class not in HOW_LONG and not settings.restore_archived:
        return
    _Restore(source, settings, stop or threading.Event()).run()


class _Restore:
    """One object that may have to be restored."""

    def __init__(self, source: RangedSource, settings: DownloadSettings, stop: Stop) -> None:
        self._source, self._settings, self._stop = source, settings, stop
        self._class = source.exported.storage_class

    def run(self) -> None:
        state = self._insist(self._look)
        if state is _State.READABLE:
            return
        subject, duration = self._source.subject, HOW_LONG.get(self._class, "up to 48 hours")
        if not self._settings.restore_archived:
            if state is _State.RESTORING:
                raise ArchivedObject(
                    f"{subject} is archived ({self._class}) and still being restored",
                    "run the same command again later, or let it wait: --restore-archived "
                    "(flow: transfer.restore_archived)",
                )
            raise ArchivedObject(
                f"{subject} is archived ({self._class}): OSS must restore it before it can be read",
                f"--restore-archived (flow: transfer.restore_archived) asks OSS to, for {RESTORE_DAYS} days, "
                f"and waits; OSS charges for that, and it takes {duration}",
            )
        if state is _State.FROZEN:
            log.warning(
                "%s is archived (%s): asking OSS to restore it for %d days, which it charges for; it takes %s",
                subject, self._class, RESTORE_DAYS, duration,
            )  # fmt: skip
            self._insist(self._ask)
        self._wait()

    def _wait(self) -> None:
        """Wait until the restore is over, looking less and less often."""
        subject, begun, interval = self._source.subject, time.monotonic(), self._settings.restore_first_look
        log.info("%s is being restored: waiting", subject)
        while True:
            self._stop.wait(interval)
            state, elapsed = self._insist(self._look), time.monotonic() - begun
            if state is _State.READABLE:
                log.info("%s is restored, after %.0f min", subject, elapsed / 60)
                return
            if state is _State.FROZEN:
                raise ArchivedObject(
                    f"{subject}: OSS has ended the restore, and the object is still archived",
                    "run the same command again; if it stays so, ask the vendor",
                )
            if elapsed > RESTORE_PATIENCE:
                raise ArchivedObject(
                    f"{subject} is still being restored after {elapsed / 3600:.0f} hours",
                    "look at the object in the console, and run the same command again",
                )
            log.info("%s is still being restored, after %.0f min", subject, elapsed / 60)
            interval = min(interval * 1.5, self._settings.restore_longest_look)

    def _look(self) -> _State:
        headers = self._source.find_headers()
        self._class = headers.get("x-oss-storage-class", self._class)
        restore = headers.get("x-oss-restore", "")
        if 'ongoing-request="true"' in restore:
            return _State.RESTORING
        if self._class not in HOW_LONG or 'ongoing-request="false"' in restore:
            return _State.READABLE
        try:
            with self._source.open_range(0, 1):
                return _State.READABLE
        except OssRefused as error:
            if error.code != "InvalidObjectState":
                raise
            return _State.FROZEN

    def _ask(self) -> None:
        """Ask for the restore. Asked twice, it is charged once (source: vendor's RestoreObject page)."""
        try:
            self._source.request_restore(RESTORE_DAYS)
        except OssRefused as error:
            if error.code != "RestoreAlreadyInProgress":
                raise

    def _call(self, call: Callable[[], T]) -> T:
        """Call from a thread of its own, which is left behind if someone asks us to stop while OSS is silent."""
        answer: Future[T] = Future()

        def work() -> None:
            try:
                answer.set_result(call())
            except BaseException as error:  # noqa: BLE001  # raised again by who waits
                answer.set_exception(error)

        threading.Thread(target=work, name="restore", daemon=True).start()
        while not wait([answer], timeout=LOOK_EVERY).done:
            check_stop(self._stop)
        return answer.result()

    def _insist(self, call: Callable[[], T]) -> T:
        """Call until OSS answers, as patiently as for a range."""
        patience, failures = Patience(self._settings, self._stop), 0
        while True:
            check_stop(self._stop)
            try:
                return self._call(call)
            except (CloudUnavailable, StaleCredentials) as error:
                failures += 1
                patience.pause(failures, error)
