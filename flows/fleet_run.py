"""What the migrations of one fleet share in one process: a stop, a bandwidth limit, and how much goes on at once.

A migration in a fleet is a run of its own, in a thread, and takes nothing but parameters. What it shares is found
through a context variable, which Prefect copies into the threads of its tasks; a run outside of a fleet finds none.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from image_download.bandwidth import Bandwidth
from migration.progress import Stop

# Kinds of work, and the names of Prefect's limits on them, which all workers share.
EXPORTS, DOWNLOADS, CONVERSIONS = "exports", "downloads", "conversions"
LIMITS = {kind: f"ferry-{kind}" for kind in (EXPORTS, DOWNLOADS, CONVERSIONS)}

_current: ContextVar[FleetRun | None] = ContextVar("fleet", default=None)
_image: ContextVar[str] = ContextVar("image", default="")


@dataclass(kw_only=True, eq=False)
class FleetRun:
    """One fleet while it runs. `bounds` are how many of each kind of work this process does at once."""

    bandwidth: Bandwidth
    bounds: Mapping[str, int]
    stop: Stop = field(default_factory=threading.Event)
    is_cancelled: bool = False  # by Prefect: what goes on in the cloud is to be cancelled as well
    _stops: set[Stop] = field(default_factory=set)
    _mutex: threading.Lock = field(default_factory=threading.Lock)
    _places: dict[str, threading.Semaphore] = field(init=False)

    def __post_init__(self) -> None:
        self._places = {kind: threading.Semaphore(number) for kind, number in self.bounds.items()}

    def add_stop(self, stop: Stop) -> None:
        """Stop this too when the fleet is stopped, which may have been already."""
        with self._mutex:
            self._stops.add(stop)
            if self.stop.is_set():
                stop.set()

    def drop_stop(self, stop: Stop) -> None:
        """Forget a stop whose migration has ended."""
        with self._mutex:
            self._stops.discard(stop)

    def end(self, *, cancelled: bool) -> None:
        """Have all migrations stop; with `cancelled` also what they have under way in the cloud."""
        self.is_cancelled = self.is_cancelled or cancelled
        with self._mutex:
            self.stop.set()
            for stop in self._stops:
                stop.set()

    def places(self, kind: str) -> threading.Semaphore | None:
        """Return what bounds a kind of work in this process, None where nothing does."""
        return self._places.get(kind)


def current_fleet() -> FleetRun | None:
    """Return the fleet that the caller's migration belongs to, None where it is on its own."""
    return _current.get()


@contextmanager
def in_fleet(fleet: FleetRun, image_id: str) -> Iterator[None]:
    """Make what the block does part of a fleet, and its log lines those of an image."""
    before, name = _current.set(fleet), _image.set(image_id)
    try:
        yield
    finally:
        _image.reset(name)
        _current.reset(before)


def name_image(record: logging.LogRecord) -> bool:
    """Put the image's id before a line of the log; as a handler's filter, for lines of many images in one place."""
    image_id = _image.get()
    if image_id and not getattr(record, "names_image", False):
        record.msg, record.args = f"[{image_id}] {record.getMessage()}", ()
        record.names_image = True
    return True
