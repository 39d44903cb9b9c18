"""Makes real disks for the slow tests, without root rights: file systems in files, then put into partitions."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from migration.acceleration import kvm_works
from migration.disk import Disk, DiskFormat, DiskRole
from migration.run import run

if TYPE_CHECKING:
    import guestfs

MIB = 1024**2
OS_RELEASE = 'NAME="Test"\nPRETTY_NAME="Test Linux 9 (\\"Nine\\")"\n'


def make_tree(folder: Path, files: Mapping[str, str]) -> Path:
    """Make the least that is a Linux root, and `files` in it."""
    for path, text in {"usr/lib/os-release": OS_RELEASE, "bin/sh": "", **files}.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    (folder / "etc").mkdir(exist_ok=True)
    (folder / "etc/os-release").symlink_to("../usr/lib/os-release")
    return folder


def make_cpio(*names: str, size: int = 3) -> bytes:
    """Return a newc archive, what an initramfs is, with files of `size` bytes."""
    archive = b""
    for name in (*names, "TRAILER!!!"):
        encoded, content = name.encode() + b"\0", b"x" * (0 if name == "TRAILER!!!" else size)
        fields = (0, 0o100644, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
        header = b"070701" + b"".join(b"%08x" % field for field in fields) + encoded
        archive += header + bytes(-len(header) % 4) + content + bytes(-len(content) % 4)
    return archive


def make_ext4(image: Path, *, uuid: str, label: str = "", tree: Path | None = None, mib: int = 16) -> Path:
    content = ["-d", str(tree)] if tree else []
    run(["mke2fs", "-q", "-t", "ext4", "-U", uuid, "-L", label, *content, image, f"{mib}M"])
    return image


def make_xfs(image: Path, *, uuid: str, label: str = "") -> Path:
    with image.open("wb") as stream:
        stream.truncate(320 * MIB)  # mkfs.xfs makes none under 300
    run(["mkfs.xfs", "-q", "-m", f"uuid={uuid}", "-L", label, image])
    return image


def make_partitioned(disk: Path, images: Sequence[Path | int], *, label: str = "dos") -> Path:
    """Make a disk with a partition for each image, or an empty one of so many MiB."""
    sizes = [size * MIB if isinstance(size, int) else size.stat().st_size for size in images]
    with disk.open("wb") as stream:
        stream.truncate(sum(sizes) + 3 * MIB)
    table = [f"label: {label}"]
    if label == "dos":
        table.append("label-id: 0x1234abcd")
    table += [
        f"size={size // 512}" + (f', name="part {number}"' if label == "gpt" else "")
        for number, size in enumerate(sizes, 1)
    ]
    run(["sfdisk", "-q", disk], stdin="\n".join(table) + "\n")
    offset = MIB
    for image, size in zip(images, sizes, strict=True):
        if isinstance(image, Path):
            with image.open("rb") as source, disk.open("r+b") as target:
                target.seek(offset)
                shutil.copyfileobj(source, target)
        offset += size
    return disk


def disk_of(path: Path, device: str, format_: DiskFormat = DiskFormat.RAW) -> Disk:
    role = DiskRole.SYSTEM if device == "xvda" else DiskRole.DATA
    return Disk(device=device, role=role, path=path, format=format_, virtual_size=path.stat().st_size)


@contextmanager
def building_appliance(*paths: Path) -> Iterator[guestfs.GuestFS]:
    """Open disks for writing, to make on them what no program makes in a file."""
    import guestfs  # noqa: PLC0415  # only the slow tests need it

    g = guestfs.GuestFS(python_return_dict=True)
    g.set_backend("direct")
    g.set_backend_settings([] if kvm_works() else ["force_tcg=1"])
    for path in paths:
        g.add_drive_opts(str(path), format="raw")
    g.launch()
    try:
        yield g
        g.umount_all()
        g.shutdown()
    finally:
        g.close()


def empty_disk(path: Path, mib: int) -> Path:
    with path.open("wb") as stream:
        stream.truncate(mib * MIB)
    return path
