"""How a long stage tells others how far it is, and how it learns that it should stop."""

from __future__ import annotations

import threading
from collections.abc import Callable

from migration.errors import Interrupted

# Called with (done, total) in the stage's own unit, bytes unless it says otherwise; may be called from
# any thread, often; whoever shows it does the throttling.
Progress = Callable[[int, int], None]

# Set by whoever wants a stage to end; a stage looks at it at least twice a second.
Stop = threading.Event


def no_progress(done: int, total: int) -> None:
    """Show nothing."""


def check_stop(stop: Stop | None) -> None:
    """Raise `Interrupted` if someone asked us to stop."""
    if stop is not None and stop.is_set():
        raise Interrupted("stopped on request", "run the same command again: it goes on from here")
