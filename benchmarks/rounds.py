"""Runs contenders in turn, round after round, and shows what each took at the median, as a multiple of ours."""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from benchmarks.measure import MIB, Contender, Cost, measure


def write_disk(path: Path, size: int) -> None:
    """Write a disk of `size` bytes: of every 2 MiB a quarter random, a quarter text, the rest a hole."""
    source = random.Random(0)  # noqa: S311  # the same disk every time
    text = b"a line of a log file, much like the others\n" * (MIB // 86)
    with path.open("wb") as file:
        file.truncate(size)
        for offset in range(0, size, 2 * MIB):
            file.seek(offset)
            file.write(source.randbytes(MIB // 2) + text)


def compare(
    title: str, name: str, contenders: Mapping[str, Contender], folder: Path, rounds: int
) -> list[dict[str, object]]:
    """Run every contender in turn, as often as there are rounds; print and return a row for each.

    The one called "ferry" is ours, which the others are held against.
    """
    costs: dict[str, list[Cost]] = {way: [] for way in contenders}
    for _ in range(rounds):
        for way, run in contenders.items():
            costs[way].append(measure(run, folder))
    ours = statistics.median(cost.wall for cost in costs["ferry"])
    rows = []
    print(f"\n{title}, {rounds} rounds")
    for way, found in costs.items():
        wall, cpu, memory, disk = (
            statistics.median(getattr(cost, field) for cost in found) for field in ("wall", "cpu", "memory", "disk")
        )
        quickest, slowest = min(cost.wall for cost in found), max(cost.wall for cost in found)
        rows.append(
            {
                "name": f"{name}: {way}", "median_s": round(wall, 3), "cpu_s": round(cpu, 3),
                "peak_rss_mib": round(memory, 1), "disk_mib": round(disk, 1), "ratio_to_ours": round(wall / ours, 3),
                "min_s": round(quickest, 3), "max_s": round(slowest, 3),
            }
        )  # fmt: skip
        print(
            f"  {way:20}{wall:7.2f} s ({quickest:.2f} to {slowest:.2f})"
            f"   {wall / ours:6.2f} x ours   cpu {cpu:6.2f} s   memory {memory:5.0f} MiB   disk {disk:6.0f} MiB",
            flush=True,
        )
    return rows


def machine() -> str:
    """Say in a line what all this ran on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB of memory, Python {platform.python_version()}"


def options_parser(description: str | None, cases: Collection[str]) -> argparse.ArgumentParser:
    """Return a parser of what every comparison over a disk takes; `description` is the module's docstring."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048, metavar="MIB", help="of the disk (default: 2048)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each way runs (default: 5)")
    parser.add_argument("--case", action="append", choices=cases, help="only this case; may be repeated")
    parser.add_argument("--folder", type=Path, help="where to work (default: the temporary directory)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the results go (default: none)")
    return parser


def write_results(options: argparse.Namespace, rows: Sequence[Mapping[str, object]]) -> None:
    """Write the rows, and what they were measured on and with, where `--json` says, if it does."""
    if options.json:
        document = {"machine": machine(), "disk_mib": options.size, "rounds": options.rounds, "cases": rows}
        options.json.parent.mkdir(exist_ok=True)
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
