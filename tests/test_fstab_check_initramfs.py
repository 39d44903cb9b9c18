"""The modules of an initramfs are found however it is packed, and a bad one is refused in bounded time and memory."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from fstab_check import initramfs
from fstab_check.initramfs import Unlisted, list_modules
from migration.run import run
from tests.fstab_check_disks import make_cpio

FILES = ("bin/busybox", "lib/modules/6.1/kernel/drivers/block/virtio_blk.ko", "usr/lib/modules/6.1/virtio-scsi.ko.xz")


def zstd(data: bytes, folder: Path) -> bytes:
    (folder / "plain").write_bytes(data)
    run(["zstd", "-q", folder / "plain", "-o", folder / "packed"])
    return (folder / "packed").read_bytes()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "xz": lambda data: lzma.compress(data, check=lzma.CHECK_CRC32),
    "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
    "bzip2": bz2.compress,
}


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("before", [b"", make_cpio("kernel/x86/microcode/GenuineIntel.bin", size=5000) + bytes(600)])
def test_modules_are_listed(tmp_path: Path, packer: str, before: bytes) -> None:
    path = tmp_path / "initrd"
    path.write_bytes(before + PACKERS[packer](make_cpio(*FILES)))
    assert list_modules(path) == {"virtio_blk", "virtio_scsi"}


def test_modules_are_listed_of_zstd_behind_microcode(tmp_path: Path) -> None:
    path = tmp_path / "initrd"
    path.write_bytes(make_cpio("kernel/x86/microcode/AuthenticAMD.bin") + zstd(make_cpio(*FILES), tmp_path))
    assert list_modules(path) == {"virtio_blk", "virtio_scsi"}


GOOD = make_cpio(*FILES)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\x02\x21\x4c\x18lz4", id="lz4"),
        pytest.param(GOOD[:200], id="cut off"),
        pytest.param(GOOD[:50] + b"zz" + GOOD[52:], id="no number"),
        pytest.param(gzip.compress(GOOD)[:60], id="gzip cut off"),
        pytest.param(b"\x1f\x8b" + b"\xff" * 60, id="gzip damaged"),
        pytest.param(b"\xfd7zXZ\0" + b"\xff" * 60, id="xz damaged"),
        pytest.param(b"\x28\xb5\x2f\xfd" + b"\xff" * 60, id="zstd damaged"),
        pytest.param(b"MZ\x90\0PE", id="not an initramfs"),
    ],
)
def test_bad_initramfs_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "initrd"
    path.write_bytes(content)
    with pytest.raises(Unlisted):
        list_modules(path)


def test_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initramfs, "MAX_UNPACKED", 64 * 1024**2)
    path = tmp_path / "initrd"
    path.write_bytes(gzip.compress(make_cpio("big", size=100 * 1024**2)))
    with pytest.raises(Unlisted, match="more than any"):
        list_modules(path)
