"""Makes the disks of the demo server: a small real Linux on three disks, laid out as ECS lays them out.

`system.raw` has an MBR and one ext4 partition at sector 2048 with GRUB; `data_xvdb.raw` a GPT and one
ext4 partition; `data_xvdc.raw` is xfs from its first byte. Nobody needs to be root, no appliance runs
and nothing is fetched. UUIDs are always the same; time stamps are not, so neither are digests.
"""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path

from demo.guest_root import ARCHIVE_UUID, ROOT_UUID, plant_data, plant_root
from migration.disk import SYSTEM_DEVICE, Disk, DiskFormat, DiskRole
from migration.errors import InvalidInput, ToolMissing
from migration.run import find_program, run
from migration.storage import sync_directory

SIZE = 1 << 30  # bytes a disk: ECS sells whole GiB
SECTOR = 512
PARTITION = 2048 * SECTOR  # where the first partition starts on the images of ECS and of everyone else
PARTITION_SIZE = SIZE - 2 * PARTITION  # leaves room for the second copy of a GPT

DATA_UUID = "5e1f0a52-7c8e-4f5e-9a43-d1c6f9b0a002"
DATA_DISK_UUID = "5e1f0a52-7c8e-4f5e-9a43-d1c6f9b0a00b"
DATA_PARTITION_UUID = "5e1f0a52-7c8e-4f5e-9a43-d1c6f9b0a01b"

DATA_BYTES = 40 << 20
ARCHIVE_BYTES = 16 << 20

# Named one by one: the defaults of e2fsprogs 1.47 (metadata_csum_seed, orphan_file) are more than the
# GRUB of Debian 12 can read, and e2fsprogs 1.46 does not know the names that switch them off.
EXT4_FEATURES = (
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,"
    "huge_file,dir_nlink,extra_isize,metadata_csum"
)

GRUB_FOLDER = Path("/usr/lib/grub/i386-pc")
GRUB_MODULES = ("biosdisk", "part_msdos", "ext2", "normal", "linux", "search", "serial", "terminal", "test", "echo")
BOOT_CODE = 440  # bytes of the first sector before the MBR's disk signature and partition table


def make_demo_guest(directory: Path) -> tuple[Disk, ...]:
    """Make the three RAW disks in `directory` and return them in the guest's order.

    Each name appears only once its disk is whole; disks that were there are replaced. Raises
    `ToolMissing` naming the package, or `InvalidInput` on a machine that is not x86-64.
    """
    if platform.machine() != "x86_64":
        raise InvalidInput(f"the demo server is made for x86-64, this machine is {platform.machine()}", "use another")
    _check_tools()
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".demo-guest-", dir=directory) as scratch:
        work = Path(scratch)
        for name in ("root", "data", "archive"):
            (work / name).mkdir()
        plant_root(work / "root")
        plant_data(work / "data", "orders", DATA_BYTES)
        plant_data(work / "archive", "2023", ARCHIVE_BYTES)
        disks = (
            _place(_make_system_disk(work), directory, SYSTEM_DEVICE),
            _place(_make_data_disk(work), directory, "xvdb"),
            _place(_make_archive_disk(work), directory, "xvdc"),
        )
    sync_directory(directory)
    return disks


def _check_tools() -> None:
    """Find out what is missing before seconds are spent on the rest."""
    for name in ("sfdisk", "mke2fs", "debugfs", "mkfs.xfs", "grub-mkimage"):
        find_program(name)
    if not (GRUB_FOLDER / "boot.img").exists():
        raise ToolMissing("GRUB for BIOS machines is not installed on this machine", "apt-get install grub-pc-bin")


def _place(made: Path, directory: Path, device: str) -> Disk:
    role = DiskRole.SYSTEM if device == SYSTEM_DEVICE else DiskRole.DATA
    disk = Disk(device=device, role=role, path=made, format=DiskFormat.RAW, virtual_size=SIZE)
    final = directory / f"{disk.stem}{disk.format.suffix}"
    made.replace(final)
    return Disk(device=device, role=role, path=final, format=DiskFormat.RAW, virtual_size=SIZE)


def _make_system_disk(work: Path) -> Path:
    image = _empty_disk(work / "system")
    first = f"start={PARTITION // SECTOR}, size={PARTITION_SIZE // SECTOR}"
    table = f"label: dos\nlabel-id: 0x5e1f0a52\n{first}, type=83, bootable\n"
    run(["sfdisk", "--quiet", image], stdin=table)
    _make_ext4(work / "root", image, ROOT_UUID)
    core = work / "core.img"
    # `(,msdos1)` is the first partition of whichever disk the firmware started from.
    run(["grub-mkimage", "--format", "i386-pc", "--prefix", "(,msdos1)/boot/grub", "--output", core, *GRUB_MODULES])
    _embed(GRUB_FOLDER / "boot.img", core, image)
    return image


def _embed(boot: Path, core: Path, image: Path) -> None:
    """Write GRUB into the first sector and the gap behind it.

    boot.img as it comes loads sector 1, where core.img says the rest of itself follows, so that both
    work unpatched (source: GRUB's boot.S and diskboot.S).
    """
    core_bytes = core.read_bytes()
    if SECTOR + len(core_bytes) > PARTITION:
        raise ToolMissing(f"GRUB's core image of {len(core_bytes)} bytes does not fit before the first partition")
    with image.open("r+b") as disk:
        disk.write(boot.read_bytes()[:BOOT_CODE])
        disk.seek(SECTOR)
        disk.write(core_bytes)


def _make_data_disk(work: Path) -> Path:
    image = _empty_disk(work / "data-disk")
    table = (
        f"label: gpt\nlabel-id: {DATA_DISK_UUID}\n"
        f"start={PARTITION // SECTOR}, size={PARTITION_SIZE // SECTOR}, type=L, uuid={DATA_PARTITION_UUID}\n"
    )
    run(["sfdisk", "--quiet", image], stdin=table)
    _make_ext4(work / "data", image, DATA_UUID)
    return image


def _make_archive_disk(work: Path) -> Path:
    tree, image = work / "archive", _empty_disk(work / "archive-disk")
    prototype = work / "archive.prototype"
    prototype.write_text("/\n0 0\n" + "\n".join(_prototype_lines(tree, tree)) + "\n", encoding="utf-8")
    # The prototype's words are separated by blanks and cannot be quoted: its paths are relative to the tree.
    make = ["env", f"--chdir={tree}", find_program("mkfs.xfs"), "-q"]
    run([*make, "-m", f"uuid={ARCHIVE_UUID}", "-p", prototype, image])
    return image


def _prototype_lines(folder: Path, tree: Path) -> Iterator[str]:
    """Describe `folder` as mkfs.xfs wants it (source: man 8 mkfs.xfs, `-p`): all is root's."""
    name = "" if folder == tree else f"{folder.name} "
    yield f"{name}d--755 0 0"
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield from _prototype_lines(path, tree)
        else:
            yield f"{path.name} ---644 0 0 {path.relative_to(tree)}"
    yield "$"


def _empty_disk(path: Path) -> Path:
    with path.open("xb") as file:
        file.truncate(SIZE)
    return path


def _make_ext4(tree: Path, image: Path, uuid: str) -> None:
    """Make a file system that holds `tree` in the first partition of `image`."""
    run(
        [
            "mke2fs", "-q", "-F", "-t", "ext4", "-O", EXT4_FEATURES, "-U", uuid,
            "-b", "4096", "-i", "65536", "-J", "size=8",  # small tables, or zeros outweigh the content
            "-E", f"offset={PARTITION},root_owner=0:0,hash_seed={uuid}",
            "-d", tree, image, f"{PARTITION_SIZE // 1024}k",
        ]
    )  # fmt: skip
    if os.geteuid() != 0:
        _give_to_root(tree, image)


def _give_to_root(tree: Path, image: Path) -> None:
    """Make root own every file: mke2fs copies owners from `tree`, where they are whoever runs us."""
    paths = [f"/{path.relative_to(tree)}" for path in sorted(tree.rglob("*"))]
    commands = [f"set_inode_field {path} {field} 0\n" for path in paths for field in ("uid", "gid")]
    run(["debugfs", "-w", "-f", "-", f"{image}?offset={PARTITION}"], stdin="".join(commands))
