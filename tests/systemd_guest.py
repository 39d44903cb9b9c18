"""Makes guests that are a small real Debian with systemd, quickly: one root file system, built once on a machine.

`make_guest` lays out a system disk whose /etc/fstab, kernel command line and waiting times are the caller's: files of
one block each in a disk that is otherwise copied, so that a guest takes a second. Building the root takes minutes
and 300 MB from the distribution's mirror; it is kept in the user's cache folder. `reason_to_skip` says what is missing
for it on a machine.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from demo.guest_image import BOOT_CODE, EXT4_FEATURES, GRUB_FOLDER
from demo.kernel import Kernel, plan_loading, read_modules
from migration.disk import Disk, DiskFormat, DiskRole
from migration.disk_file import find_disks
from migration.errors import ToolMissing
from migration.run import find_program, run
from migration.str_enum import StrEnum
from private_cloud.machine import DirectKernel

RECIPE = 1  # to be raised with every change here after which the guest has to be built anew
MIB = 1024**2
SECTOR = 512
ROOT_UUID = "0b5c7a1e-52d0-4e0c-8d6f-5a1d00000001"
ROOT_SIZE = 1000 * MIB
ESP_SIZE = 34 * MIB  # no smaller one can be FAT32
CONSOLE = "console=ttyS0,115200n8 systemd.show_status=true"
# An emulated processor pays for each of these, and each line that the kernel prints.
# On a busy machine an emulated timer comes too late for the kernel's check of it, which then panics.
FAST = "loglevel=4 mitigations=off audit=0 apparmor=0 selinux=0 no_timer_check"

# What the tests need beside what Ferry needs, by package.
_PROGRAMS = {"mmdebstrap": "mmdebstrap", "mformat": "mtools", "mcopy": "mtools", "mmd": "mtools"}
_GRUB_EFI = Path("/usr/lib/grub/x86_64-efi")
PACKAGES = ("mmdebstrap", "mtools", "grub-efi-amd64-bin", "ovmf")

_INCLUDED = (
    "systemd", "systemd-sysv", "udev", "dbus", "mount", "util-linux", "login", "passwd", "kmod", "initramfs-tools",
    "e2fsprogs", "xfsprogs", "btrfs-progs", "lvm2", "linux-image-amd64",
)  # fmt: skip
# Of the full kernel (the cloud flavour has no AHCI) and the packages, what no boot here looks at.
_LEFT_OUT = (
    "/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*", "/usr/share/bash-completion/*",
    "/usr/share/zoneinfo/*", "/lib/udev/hwdb.d/*",
    # The root is a partition: the initramfs has to look for no volume.
    "/usr/share/initramfs-tools/*/btrfs", "/usr/share/initramfs-tools/*/lvm2",
    "/lib/modules/*/kernel/drivers/gpu/*", "/lib/modules/*/kernel/drivers/media/*", "/lib/modules/*/kernel/sound/*",
    "/lib/modules/*/kernel/drivers/net/*", "/lib/modules/*/kernel/drivers/usb/*", "/lib/modules/*/kernel/net/*",
    "/lib/modules/*/kernel/drivers/infiniband/*", "/lib/modules/*/kernel/drivers/staging/*",
    "/lib/modules/*/kernel/drivers/iio/*", "/lib/modules/*/kernel/drivers/hwmon/*",
)  # fmt: skip
# All the ways to a disk that a hypervisor may offer; udev loads those that are there.
_MODULES = (
    "virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "ata_piix", "ata_generic", "ahci", "nvme", "vmw_pvscsi",
    "mptspi", "ext4", "xfs", "btrfs", "crc32c_generic", "crc32c_intel",
)  # fmt: skip
# And what a running system may want to mount; the other modules are taken away, as udev would load a dozen of them.
_MORE_MODULES = (
    "autofs4",
    "dm_mod",
    "dm_snapshot",
    "fuse",
    "loop",
    "vfat",
    "nls_ascii",
    "nls_cp437",
    "isofs",
    "overlay",
)
_MASKED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service",
    "fstrim.timer", "getty@tty1.service", "lvm2-monitor.service", "systemd-binfmt.service", "systemd-pstore.service",
    "systemd-random-seed.service", "systemd-update-utmp.service", "systemd-update-utmp-runlevel.service",
    "systemd-journal-flush.service", "systemd-logind.service", "xfs_scrub_all.timer", "dbus.service", "dbus.socket",
    "systemd-timesyncd.service", "systemd-networkd.service", "dev-hugepages.mount", "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount", "sys-kernel-config.mount", "sys-fs-fuse-connections.mount", "dev-mqueue.mount",
    "blk-availability.service", "modprobe@.service", "systemd-fsckd.socket", "systemd-sysctl.service",
    "systemd-modules-load.service", "systemd-sysusers.service", "systemd-tmpfiles-clean.timer", "dm-event.socket",
    "lvm2-lvmpolld.socket", "systemd-initctl.socket", "proc-sys-fs-binfmt_misc.automount",
)  # fmt: skip
_BLOCK = 4096  # bytes: each file that `make_guest` writes is one block of the file system
_OWN_FILES = ("/etc/fstab", "/etc/systemd/system.conf", "/boot/grub/grub.cfg")

_GRUB_MODULES = ("part_msdos", "part_gpt", "ext2", "normal", "linux", "search", "search_fs_uuid", "serial", "terminal")
_GRUB_CORE = f"search --no-floppy --fs-uuid --set=root {ROOT_UUID}\nset prefix=($root)/boot/grub\n"
_GRUB_CFG = """\
serial --unit=0 --speed=115200
terminal_output serial console
linux /boot/vmlinuz root=UUID={uuid} ro {command_line}
initrd /boot/initrd.img
boot
"""


class Layout(StrEnum):
    """How the system disk is partitioned, and which firmware starts it."""

    MBR = "mbr"  # BIOS; partition 1 is the root
    GPT = "gpt"  # BIOS; 1 is GRUB's, 2 the root
    UEFI = "uefi"  # 1 is the EFI system partition, 2 the root

    @property
    def root_start(self) -> int:
        """Where the root file system starts, in bytes."""
        return {Layout.MBR: MIB, Layout.GPT: 2 * MIB, Layout.UEFI: MIB + ESP_SIZE}[self]

    @property
    def table(self) -> str:
        """The partition table, for sfdisk."""
        start, size = self.root_start // SECTOR, ROOT_SIZE // SECTOR
        if self is Layout.MBR:
            return f"label: dos\nlabel-id: 0x0b5c7a1e\nstart={start}, size={size}, type=83, bootable\n"
        first = "21686148-6449-6E6F-744E-656564454649" if self is Layout.GPT else "U"
        return (
            f"label: gpt\nlabel-id: 0b5c7a1e-52d0-4e0c-8d6f-5a1d000000aa\n"
            f"start=2048, size={start - 2048}, type={first}\n"
            f"start={start}, size={size}, type=L, uuid=0b5c7a1e-52d0-4e0c-8d6f-5a1d00000002\n"
        )


def reason_to_skip() -> str:
    """Return why no such guest can be made on this machine, "" where it can."""
    if os.geteuid() != 0:
        return "only root can unpack a Debian"
    if platform.machine() != "x86_64":
        return "the guest is made for x86-64"
    if _codename() is None:
        return "the guest is made from the mirror of a Debian machine"
    try:
        for name in ("qemu-system-x86_64", "mke2fs", "debugfs", "sfdisk", "grub-mkimage", *_PROGRAMS):
            find_program(name)
    except ToolMissing as error:
        return f"{error.message}: apt-get install {' '.join(PACKAGES)}"
    if not _GRUB_EFI.exists():
        return f"GRUB for UEFI is not installed: apt-get install {' '.join(PACKAGES)}"
    return ""


def make_guest(
    folder: Path,
    *,
    fstab: str,
    disks: Mapping[str, Path] | None = None,
    layout: Layout = Layout.MBR,
    command_line: str = f"{CONSOLE} {FAST}",
    device_timeout: str = "90s",
) -> tuple[Disk, ...]:
    """Make `system.raw` in `folder`, and return it with `disks` (RAW files by device name), in the guest's order.

    `device_timeout` is how long systemd waits for a device that does not come, 90 seconds by default.
    """
    system = folder / "system.raw"
    base = _base_disk(layout)
    run(["cp", "--sparse=always", "--reflink=auto", base, system])
    contents = {
        "/etc/fstab": fstab,
        # Not the time that services may take to start: an emulated processor may need it.
        "/etc/systemd/system.conf": f"[Manager]\nDefaultDeviceTimeoutSec={device_timeout}\n",
        "/boot/grub/grub.cfg": _GRUB_CFG.format(uuid=ROOT_UUID, command_line=command_line),
    }
    with system.open("r+b") as file:
        for path, block in _blocks(base, layout).items():
            file.seek(layout.root_start + block * _BLOCK)
            file.write(_padded(contents[path]))
    size = system.stat().st_size
    disk = Disk(device="xvda", role=DiskRole.SYSTEM, path=system, format=DiskFormat.RAW, virtual_size=size)
    return (disk, *find_disks([f"{device}={path}" for device, path in (disks or {}).items()]))


def direct_kernel(command_line: str = f"{CONSOLE} {FAST}") -> DirectKernel:
    """Return the guest's kernel for QEMU to start by itself, which saves GRUB's seconds."""
    boot = _root_tree() / "boot"
    return DirectKernel(
        image=boot / "vmlinuz",
        initramfs=boot / "initrd.img",
        command_line=f"root=UUID={ROOT_UUID} ro {command_line}",
    )


def _padded(text: str) -> bytes:
    """Fill the block with empty lines: fstab, system.conf and grub.cfg may all have them."""
    data = text.encode() + b"\n"
    assert len(data) <= _BLOCK, "this file of the guest holds one block"
    return data.ljust(_BLOCK, b"\n")


def _blocks(base: Path, layout: Layout) -> dict[str, int]:
    """Return the block of the root file system that holds each of our files."""
    commands = "".join(f"blocks {path}\n" for path in _OWN_FILES)
    told = run(["debugfs", "-f", "-", f"{base}?offset={layout.root_start}"], stdin=commands)
    numbers = [int(line) for line in told.splitlines() if line.strip().isdigit()]
    return dict(zip(_OWN_FILES, numbers, strict=True))


def _codename() -> str | None:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return None
    return release.get("VERSION_CODENAME") if release.get("ID") == "debian" else None


def _cache() -> Path:
    """Return the folder of what this recipe has built."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    ingredients = (
        RECIPE,
        _codename(),
        _INCLUDED,
        _LEFT_OUT,
        _MODULES,
        _MORE_MODULES,
        _MASKED,
        _GRUB_MODULES,
        _GRUB_CORE,
    )
    recipe = hashlib.sha256(repr(ingredients).encode()).hexdigest()[:12]
    folder = Path(home) / "ferry-tests" / f"systemd-guest-{recipe}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _one_at_a_time(name: str) -> Iterator[None]:
    """Keep other test processes from building the same."""
    with (_cache() / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _root_tree() -> Path:
    """Return the folder with the guest's root file system, made where it is missing."""
    tree = _cache() / "root"
    with _one_at_a_time("root"):
        if not tree.exists():
            with tempfile.TemporaryDirectory(prefix=".root-", dir=_cache()) as scratch:
                made = Path(scratch) / "root"
                _install(made)
                _settle(made)
                made.rename(tree)
    return tree


def _install(tree: Path) -> None:
    """Install the packages, from where this machine has its own."""
    sources = [str(path) for path in (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))]
    source = next(path for path in sources if Path(path).exists())
    hook = tree.with_name("modules")
    hook.write_text(
        '#!/bin/sh\ncase "$1" in prereqs) exit 0;; esac\n. /usr/share/initramfs-tools/hook-functions\n'
        f"manual_add_modules {' '.join(_MODULES)}\n",
        encoding="utf-8",
    )  # fmt: skip
    hook.chmod(0o755)
    conf = tree.with_name("list")
    conf.write_text("MODULES=list\nCOMPRESS=gzip\nRESUME=none\n", encoding="utf-8")
    run(
        [
            "mmdebstrap", "--variant=minbase", "--mode=root", "--format=directory", "--quiet",
            f"--include={','.join(_INCLUDED)}",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT),
            # In place before the kernel is configured, which makes the initramfs.
            '--essential-hook=mkdir -p "$1/etc/initramfs-tools/hooks" "$1/etc/initramfs-tools/conf.d"',
            f'--essential-hook=cp "{hook}" "$1/etc/initramfs-tools/hooks/buses"',
            f'--essential-hook=cp "{conf}" "$1/etc/initramfs-tools/conf.d/buses"',
            _codename() or "", tree, source,
        ]
    )  # fmt: skip


def _settle(tree: Path) -> None:
    """Make of an installed system one that boots fast and says on the serial port how that goes."""
    for name in _MASKED:
        link = tree / "etc/systemd/system" / name
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    (tree / "etc/hostname").write_text("iZferrytest01Z\n")
    # Not the first boot of this machine: no presets are applied, no ids are made.
    (tree / "etc/machine-id").write_text("0b5c7a1e52d04e0c8d6f5a1d00000003\n")
    shadow = tree / "etc/shadow"
    # A root that may log in, as on servers: else sulogin says that the account is locked. There is no such hash.
    shadow.write_text(shadow.read_text().replace("root:*:", "root:$6$none:", 1))
    journal = tree / "etc/systemd/journald.conf.d/volatile.conf"
    journal.parent.mkdir(parents=True, exist_ok=True)
    journal.write_text("[Journal]\nStorage=volatile\n")
    _prune_modules(tree)
    for folder in ("var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(tree / folder, ignore_errors=True)
    for pattern in ("System.map-*", "config-*"):
        for file in (tree / "boot").glob(pattern):
            file.unlink()
    (tree / "boot/grub").mkdir()
    for path in _OWN_FILES:
        (tree / path.lstrip("/")).write_bytes(_padded(""))
    for name in ("vmlinuz", "initrd.img"):
        [versioned] = (tree / "boot").glob(f"{name}-*")
        (tree / "boot" / name).symlink_to(versioned.name)


def _prune_modules(tree: Path) -> None:
    """Leave the modules that are named here, and what they need."""
    [image] = (tree / "boot").glob("vmlinuz-*")
    release = image.name.removeprefix("vmlinuz-")
    modules = read_modules(Kernel(release, image, tree / "lib/modules" / release))
    kept = set(plan_loading([*_MODULES, *_MORE_MODULES], modules))
    for name, module in modules.items():
        if name not in kept:
            module.path.unlink()
    run(["depmod", "--basedir", tree, release])


def _base_disk(layout: Layout) -> Path:
    """Return the system disk with files of ours that are still empty, made where it is missing."""
    disk = _cache() / f"{layout}.raw"
    tree = _root_tree()
    with _one_at_a_time(str(layout)):
        if not disk.exists():
            with tempfile.TemporaryDirectory(prefix=f".{layout}-", dir=_cache()) as scratch:
                made = Path(scratch) / "disk.raw"
                _make_disk(made, tree, layout)
                made.rename(disk)
    return disk


def _make_disk(image: Path, tree: Path, layout: Layout) -> None:
    with image.open("wb") as file:
        file.truncate(layout.root_start + ROOT_SIZE + MIB)
    run(["sfdisk", "--quiet", image], stdin=layout.table)
    run(
        [
            "mke2fs", "-q", "-F", "-t", "ext4", "-O", EXT4_FEATURES, "-U", ROOT_UUID, "-b", str(_BLOCK),
            "-E", f"offset={layout.root_start},root_owner=0:0,hash_seed={ROOT_UUID}", "-d", tree,
            image, f"{ROOT_SIZE // 1024}k",
        ]
    )  # fmt: skip
    if layout is Layout.UEFI:
        _make_esp(image)
    else:
        _embed_grub(image, sector=1 if layout is Layout.MBR else 2048)


def _grub_core(folder: Path, platform_name: str, *modules: str) -> Path:
    config, core = folder / "grub.cfg", folder / "core.img"
    config.write_text(_GRUB_CORE, encoding="utf-8")
    run(
        [
            "grub-mkimage", "--format", platform_name, "--config", config, "--prefix", "/boot/grub",
            "--output", core, *modules, *_GRUB_MODULES,
        ]
    )  # fmt: skip
    return core


def _embed_grub(image: Path, *, sector: int) -> None:
    """Write GRUB for BIOS into the first sector, and what that loads to `sector` (source: boot.S, diskboot.S)."""
    with tempfile.TemporaryDirectory() as scratch:
        core = bytearray(_grub_core(Path(scratch), "i386-pc", "biosdisk").read_bytes())
    boot = bytearray((GRUB_FOLDER / "boot.img").read_bytes()[:BOOT_CODE])
    boot[0x5C:0x64] = sector.to_bytes(8, "little")
    core[0x1F4:0x1FC] = (sector + 1).to_bytes(8, "little")
    with image.open("r+b") as file:
        file.write(boot)
        file.seek(sector * SECTOR)
        file.write(core)


def _make_esp(image: Path) -> None:
    """Make the EFI system partition, with GRUB where a firmware looks that does not know the disk."""
    with tempfile.TemporaryDirectory() as scratch:
        core = _grub_core(Path(scratch), "x86_64-efi")
        esp = Path(scratch) / "esp"
        with esp.open("wb") as file:
            file.truncate(ESP_SIZE)
        run(["mformat", "-i", esp, "-F", "-c", "1", "::"])
        run(["mmd", "-i", esp, "::/EFI", "::/EFI/BOOT"])
        run(["mcopy", "-i", esp, core, "::/EFI/BOOT/BOOTX64.EFI"])
        with image.open("r+b") as file:
            file.seek(MIB)
            file.write(esp.read_bytes())
