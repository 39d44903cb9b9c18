from __future__ import annotations

import gzip
import json
import lzma
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from converters.convert import convert_file
from demo.guest_image import PARTITION, make_demo_guest
from demo.guest_root import ARCHIVE_UUID, FSTAB, ROOT_UUID, find_busybox
from demo.initramfs import pack_initramfs
from demo.kernel import Module, find_kernel, install_modules, plan_loading, read_modules
from migration.disk import Disk, DiskFormat, DiskRole
from migration.errors import ToolMissing
from migration.run import run
from private_cloud.boot_test import boot_test
from private_cloud.qemu_system import boot_argv

GIB = 1 << 30
NOBODY = 65534


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> tuple[Disk, ...]:
    """The demo server's disks, made once, over an older one: tests read them only."""
    folder = tmp_path_factory.mktemp("guest")
    (folder / "system.raw").write_text("left over")
    (folder / "mine.txt").write_text("kept")
    return make_demo_guest(folder)


def read_guest_file(system: Path, path: str) -> str:
    return run(["debugfs", "-R", f"cat {path}", f"{system}?offset={PARTITION}"])


def test_guest_has_the_disks_of_an_ecs_image(guest: tuple[Disk, ...]) -> None:
    assert [(disk.device, disk.role, disk.path.name) for disk in guest] == [
        ("xvda", DiskRole.SYSTEM, "system.raw"),
        ("xvdb", DiskRole.DATA, "data_xvdb.raw"),
        ("xvdc", DiskRole.DATA, "data_xvdc.raw"),
    ]
    for disk in guest:
        assert disk.format is DiskFormat.RAW
        assert disk.path.stat().st_size == disk.virtual_size == GIB


def test_guest_disks_are_sparse(guest: tuple[Disk, ...]) -> None:
    assert sum(disk.path.stat().st_blocks * 512 for disk in guest) < GIB // 4


@pytest.mark.parametrize(("number", "label"), [(0, "dos"), (1, "gpt")], ids=["system-mbr", "xvdb-gpt"])
def test_partitioned_disk_has_one_partition_where_ecs_puts_it(guest: tuple[Disk, ...], number: int, label: str) -> None:
    table = json.loads(run(["sfdisk", "--json", guest[number].path]))["partitiontable"]
    assert table["label"] == label
    assert [partition["start"] for partition in table["partitions"]] == [2048]
    assert "No errors detected" in run(["sfdisk", "--verify", guest[number].path])


@pytest.mark.parametrize("number", [0, 1], ids=["system", "xvdb"])
def test_ext4_is_sound(guest: tuple[Disk, ...], number: int) -> None:
    run(["e2fsck", "-f", "-n", f"{guest[number].path}?offset={PARTITION}"])


def test_whole_disk_xfs_is_sound(guest: tuple[Disk, ...]) -> None:
    run(["xfs_repair", "-n", "-f", guest[2].path])
    assert ARCHIVE_UUID in run(["xfs_db", "-r", "-f", "-c", "uuid", guest[2].path])


def test_fstab_is_in_the_style_of_the_cloud(guest: tuple[Disk, ...]) -> None:
    fstab = read_guest_file(guest[0].path, "/etc/fstab")
    assert fstab == FSTAB
    entries = [line.split() for line in fstab.splitlines() if line and not line.startswith("#")]
    assert entries == [
        [f"UUID={ROOT_UUID}", "/", "ext4", "defaults", "1", "1"],
        ["/dev/vdb1", "/data", "ext4", "defaults", "0", "0"],
        [f"UUID={ARCHIVE_UUID}", "/srv/archive", "xfs", "defaults", "0", "0"],
    ]


def test_guest_replaces_an_older_one_and_leaves_nothing_else_behind(guest: tuple[Disk, ...]) -> None:
    assert sorted(path.name for path in guest[0].path.parent.iterdir()) == [
        "data_xvdb.raw", "data_xvdc.raw", "mine.txt", "system.raw",
    ]  # fmt: skip


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder of nobody's, where pytest's own are closed to them."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        os.chown(folder, NOBODY, NOBODY)
        yield Path(folder)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="without root, every other test here shows it")
def test_guest_made_by_anybody_belongs_to_root(public_folder: Path) -> None:
    program = (
        "import os, sys, pathlib; from demo.guest_image import make_demo_guest\n"
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "make_demo_guest(pathlib.Path(sys.argv[1]))"
    )
    # The path of an ordinary user, without sbin.
    environment = {**os.environ, "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent"}
    subprocess.run([sys.executable, "-c", program, public_folder], check=True, env=environment)
    system, data = public_folder / "system.raw", public_folder / "data_xvdb.raw"
    assert system.stat().st_uid == NOBODY
    commands = "".join(f"stat {path}\n" for path in ("/", "/bin", "/bin/busybox", "/bin/sh", "/etc/fstab", "/sbin"))
    told = run(["debugfs", "-f", "-", f"{system}?offset={PARTITION}"], stdin=commands)
    told += run(["debugfs", "-R", "stat /orders/proof.bin", f"{data}?offset={PARTITION}"])
    owners = [line.split()[1::2][:2] for line in told.splitlines() if line.startswith("User:")]
    assert owners == [["0", "0"]] * 7


@pytest.mark.parametrize(
    ("tool", "package"),
    [("sfdisk", "fdisk"), ("mke2fs", "e2fsprogs"), ("mkfs.xfs", "xfsprogs"), ("grub-mkimage", "grub-common")],
)
def test_missing_tool_is_named_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str, package: str
) -> None:
    for name in {"sfdisk", "mke2fs", "debugfs", "mkfs.xfs", "grub-mkimage"} - {tool}:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("migration.run.SYSTEM_FOLDERS", ())
    with pytest.raises(ToolMissing, match=rf"(?s)^{tool} is not installed.*apt-get install {package}"):
        make_demo_guest(tmp_path / "guest")
    assert not (tmp_path / "guest").exists()


def test_missing_grub_for_bios_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demo.guest_image.GRUB_FOLDER", tmp_path)
    with pytest.raises(ToolMissing, match="grub-pc-bin"):
        make_demo_guest(tmp_path / "guest")


def test_busybox_that_needs_libraries_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy("/bin/true", tmp_path / "busybox")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match=r"(?s)needs shared libraries.*busybox-static"):
        find_busybox()


def plant_kernel(folder: Path, release: str, modules_dep: str = "") -> None:
    (folder / "boot").mkdir(exist_ok=True)
    (folder / "boot" / f"vmlinuz-{release}").write_text("kernel")
    (folder / "modules" / release).mkdir(parents=True)
    (folder / "modules" / release / "modules.dep").write_text(modules_dep)


def test_kernel_is_the_newest_that_has_its_modules(tmp_path: Path) -> None:
    for release in ("6.1.0-9-amd64", "6.1.0-10-amd64", "5.15.0-200-generic"):
        plant_kernel(tmp_path, release)
    (tmp_path / "boot/vmlinuz-7.0.0").write_text("without modules")
    assert find_kernel(tmp_path / "boot", tmp_path / "modules").release == "6.1.0-10-amd64"


def test_machine_without_a_kernel_is_told_the_package(tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match="linux-image"):
        find_kernel(tmp_path / "boot", tmp_path / "modules")


def test_kernel_that_only_root_can_read_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant_kernel(tmp_path, "6.8.0-generic")
    (tmp_path / "boot/vmlinuz-6.8.0-generic").chmod(0)
    # Root may read everything: the system's answer is what an ordinary user would get.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ToolMissing, match=r"chmod a\+r .*/vmlinuz-6\.8\.0-generic"):
        find_kernel(tmp_path / "boot", tmp_path / "modules")


def test_modules_are_loaded_after_what_they_need(tmp_path: Path) -> None:
    plant_kernel(
        tmp_path,
        "6.1",
        "kernel/fs/xfs/xfs.ko.xz: kernel/lib/libcrc32c.ko.xz\n"
        "kernel/lib/libcrc32c.ko.xz:\n"
        "kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio-ring.ko\n"
        "kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio-ring.ko\n"
        "kernel/drivers/virtio/virtio-ring.ko:\n",
    )
    modules = read_modules(find_kernel(tmp_path / "boot", tmp_path / "modules"))
    order = plan_loading(["virtio_pci", "not_in_this_kernel", "xfs", "virtio"], modules)
    assert order == ("virtio_ring", "virtio", "virtio_pci", "libcrc32c", "xfs")


@pytest.mark.parametrize("packing", ["", ".xz", ".zst"], ids=["plain", "xz", "zstd"])
def test_modules_are_unpacked(tmp_path: Path, packing: str) -> None:
    content = b"\x7fELF module " * 1000
    packed = tmp_path / f"xfs.ko{packing}"
    if packing == ".zst":
        if shutil.which("zstd") is None:
            pytest.skip("zstd is not installed, and only kernels whose modules are packed by it need it")
        (tmp_path / "xfs.ko").write_bytes(content)
        run(["zstd", "-q", tmp_path / "xfs.ko"])
    else:
        packed.write_bytes(lzma.compress(content) if packing else content)
    install_modules(["xfs"], {"xfs": Module("xfs", packed, ("libcrc32c",))}, tmp_path / "installed")
    assert (tmp_path / "installed/xfs.ko").read_bytes() == content
    assert (tmp_path / "installed/modules.dep").read_text() == "xfs.ko: libcrc32c.ko\n"


def test_initramfs_is_read_by_cpio(tmp_path: Path) -> None:
    (tmp_path / "virtio.ko").write_bytes(b"odd")  # its length makes padding necessary
    (tmp_path / "virtio_blk.ko").write_bytes(b"module")
    packed = pack_initramfs(find_busybox(), tmp_path, ["virtio", "virtio_blk"])
    (tmp_path / "archive").write_bytes(gzip.decompress(packed))
    listed = run(["busybox", "cpio", "-t", "-v", "-F", tmp_path / "archive"]).splitlines()
    found = {line.split()[-1]: line.split()[0] for line in listed}
    assert found == {
        "bin": "drwxr-xr-x", "bin/busybox": "-rwxr-xr-x", "dev": "drwxr-xr-x", "dev/console": "crw-------",
        "init": "-rwxr-xr-x", "modules": "drwxr-xr-x", "modules/order": "-rw-r--r--",
        "modules/virtio.ko": "-rw-r--r--", "modules/virtio_blk.ko": "-rw-r--r--",
        "proc": "drwxr-xr-x", "root": "drwxr-xr-x", "sys": "drwxr-xr-x",
    }  # fmt: skip


def test_boot_argv_attaches_the_disks_in_order_and_leaves_them_as_they_are(guest: tuple[Disk, ...]) -> None:
    argv = boot_argv(guest, kvm=False)
    drives = [argv[index + 1] for index, word in enumerate(argv) if word == "-drive"]
    assert drives == [f"file={disk.path},format=raw,if=virtio,snapshot=on" for disk in guest]
    assert "pc,accel=tcg" in argv


def test_boot_argv_keeps_a_comma_in_a_file_name() -> None:
    disk = Disk(device="xvda", role=DiskRole.SYSTEM, path=Path("/a,b/c.raw"), format=DiskFormat.RAW, virtual_size=GIB)
    assert any(word.startswith("file=/a,,b/c.raw,format=raw") for word in boot_argv([disk], kvm=False))


def test_boot_argv_is_for_people_or_for_programs() -> None:
    assert "stdio" in boot_argv([], kvm=False)
    assert "mon:stdio" in boot_argv([], kvm=True, interactive=True)
    assert "pc,accel=kvm" in boot_argv([], kvm=True)


ALL_IS_WELL = (
    "ferry-demo: / is mounted from /dev/vda1",
    "ferry-demo: /data is mounted from /dev/vdb1, contents proven",
    "ferry-demo: /srv/archive is mounted from /dev/vdc, contents proven",
    "ferry-demo: boot complete, 3 of 3 file systems mounted",
)


def demo_lines(disks: Sequence[Disk]) -> tuple[str, ...]:
    """Boot the disks and return what the server says of itself."""
    # It has no systemd: a look for one would cost an appliance.
    return tuple(line for line in boot_test(disks, plant_witness=False).log if line.startswith("ferry-demo:"))


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize(
    "to",
    [
        DiskFormat.QCOW2,
        DiskFormat.RAW,
        DiskFormat.VMDK,
    ],
    ids=str,
)
def test_guest_boots_and_mounts_all_its_disks(guest: tuple[Disk, ...], tmp_path: Path, to: DiskFormat) -> None:
    images = guest
    if to is not DiskFormat.RAW:
        images = tuple(replace(disk, path=convert_file(disk, tmp_path, to).path, format=to) for disk in guest)
    assert demo_lines(images) == ALL_IS_WELL


@pytest.mark.exhaustive
@pytest.mark.slow
def test_guest_says_which_file_systems_are_missing(guest: tuple[Disk, ...]) -> None:
    assert demo_lines([guest[0], guest[2]]) == (
        "ferry-demo: / is mounted from /dev/vda1",
        "ferry-demo: /data is not mounted, /etc/fstab says /dev/vdb1",
        "ferry-demo: /srv/archive is mounted from /dev/vdb, contents proven",
        "ferry-demo: boot complete, 2 of 3 file systems mounted",
    )
