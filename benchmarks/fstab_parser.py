"""Counts how often our parser and the real readers of an /etc/fstab see the same in odd lines.

The readers are libmount (behind `mount` and `findmnt`), glibc's `getmntent` (behind systemd's fstab generator), both
called as libraries, and `findmnt` itself. The lines are a corpus that was thought of, and nearly right ones by a seed.
Of `getmntent` two things are counted: our model of it, and the lines of which our parser says that it reads them
otherwise than `mount`. Status 1 if a line is read differently than we say.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from fstab_check.fstab import parse_fstab
from fstab_check.getmntent import read_mntents
from tests.fstab_lines import ODD_LINES, nearly_right_lines
from tests.fstab_readers import (
    Reader,
    Row,
    find_disagreements,
    read_by_findmnt,
    read_by_getmntent,
    read_by_libmount,
    read_by_us,
)

BATCH = 500  # lines a file


def as_getmntent(content: bytes) -> list[Row]:
    return [
        (mntent.fsname, mntent.dir, mntent.type, mntent.opts, mntent.freq, mntent.passno)
        for mntent in read_mntents(content)
    ]


COMPARISONS: dict[str, tuple[Callable[[bytes], list[Row]], Reader]] = {
    "libmount": (read_by_us, read_by_libmount),
    "findmnt": (read_by_us, read_by_findmnt),
    "getmntent": (as_getmntent, read_by_getmntent),
}


def count_agreement(name: str, lines: Sequence[bytes], file: Path) -> list[bytes]:
    """Return the lines on which we and the reader called `name` differ."""
    ours, reader = COMPARISONS[name]
    batches = [lines[start : start + BATCH] for start in range(0, len(lines), BATCH)]
    return [line for batch in batches for line in find_disagreements(batch, ours, reader, file)]


def lines_read_twofold(lines: Sequence[bytes]) -> int:
    """Return how many of the lines our parser has something to say about, as to who reads them how."""
    codes = {"line-read-differently", "line-broken", "fstab-crlf", "line-incomplete", "line-number-invalid"}
    return sum(any(problem.code in codes for problem in parse_fstab(line + b"\n").problems) for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=20_000, help="made up, beside the corpus")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    lines = [*ODD_LINES, *nearly_right_lines(options.lines, seed=options.seed)]
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for name in COMPARISONS:
            began = time.monotonic()
            disagreements = count_agreement(name, lines, Path(folder, "fstab"))
            print(f"{name}: {len(lines) - len(disagreements)} of {len(lines)} ({time.monotonic() - began:.1f} s)")
            for line in disagreements[:10]:
                print(f"    {line[:200]!r}")
            failed |= bool(disagreements)
    print(f"read one way by `mount` and another by systemd, or by one alone: {lines_read_twofold(lines)}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
