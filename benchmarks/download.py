"""Compares our download with what one would write with oss2 alone, on one object from the emulated OSS.

Two cases: a bare `.raw` object, against `oss2.resumable_download` with its CRC-64 check; and a
`.raw.tar.gz` object, against the same followed by `tar xzSf`. Both sides end with `sync -f`, so that
bytes left in memory do not count as done. The disk is half random data with text, half zeros. Server and
contenders are processes of their own; rounds are interleaved, because neighbours on a machine are noisy.

The emulator is a Python server: on a small machine it is a good part of what is measured. Compare the
ratios, not the seconds.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import oss2

from emulator.account import add_image
from emulator.object_store import add_bucket
from emulator.server import emulated_cloud
from image_download.download import download_disk
from migration.cloud import Cloud
from migration.credentials import Credentials
from migration.disk import DiskFormat, DiskRole
from migration.exported_object import ExportedObject, Packing
from migration.oss import open_bucket
from migration.run import run
from migration.workspace import open_workspace

MIB = 1024**2
BUCKET = "benchmark"


@dataclass(frozen=True)
class Place:
    """Where the objects are, and with which keys they are to be had."""

    cloud: Cloud
    keys: Credentials
    raw: ExportedObject
    packed: ExportedObject


@dataclass(frozen=True)
class Cost:
    """What one run took: seconds of wall and CPU, and the largest resident memory in MiB."""

    wall: float
    cpu: float
    memory: float


def write_disk(path: Path, size: int) -> None:
    """Write a disk of `size` bytes: of every 2 MiB, a quarter random, a quarter text, the rest a hole."""
    source = random.Random(0)  # noqa: S311  # the same disk every time
    text = b"a line of a log file, much like the others\n" * (MIB // 86)
    with path.open("wb") as file:
        file.truncate(size)
        for offset in range(0, size, 2 * MIB):
            file.seek(offset)
            file.write(source.randbytes(MIB // 2) + text)


def ours(place: Place, exported: ExportedObject, folder: Path) -> None:
    """Download, prove, unpack."""
    with open_workspace(folder) as workspace:
        download_disk(workspace, place.cloud, lambda: place.keys, exported)


def with_oss2(place: Place, exported: ExportedObject, folder: Path) -> None:
    """Download with oss2, and unpack with tar where that is needed."""
    bucket = open_bucket(place.cloud, lambda: place.keys, exported.bucket)
    bucket.enable_crc = True
    store = oss2.ResumableDownloadStore(root=str(folder))
    target = folder / Path(exported.key).name
    oss2.resumable_download(bucket, exported.key, str(target), store=store, num_threads=4, part_size=16 * MIB)
    if exported.packing is Packing.TAR_GZIP:
        run(["tar", "-C", folder, "-xzSf", target])


def measure(contender: Callable[[Place, ExportedObject, Path], None], place: Place, exported: ExportedObject) -> Cost:
    """Run one contender in a process of its own, in an empty folder."""
    with tempfile.TemporaryDirectory(prefix="ferry-benchmark-") as name:
        folder = Path(name)
        start = time.monotonic()
        child = os.fork()
        if child == 0:
            try:
                contender(place, exported, folder)
                os._exit(0)
            except BaseException as error:  # noqa: BLE001  # there is nobody else to tell
                sys.stderr.write(f"{error}\n")
                os._exit(1)
        _, status, usage = os.wait4(child, 0)
        run(["sync", "-f", folder])
        if status:
            raise SystemExit(f"{contender.__name__} failed")
        return Cost(time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def serve(folder: Path, disk: Path, archive: Path, channel: Connection) -> None:
    """Run the emulated cloud until the other end of `channel` says something."""
    add_image(folder, "m-benchmark", ())
    add_bucket(folder, BUCKET)
    with emulated_cloud(folder) as cloud:
        found = [
            ExportedObject(
                bucket=BUCKET, key=metadata.key, size=metadata.size, etag=metadata.etag, crc64=metadata.crc64,
                last_modified=metadata.last_modified, storage_class=metadata.storage_class, role=DiskRole.SYSTEM,
                device="xvda", format=DiskFormat.RAW, packing=packing, disk_size=disk.stat().st_size,
            )
            for packing, path in ((Packing.NONE, disk), (Packing.TAR_GZIP, archive))
            for metadata in (cloud.put_object(BUCKET, path.name, path),)
        ]  # fmt: skip
        channel.send(Place(cloud.cloud, cloud.credentials(), *found))
        channel.recv()


@contextmanager
def served(size: int) -> Iterator[Place]:
    """Make the objects and serve them from another process."""
    with tempfile.TemporaryDirectory(prefix="ferry-benchmark-") as name:
        disk = Path(name) / "m-benchmark_system.raw"
        write_disk(disk, size)
        archive = disk.with_name(f"{disk.name}.tar.gz")
        run(["tar", "-C", disk.parent, "--sparse", "-czf", archive, disk.name])
        here, there = multiprocessing.Pipe()
        server = multiprocessing.get_context("spawn").Process(
            target=serve, args=(Path(name) / "account", disk, archive, there)
        )  # fmt: skip
        server.start()
        try:
            yield here.recv()
        finally:
            here.send("end")
            server.join()


def report(case: str, costs: dict[str, list[Cost]]) -> dict[str, object]:
    """Print and return the medians of one case, and how much longer oss2 takes."""
    row: dict[str, object] = {"name": case}
    for name, found in costs.items():
        wall, cpu, memory = (
            statistics.median(getattr(cost, field) for cost in found) for field in ("wall", "cpu", "memory")
        )
        row[name] = {"median_s": round(wall, 3), "cpu_s": round(cpu, 3), "peak_rss_mib": round(memory)}
        print(f"{case:12} {name:10} {wall:8.2f} s   cpu {cpu:6.2f} s   memory {memory:5.0f} MiB")
    walls = [statistics.median(cost.wall for cost in found) for found in costs.values()]
    row["ratio"] = round(walls[0] / walls[1], 3)
    print(f"{case:12} ours takes {walls[0] / walls[1]:.2f} of oss2's time")
    return row


def main() -> None:
    """Measure both cases and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, metavar="MIB", help="of the disk (default: 512)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender runs (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the medians to FILE as well")
    options = parser.parse_args()
    rows = []
    with served(options.size * MIB) as place:
        for case, exported in (("raw", place.raw), ("raw.tar.gz", place.packed)):
            costs: dict[str, list[Cost]] = {"ours": [], "oss2": []}
            for _ in range(options.rounds):
                costs["ours"].append(measure(ours, place, exported))
                costs["oss2"].append(measure(with_oss2, place, exported))
            rows.append(report(case, costs))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
