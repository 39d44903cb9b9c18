"""Compares our conversions with the plain `qemu-img convert` that one would type, on the same disk, format by format.

Of every 2 MiB of the disk a quarter is random, a quarter text, the rest a hole. `ferry` writes the image; `ferry,
proven` also syncs it, reads it back against its source and takes its digest, as every conversion of ours does; `copy
alone` has the kernel copy the disk's data, without which no image is written that is not compressed; `qemu-img` is the
command without an option but the format's and `-c`, and `qemu-img, compared` adds `qemu-img compare` and `sha256sum`.
Wall time ends when the file system is synced; medians of interleaved rounds; `disk` is the image.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.measure import MIB, Contender
from benchmarks.rounds import compare, machine, options_parser, write_disk, write_results
from converters.convert import convert_file, write_image
from converters.qemu_img import ImageFile
from migration.disk import Disk, DiskFormat, DiskRole

# What one types, by the name of the case: format, whether it is compressed, and the options that say so.
CASES: dict[str, tuple[DiskFormat, bool, tuple[str, ...]]] = {
    "raw": (DiskFormat.RAW, False, ()),
    "qcow2": (DiskFormat.QCOW2, False, ()),
    "qcow2, compressed": (DiskFormat.QCOW2, True, ("-c",)),
    "vmdk, monolithicSparse": (DiskFormat.VMDK, False, ()),
    "vmdk, streamOptimized": (DiskFormat.VMDK, True, ("-o", "subformat=streamOptimized")),
    "vhdx": (DiskFormat.VHDX, False, ()),
    "vpc": (DiskFormat.VPC, False, ()),
    "vdi": (DiskFormat.VDI, False, ()),
}


def ferry(disk: Disk, to: DiskFormat, folder: Path, *, compress: bool) -> None:
    """Write the image, without the proof."""
    source = ImageFile(path=disk.path, format=disk.format)
    made = ImageFile(path=folder / f"disk{to.suffix}", format=to)
    write_image(source, None, made, disk.virtual_size, compress=compress)


def ferry_proven(disk: Disk, to: DiskFormat, folder: Path, *, compress: bool) -> None:
    convert_file(disk, folder, to, compress=compress)


def qemu_img(disk: Disk, to: DiskFormat, folder: Path, *, options: tuple[str, ...]) -> Path:
    image = folder / f"disk{to.suffix}"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", to, *options, disk.path, image], check=True)
    return image


def qemu_img_compared(disk: Disk, to: DiskFormat, folder: Path, *, options: tuple[str, ...]) -> None:
    image = qemu_img(disk, to, folder, options=options)
    subprocess.run(["sync", image], check=True)
    subprocess.run(["qemu-img", "compare", "-q", "-f", "raw", "-F", to, disk.path, image], check=True)
    subprocess.run(["sha256sum", image], check=True, stdout=subprocess.DEVNULL)


def copy_alone(disk: Disk, folder: Path) -> None:
    """Copy what is no hole, inside the kernel."""
    with disk.path.open("rb") as source, (folder / "copy").open("wb") as target:
        target.truncate(disk.virtual_size)
        at = 0
        while at < disk.virtual_size:
            try:
                at = os.lseek(source.fileno(), at, os.SEEK_DATA)
            except OSError:  # ENXIO: nothing but a hole follows
                return
            end = os.lseek(source.fileno(), at, os.SEEK_HOLE)
            while at < end:
                at += os.copy_file_range(source.fileno(), target.fileno(), end - at, at, at)


def contenders(disk: Disk, to: DiskFormat, options: tuple[str, ...], *, compress: bool) -> dict[str, Contender]:
    """Return the ways to make one image, by name."""

    def plain(folder: Path) -> None:
        qemu_img(disk, to, folder, options=options)

    return {
        "ferry": partial(ferry, disk, to, compress=compress),
        "ferry, proven": partial(ferry_proven, disk, to, compress=compress),
        "qemu-img": plain,
        **({} if compress else {"copy alone": partial(copy_alone, disk)}),
        "qemu-img, compared": partial(qemu_img_compared, disk, to, options=options),
    }


def main() -> None:
    """Measure all cases, print a table, and write the same as JSON."""
    options = options_parser(__doc__, CASES).parse_args()
    rows: list[dict[str, object]] = []
    print(machine())
    with tempfile.TemporaryDirectory(prefix="ferry-benchmark-", dir=options.folder) as name:
        folder = Path(name)
        path = folder / "system.raw"
        write_disk(path, options.size * MIB)
        disk = Disk(
            device="xvda", role=DiskRole.SYSTEM, path=path, format=DiskFormat.RAW, virtual_size=options.size * MIB
        )
        for case in options.case or CASES:
            to, compress, words = CASES[case]
            ways = contenders(disk, to, words, compress=compress)
            rows += compare(f"{case}: disk of {options.size} MiB", case, ways, folder, options.rounds)
    write_results(options, rows)


if __name__ == "__main__":
    main()
