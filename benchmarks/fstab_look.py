"""Compares reading a guest's facts by an appliance, as `fstab_check` does, with reading the RAW files in Python.

Three things are asked. Speed: wall time, CPU and memory for one guest. Sameness: random guests that were shut down
cleanly, every fact of both compared. Honesty: of file systems that are damaged or odd, which the direct way takes for
good although they cannot be mounted, and which it reads wrongly. Needs `pip install dissect.extfs dissect.xfs
dissect.fat` beside Ferry's own requirements; see benchmarks/README.md for what came of it.
"""

from __future__ import annotations

import argparse
import gzip
import random
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from benchmarks.direct_look import DirectGuest, NeedsAppliance
from benchmarks.measure import Cost, measure
from fstab_check.examine import read_guest
from fstab_check.facts import Guest
from fstab_check.root import find_roots
from fstab_check.survey import Survey, survey_guest
from migration.acceleration import kvm_works
from migration.appliance import open_guest
from migration.device import DeviceName
from migration.disk import Disk
from migration.errors import MigrationError
from migration.run import run
from tests.fstab_check_damaged_disks import damaged_filesystems, sound_filesystems
from tests.fstab_check_disks import MIB, disk_of, make_cpio, make_ext4, make_partitioned, make_tree, make_xfs

A, B, C = (digit * 8 + "-" + "-".join([digit * 4] * 3) + "-" + digit * 12 for digit in "123")
Facts = tuple[Survey, Guest]


def by_appliance(disks: Sequence[Disk]) -> Facts:
    with open_guest(disks) as g:
        return read_guest(g, disks)


def directly(disks: Sequence[Disk]) -> Facts:
    reader: Any = DirectGuest(disks)
    return read_guest(reader, disks)


WAYS: dict[str, Callable[[Sequence[Disk]], Facts]] = {"appliance": by_appliance, "direct": directly}


def make_guest(folder: Path, source: random.Random, *, initramfs_mib: int = 1) -> list[Disk]:
    """Make a guest with an ESP, a root (ext2, ext3, ext4) and a data disk, as `source` has it."""
    folder.mkdir()
    fstab = (
        f"UUID={A} / ext4 defaults 0 1\nLABEL=ESP /boot/efi vfat umask=0077 0 1\n"
        f"UUID={B} /data {source.choice(['auto', 'ext4', 'xfs'])} defaults 0 2\n"
        f"/swapfile none swap sw 0 0\n/{'x' * source.randrange(1, 60)} /var/www none bind 0 0\n"
    )
    grub = f"menuentry x {{\n  linux /boot/vmlinuz-6.1 root=UUID={A} ro\n}}\n"
    files = {
        "etc/fstab": fstab, "boot/grub/grub.cfg": grub, "boot/vmlinuz-6.1": "", "boot/efi/.keep": "", "data/.keep": "",
        "etc/systemd/system.conf": "[Manager]\nDefaultTimeoutStartSec=45s\n",
        "lib/modules/6.1/modules.builtin": "kernel/drivers/virtio/virtio_pci.ko\n",
        **{f"usr/share/file-{number}": "x" * source.randrange(5000) for number in range(source.randrange(400))},
    }  # fmt: skip
    tree = make_tree(folder / "tree", files)
    (tree / "swapfile").symlink_to(source.choice(["/usr/share/file-0", "nowhere", "data/../etc/fstab"]))
    archive = make_cpio("lib/virtio_blk.ko", "lib/virtio_scsi.ko") + make_cpio(source.randbytes(4).hex(), size=MIB)
    with gzip.open(tree / "boot/initrd.img-6.1", "wb", compresslevel=1) as packed:
        packed.write(archive[: len(archive) // 4 * 4])
    _pad(tree / "boot/initrd.img-6.1", initramfs_mib, source)
    root = folder / "root.img"
    kind, size = source.choice(["ext2", "ext3", "ext4", "ext4"]), source.choice(["1024", "4096"])
    run(["mke2fs", "-q", "-t", kind, "-b", size, "-U", A, "-L", "root", "-d", tree, root, f"{96 + initramfs_mib}M"])
    esp = folder / "esp.img"
    with esp.open("wb") as stream:
        stream.truncate(40 * MIB)
    run(["mkfs.vfat", "-n", "ESP", esp])
    data = folder / "data.img"
    make_xfs(data, uuid=B, label="data") if source.random() < 0.5 else make_ext4(data, uuid=B, label="da ta")
    system = make_partitioned(folder / "system.raw", [esp, root], label=source.choice(["dos", "gpt"]))
    if source.random() < 0.5:
        data = make_partitioned(folder / "data.raw", [1, data], label="gpt")
    return [disk_of(system, "xvda"), disk_of(data, "xvdb")]


def _pad(initramfs: Path, mib: int, source: random.Random) -> None:
    """Put an archive with a file of so many MiB before the packed one, as microcode lies there."""
    packed = initramfs.read_bytes()
    head = make_cpio("kernel/x86/microcode/big.bin", size=mib * MIB - 1024)
    initramfs.write_bytes(head.replace(b"x" * 4096, source.randbytes(4096)) + packed)


def differences(one: Facts, other: Facts) -> list[str]:
    """Return the names of the facts that are not the same."""
    found = [] if one[0] == other[0] else ["survey"]
    return found + [
        field.name for field in fields(Guest) if getattr(one[1], field.name) != getattr(other[1], field.name)
    ]


def compare_facts(folder: Path, count: int, seed: int) -> int:
    """Print how many of `count` random guests are the same both ways; return how many are not."""
    unlike = 0
    for number in range(count):
        disks = make_guest(folder / f"guest-{number}", random.Random(seed + number))  # noqa: S311  # repeatable
        found = differences(by_appliance(disks), directly(disks))
        print(f"guest {number}: {', '.join(found) or 'the same'}", flush=True)
        unlike += bool(found)
    return unlike


def compare_damage(folder: Path) -> None:
    """Print what the direct way makes of file systems that are damaged, or sound and odd, on a data disk."""
    tree = make_tree(folder / "small", {"etc/fstab": f"UUID={C} / ext4 defaults 0 1\n"})
    system = disk_of(make_ext4(folder / "small.img", uuid=C, tree=tree), "xvda")
    for name, image in (damaged_filesystems(folder) | sound_filesystems(folder)).items():
        print(f"{name}: {_taken_for([system, disk_of(image, 'xvdb')])}", flush=True)
    inline = folder / "inline.img"
    run(["mke2fs", "-q", "-t", "ext4", "-O", "inline_data", "-I", "256", "-d", tree, inline, "16M"])
    print(f"ext4-inline-data: {_taken_for([system, disk_of(inline, 'xvdb')])}")


def compare_flips(folder: Path, count: int, seed: int) -> None:
    """Print how many of `count` file systems with one byte of metadata changed each way refuses."""
    source = random.Random(seed)  # noqa: S311  # repeatable
    (folder / "flips").mkdir()
    disks = []
    for number in range(count):
        image = folder / f"flips/{number}.raw"
        uuid = f"bbbbbbbb-0000-4000-8000-{number:012}"
        make = make_ext4 if number % 2 else make_xfs
        make(image, uuid=uuid, label=f"flip-{number}")
        _flip_metadata(image, _EXT4_METADATA if number % 2 else _XFS_METADATA, source)
        disks.append(disk_of(image, DeviceName(number + 1).disk))
    tree = make_tree(folder / "flips/tree", {"etc/fstab": f"UUID={C} / ext4 defaults 0 1\n"})
    system = disk_of(make_ext4(folder / "flips/system.img", uuid=C, tree=tree), "xvda")
    direct = [_taken_for([system, disk]) == GOOD for disk in disks]
    with open_guest([system, *disks]) as g:
        survey, _ = find_roots(g, survey_guest(g, [system, *disks]))
    kernel = [disk.content is not None and not disk.content.unmountable for disk in survey.layout.disks[1:]]
    pairs = list(zip(kernel, direct, strict=True))
    print(f"of {count} with one byte changed the kernel refuses {kernel.count(False)}, ", end="")
    print(f"the direct way {direct.count(False)}; it alone takes for good: {pairs.count((False, True))}", flush=True)


# Where a mount looks: superblock, descriptors; each AG's headers, the root inode (the makers' small disks have these).
_EXT4_METADATA = [range(1024, 2048), range(2048, 2048 + 128)]
_XFS_METADATA = [*(range(ag * 80 * MIB, ag * 80 * MIB + 1536) for ag in range(4)), range(128 * 512, 128 * 512 + 176)]


def _flip_metadata(image: Path, regions: Sequence[range], source: random.Random) -> None:
    with image.open("r+b") as stream:
        while True:
            place = source.choice(source.choice(regions))
            stream.seek(place)
            (byte,) = stream.read(1)
            if byte:  # what is zero is mostly padding
                break
        stream.seek(place)
        stream.write(bytes([byte ^ 1 << source.randrange(8)]))


GOOD = "taken for good"


def _taken_for(disks: Sequence[Disk]) -> str:
    try:
        survey, _ = directly(disks)
    except (NeedsAppliance, MigrationError) as reason:
        return f"to the appliance ({reason})"
    except Exception as error:  # noqa: BLE001  # whatever a library makes of a damaged disk
        return f"to the appliance ({type(error).__name__}: {error})"
    content = survey.layout.disks[1].content
    return "unknown" if content is None or content.unmountable else GOOD


def compare_speed(folder: Path, rounds: int, initramfs_mib: int) -> None:
    """Print a row for each way, after one round that does not count."""
    disks = make_guest(folder / "measured", random.Random(5), initramfs_mib=initramfs_mib)  # noqa: S311  # repeatable
    costs: dict[str, list[Cost]] = {way: [] for way in WAYS}
    for number in range(rounds + 1):
        for way, read in WAYS.items():
            cost = measure(lambda _folder, read=read: read(disks) and None, folder)  # type: ignore[misc]
            if number:
                costs[way].append(cost)
    base = statistics.median(cost.wall for cost in costs["appliance"])
    for way, found in costs.items():
        wall, cpu, memory = (
            statistics.median(getattr(cost, name) for cost in found) for name in ("wall", "cpu", "memory")
        )
        spread = f"{min(cost.wall for cost in found):.2f} to {max(cost.wall for cost in found):.2f}"
        print(f"| {way} | {wall:.2f} ({spread}) | {wall / base:.3f} | {cpu:.2f} | {memory:.0f} |", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--guests", type=int, default=6, help="random ones of which all facts are compared")
    parser.add_argument("--flips", type=int, default=24, help="file systems with one byte changed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--initramfs", type=int, default=32, help="MiB, of the guest that is measured")
    options = parser.parse_args()
    kvm_works()  # found out once, and not a part of what is measured
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compare_damage(folder)
        compare_flips(folder, options.flips, options.seed)
        compare_speed(folder, options.rounds, options.initramfs)
        return int(bool(compare_facts(folder, options.guests, options.seed)))


if __name__ == "__main__":
    raise SystemExit(main())
