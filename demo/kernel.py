"""Finds a Linux kernel on this machine, and the modules with which a guest reaches its disks."""

from __future__ import annotations

import lzma
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from migration.errors import ToolMissing
from migration.kernel_names import module_name, release_order
from migration.run import run

HOW_TO_GET_ONE = "apt-get install linux-image-cloud-amd64 (Ubuntu: linux-image-virtual)"

# What the initramfs loads to find the root file system on any bus a hypervisor may put it on. A kernel
# has some of these built in and lacks others: Debian's cloud flavour has no AHCI.
BUSES = ("virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "ata_piix", "ahci", "nvme", "mptspi", "vmw_pvscsi")
CHECKSUMS = ("crc32c_generic", "crc32c_intel")  # asked for by name at run time: no module depends on them
ROOT_FILE_SYSTEM = "ext4"
DATA_FILE_SYSTEM = "xfs"


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel with its modules. `release` is what `uname -r` says under it."""

    release: str
    image: Path
    modules: Path  # the folder that holds modules.dep


@dataclass(frozen=True, slots=True)
class Module:
    """A loadable module; `needs` names those to load before it, in that order."""

    name: str  # as lsmod spells it, with underscores
    path: Path
    needs: tuple[str, ...]


def find_kernel(boot: Path = Path("/boot"), modules: Path = Path("/lib/modules")) -> Kernel:
    """Return the newest kernel that we can read and have the modules of, or raise `ToolMissing`."""
    images = sorted(boot.glob("vmlinuz-*"), key=lambda image: release_order(image.name), reverse=True)
    kernels = [Kernel(name := image.name.removeprefix("vmlinuz-"), image, modules / name) for image in images]
    kernels = [kernel for kernel in kernels if (kernel.modules / "modules.dep").exists()]
    if not kernels:
        raise ToolMissing(f"{boot} has no Linux kernel with modules in {modules}", HOW_TO_GET_ONE)
    for kernel in kernels:
        if os.access(kernel.image, os.R_OK):
            return kernel
    # Ubuntu lets only root read its kernels.
    raise ToolMissing(f"{kernels[0].image} cannot be read by this user", f"sudo chmod a+r {kernels[0].image}")


def read_modules(kernel: Kernel) -> dict[str, Module]:
    """Return the loadable modules of `kernel` by name, from modules.dep (source: man 5 modules.dep)."""
    modules = {}
    for line in (kernel.modules / "modules.dep").read_text(encoding="utf-8").splitlines():
        path, _, needs = line.partition(":")
        name = module_name(path)
        # depmod lists everything needed, directly or not, the first to load last.
        needed = tuple(module_name(need) for need in reversed(needs.split()))
        modules[name] = Module(name, kernel.modules / path, needed)
    return modules


def read_built_in(kernel: Kernel) -> frozenset[str]:
    """Return the names of what is part of the kernel image itself."""
    listed = kernel.modules / "modules.builtin"
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.exists() else []
    return frozenset(module_name(line) for line in lines)


def plan_loading(wanted: Iterable[str], modules: dict[str, Module]) -> tuple[str, ...]:
    """Return the names to load, each after what it needs; wanted modules that do not exist are left out."""
    order: dict[str, None] = {}
    for name in wanted:
        if module := modules.get(name):
            order.update(dict.fromkeys([*module.needs, name]))
    return tuple(order)


def check_kernel(kernel: Kernel, modules: dict[str, Module]) -> None:
    """Raise `ToolMissing` if `kernel` has no way to virtio disks or to the demo's file systems."""
    have = read_built_in(kernel) | modules.keys()
    missing = [name for name in ("virtio_pci", "virtio_blk", ROOT_FILE_SYSTEM, DATA_FILE_SYSTEM) if name not in have]
    if missing:
        raise ToolMissing(f"kernel {kernel.release} comes without {', '.join(missing)}", HOW_TO_GET_ONE)


def install_modules(names: Sequence[str], modules: dict[str, Module], folder: Path) -> None:
    """Put modules into `folder`, unpacked, with a modules.dep from which busybox's modprobe loads them."""
    folder.mkdir(parents=True)
    lines = []
    for name in names:
        _unpack(modules[name].path, folder / f"{name}.ko")
        needs = " ".join(f"{need}.ko" for need in reversed(modules[name].needs))
        lines.append(f"{name}.ko: {needs}".rstrip() + "\n")
    (folder / "modules.dep").write_text("".join(lines), encoding="utf-8")


def _unpack(packed: Path, target: Path) -> None:
    """Write a module as the kernel loads it: distributions ship .ko, .ko.xz or .ko.zst."""
    if packed.suffix == ".xz":
        target.write_bytes(lzma.decompress(packed.read_bytes()))
    elif packed.suffix == ".zst":
        run(["zstd", "--decompress", "--quiet", packed, "-o", target])
    else:
        shutil.copyfile(packed, target)
