"""Shows progress on stderr: bars on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from migration.progress import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

PLAIN_INTERVAL = 10.0  # seconds between two lines about the same thing


class Display:
    """Where the progress of several things at once is shown. Made by `open_display`."""

    def __init__(self, bars: Bars | None) -> None:
        self._bars = bars

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Show no bars for the length of the block, in which somebody is asked something."""
        if self._bars is not None:
            self._bars.stop()
        try:
            yield
        finally:
            if self._bars is not None:
                self._bars.start()

    def progress(self, name: str, *, is_bytes: bool = True) -> Progress:
        """Return the `Progress` of one thing called `name`."""
        if self._bars is None:
            return _plain(name, is_bytes=is_bytes)
        from migration.storage import format_size  # noqa: PLC0415

        bars, task = self._bars, self._bars.add_task(name, total=None, amount="")

        def report(done: int, total: int) -> None:
            amount = f"{format_size(done)} of {format_size(total)}" if is_bytes else ""
            # What is done is told by a line of its own, and needs no bar any more.
            bars.update(task, completed=done, total=total, amount=amount, visible=done < total)

        return report


@contextmanager
def open_display() -> Iterator[Display]:
    """Show bars for the length of the block if stderr is a terminal, with log lines above them."""
    if not sys.stderr.isatty():
        yield Display(None)
        return
    from rich.console import Console  # noqa: PLC0415  # 0.1 s that a script need not pay
    from rich.logging import RichHandler  # noqa: PLC0415
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as Bars  # noqa: PLC0415

    console = Console(stderr=True)
    root = logging.getLogger()
    before = root.handlers[:]
    handler = RichHandler(console=console, show_time=False, show_level=False, show_path=False)
    handler.filters = [kept for other in before for kept in other.filters]
    root.handlers = [handler]
    columns = (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
        TextColumn("{task.fields[amount]}"), TimeRemainingColumn(),
    )  # fmt: skip
    try:
        with Bars(*columns, console=console) as bars:
            yield Display(bars)
    finally:
        root.handlers = before


def _plain(name: str, *, is_bytes: bool) -> Progress:
    from migration.storage import format_size  # noqa: PLC0415

    shown_at = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal shown_at
        if total <= 0 or time.monotonic() - shown_at < PLAIN_INTERVAL:
            return
        shown_at = time.monotonic()
        detail = f" ({format_size(done)} of {format_size(total)})" if is_bytes else ""
        sys.stderr.write(f"{name}: {100 * done // total} %{detail}\n")

    return report
