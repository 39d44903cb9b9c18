"""Knows what one run of a contender costs: wall time until the data is on the disk, CPU, peak memory, disk used."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MIB = 1024**2
LOOK_EVERY = 0.03  # seconds between two looks at memory

Contender = Callable[[Path], None]  # takes an empty folder, and leaves its result there


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one run took. Seconds and MiB; `memory` is the largest sum over its processes, `disk` what is allocated."""

    wall: float
    cpu: float
    memory: float
    disk: float


def measure(contender: Contender, folder: Path) -> Cost:
    """Run a contender in a process of its own, in an empty folder below `folder`, and sync what it wrote."""
    with tempfile.TemporaryDirectory(prefix="run-", dir=folder) as name:
        subprocess.run(["sync", "-f", name], check=True)  # what the one before left behind is not ours to pay for
        sys.stdout.flush()
        start = time.monotonic()
        child = os.fork()
        if child == 0:
            _run(contender, Path(name))
        memory = _Memory(child)
        _, status, usage = os.wait4(child, 0)
        subprocess.run(["sync", "-f", name], check=True)
        wall = time.monotonic() - start
        peak = memory.end()
        if status:
            raise SystemExit("a contender failed, see above")
        disk = sum(path.stat().st_blocks * 512 for path in Path(name).rglob("*") if path.is_file())
        return Cost(wall=wall, cpu=usage.ru_utime + usage.ru_stime, memory=peak / MIB, disk=disk / MIB)


def _run(contender: Contender, folder: Path) -> None:
    """Be the contender, in the forked process."""
    try:
        contender(folder)
        os._exit(0)
    except BaseException as error:  # noqa: BLE001  # there is nobody else to tell
        sys.stderr.write(f"{error}\n")
        os._exit(1)


class _Memory:
    """Looks at the resident memory of a process and all below it until told to end.

    `getrusage` would charge a program with what the process had in memory that forked it.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> int:
        """Return the largest sum seen, in bytes."""
        self._over.set()
        self._thread.join()
        return self._peak

    def _watch(self) -> None:
        while not self._over.wait(LOOK_EVERY):
            self._peak = max(self._peak, sum(map(_resident, _family(self._pid))))


def _family(pid: int) -> list[int]:
    """Return `pid` and all its descendants."""
    family = [pid]
    for member in family:
        with contextlib.suppress(OSError):  # it ended meanwhile
            for children in Path(f"/proc/{member}/task").glob("*/children"):
                family += map(int, children.read_text().split())
    return family


def _resident(pid: int) -> int:
    """Return a process's resident memory in bytes, 0 once it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
