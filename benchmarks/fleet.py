"""Measures what an image costs in a fleet, and alone: wall time and CPU of `ferry`, its server and all they start.

Both move small images out of an emulated cloud on this machine. What remains of the difference when the images grow is
nothing: it is the cost of starting. Rounds are interleaved; it is the ratio that can be carried elsewhere.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from emulator.server import EmulatedCloud
from tests.conftest import BUCKET
from tests.fleet_fixtures import NO_APPLIANCE, image_id, small_cloud


def main(argv: Sequence[str] | None = None) -> None:
    """Run, print a table, and write the numbers where they are asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--images", type=int, default=20, help="in the fleet (default 20)")
    parser.add_argument("--singles", type=int, default=3, help="single runs to compare with (default 3)")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="ferry-fleet-") as name:
        folder = Path(name)
        with small_cloud(folder / "cloud", given.images + given.singles) as cloud:
            ids = [image_id(number) for number in range(given.images + given.singles)]
            singles = [_measure(["run", one, "--workspace", str(folder / one)], cloud) for one in ids[given.images :]]
            fleet = _measure(["fleet", *ids[: given.images], "--root", str(folder / "fleet")], cloud)
    single = {key: statistics.median(one[key] for one in singles) for key in singles[0]}
    each = {"wall": fleet["wall"] / given.images, "cpu": fleet["cpu"] / given.images, "memory": fleet["memory"]}
    print("| | single run | in a fleet, each | ratio |\n|---|---|---|---|")
    for key, unit in (("wall", "s"), ("cpu", "s"), ("memory", "MiB")):
        print(f"| {key} {unit} | {single[key]:.1f} | {each[key]:.1f} | {each[key] / single[key]:.2f} |")
    if given.json:
        numbers = {"images": given.images, "single": single, "fleet": fleet, "each": each}
        given.json.write_text(json.dumps(numbers, indent=1) + "\n")


def _measure(words: Sequence[str], cloud: EmulatedCloud) -> Mapping[str, float]:
    """Run one command; return seconds of wall and of CPU, and the largest process's memory in MiB."""
    argv = [
        sys.executable, "-m", "ferry", *words, "--bucket", BUCKET, "--region", cloud.region_id,
        "--ecs-endpoint", cloud.ecs_endpoint, "--oss-endpoint", cloud.oss_endpoint,
        "--on-fstab-mismatch", "warn", "--no-shrink", "--accept-other-size",
    ]  # fmt: skip
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "ALIBABA_"))}
    env |= {
        **NO_APPLIANCE, "ALIBABA_CLOUD_ACCESS_KEY_ID": cloud.access_key_id,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": cloud.access_key_secret,
    }  # fmt: skip
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    return {"wall": time.monotonic() - begun, "cpu": cpu, "memory": after.ru_maxrss / 1024}


if __name__ == "__main__":
    main()
