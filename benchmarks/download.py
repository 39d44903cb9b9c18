"""Compares our download with what one would use instead today, from a local nginx, on the same bytes.

Cases: `raw`, a bare disk; `raw.tar.gz`, the same disk as a sparse archive; `five disks`, five bare disks at once. Of
every 2 MiB of the disk a quarter is random, a quarter text, the rest a hole. Each way is run as often as there are
rounds, interleaved, because neighbours on a machine are noisy; medians are shown. Wall time ends when the file system
is synced. Server and ways are processes of their own; CPU and memory are those of the way alone.

`ceiling` reads our ranges to /dev/null by four curls; `disk alone` writes the disk from memory, syncs it and reads it
back: whoever leaves a proven disk behind does the work of both. `ferry-download` and `ferry-unpack` are the two halves
of an archive's way alone.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks import contenders
from benchmarks.contenders import Place, Way
from benchmarks.measure import MIB
from benchmarks.rounds import compare, machine, options_parser, write_disk, write_results
from benchmarks.web_server import BUCKET, nginx
from image_download.sparse_file import crc64_of_file
from migration.disk import DiskFormat, DiskRole
from migration.exported_object import ExportedObject, Packing

DISKS = 5  # of the case with several at once


def ferry_download(place: Place, folder: Path) -> None:
    """Download the archive and prove it, without unpacking: as if it were a disk itself."""
    exported = replace(place.exported, packing=Packing.NONE, disk_size=place.exported.size)
    contenders.ferry(replace(place, exported=exported), folder)


def ferry_five(place: Place, folder: Path) -> None:
    """Download several disks at once, in one process, as the flow does."""
    folders = [folder / str(number) for number in range(DISKS)]
    with ThreadPoolExecutor(DISKS) as pool:
        for _ in pool.map(contenders.ferry, [place] * DISKS, folders):
            pass


RAW: dict[str, Way] = {
    "ferry": contenders.ferry,
    "ceiling": contenders.ceiling,
    "disk alone": contenders.disk_alone,
    "curl": contenders.curl,
    "aria2c": contenders.aria2c,
    "rclone": contenders.rclone,
    "oss2": contenders.oss2_resumable,
    "oss2 tuned, no CRC": contenders.oss2_tuned,
}
PACKED: dict[str, Way] = {
    "ferry": contenders.ferry,
    "ferry-download": ferry_download,
    "ferry-unpack": contenders.ferry_unpack,
    "disk alone": contenders.disk_alone,
    "aria2c + tar": contenders.aria2c_tar,
    "aria2c + pigz + tar": contenders.aria2c_pigz_tar,
    "aria2c + bsdtar": contenders.aria2c_bsdtar,
    "oss2 + tar": contenders.oss2_tar,
}
CASES: dict[str, tuple[Packing, dict[str, Way]]] = {
    "raw": (Packing.NONE, RAW),
    "raw.tar.gz": (Packing.TAR_GZIP, PACKED),
    "five disks": (Packing.NONE, {"ferry": ferry_five}),
}


@contextmanager
def served(folder: Path, size: int) -> Iterator[dict[Packing, Place]]:
    """Make the objects and serve them; yields each by its packing."""
    disk = folder / BUCKET / "m-benchmark_system.raw"
    disk.parent.mkdir()
    write_disk(disk, size)
    archive = disk.with_name(f"{disk.name}.tar.gz")
    subprocess.run(["tar", "-C", disk.parent, "--sparse", "-czf", archive, disk.name], check=True)
    crcs = {path.name: crc64_of_file(path) for path in (disk, archive)}
    for path in (disk, archive):
        with path.open("rb") as file:  # from memory, as from a cloud that is not the bottleneck
            while file.read(16 * MIB):
                pass
    with nginx(folder, crcs) as url:
        yield {
            packing: Place(url=url, file=path, disk=disk, exported=_object(path, packing, size, crcs[path.name]))
            for packing, path in ((Packing.NONE, disk), (Packing.TAR_GZIP, archive))
        }


def _object(path: Path, packing: Packing, disk_size: int, crc: int) -> ExportedObject:
    status = path.stat()
    return ExportedObject(
        bucket=BUCKET, key=path.name, size=status.st_size, etag=f"{int(status.st_mtime):x}-{status.st_size:x}",
        crc64=crc, last_modified=int(status.st_mtime), storage_class="Standard", role=DiskRole.SYSTEM, device="xvda",
        format=DiskFormat.RAW, packing=packing, disk_size=disk_size,
    )  # fmt: skip


def main() -> None:
    """Measure all cases, print a table, and write the same as JSON."""
    parser = options_parser(__doc__, CASES)
    parser.add_argument("--way", action="append", help="only this way, beside ours; may be repeated")
    options = parser.parse_args()
    rows: list[dict[str, object]] = []
    print(machine())
    with tempfile.TemporaryDirectory(prefix="ferry-benchmark-", dir=options.folder) as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx's workers are another user
        with served(folder, options.size * MIB) as places:
            for case in options.case or CASES:
                packing, ways = CASES[case]
                chosen = {way: run for way, run in ways.items() if not options.way or way in {"ferry", *options.way}}
                place = places[packing]
                contenders_here = {way: partial(run, place) for way, run in chosen.items()}
                rows += compare(
                    f"{case}: {place.exported.size / MIB:.0f} MiB object", case, contenders_here, folder, options.rounds
                )
    write_results(options, rows)


if __name__ == "__main__":
    main()
