from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from converters import qemu_img
from converters.qemu_img import Compression, ImageFile
from migration.disk import DiskFormat
from migration.errors import CommandFailed, InvalidInput, NoSpace
from migration.run import run

RAW = ImageFile(path=Path("/disks/system.raw"), format=DiskFormat.RAW)
REAL = shutil.which("qemu-img") or "qemu-img"


def image(to: DiskFormat) -> ImageFile:
    return ImageFile(path=Path(f"/images/system{to.suffix}"), format=to)


@pytest.mark.parametrize(
    ("to", "compression", "words"),
    [
        pytest.param(DiskFormat.RAW, None, "-O raw -m 16 -W", id="raw"),
        pytest.param(DiskFormat.QCOW2, None, "-O qcow2 -m 16 -W -o compat=1.1", id="qcow2"),
        pytest.param(
            DiskFormat.QCOW2, Compression.ZSTD,
            "-O qcow2 -m 16 -c -W -o compat=1.1,compression_type=zstd", id="qcow2-zstd",
        ),
        pytest.param(
            DiskFormat.QCOW2, Compression.DEFLATE,
            "-O qcow2 -m 16 -c -W -o compat=1.1,compression_type=zlib", id="qcow2-zlib",
        ),
        pytest.param(
            DiskFormat.VMDK, None,
            "-O vmdk -m 16 -W -o subformat=monolithicSparse,adapter_type=lsilogic", id="vmdk",
        ),
        pytest.param(
            DiskFormat.VMDK, Compression.DEFLATE,
            "-O vmdk -m 16 -c -o subformat=streamOptimized,adapter_type=lsilogic", id="vmdk-stream",
        ),
        pytest.param(DiskFormat.VPC, None, "-O vpc -m 16 -W -o force_size=on", id="vpc"),
        pytest.param(DiskFormat.VHDX, None, "-O vhdx -m 16 -W", id="vhdx"),
        pytest.param(DiskFormat.VDI, None, "-O vdi -m 16 -W", id="vdi"),
    ],
)  # fmt: skip
def test_convert_argv_names_both_formats(to: DiskFormat, compression: Compression | None, words: str) -> None:
    argv = qemu_img.convert_argv(RAW, image(to), compression=compression)
    expected = f"qemu-img convert -p -f raw {words} /disks/system.raw /images/system{to.suffix}"
    assert argv == expected.split()


def test_argv_names_the_format_of_every_image() -> None:
    qcow2 = image(DiskFormat.QCOW2)
    assert qemu_img.compare_argv(RAW, qcow2) == [
        "qemu-img", "compare", "-p", "-f", "raw", "-F", "qcow2", "/disks/system.raw", "/images/system.qcow2",
    ]  # fmt: skip
    assert qemu_img.check_argv(qcow2) == ["qemu-img", "check", "-f", "qcow2", "/images/system.qcow2"]
    assert qemu_img.info_argv(RAW) == ["qemu-img", "info", "--output=json", "-f", "raw", "/disks/system.raw"]


@pytest.mark.parametrize(
    ("line", "share"),
    [
        pytest.param("    (0.00/100%)", 0.0, id="start"),
        pytest.param("    (12.50/100%)", 0.125, id="between"),
        pytest.param("    (100.00/100%)", 1.0, id="end"),
        pytest.param("    (100.01/100%)", 1.0, id="beyond"),
        pytest.param("Images are identical.", None, id="verdict"),
        pytest.param("(?/100%)", None, id="garbage"),
    ],
)
def test_share_is_read_from_a_progress_line(line: str, share: float | None) -> None:
    assert qemu_img.parse_share(line) == share


@pytest.fixture
def small(tmp_path: Path) -> ImageFile:
    path = tmp_path / "small.raw"
    path.write_bytes(os.urandom(1 << 20))
    os.truncate(path, 4 << 20)
    return ImageFile(path=path, format=DiskFormat.RAW)


def test_virtual_size_is_what_a_guest_sees(small: ImageFile, tmp_path: Path) -> None:
    target = ImageFile(path=tmp_path / "small.qcow2", format=DiskFormat.QCOW2)
    qemu_img.convert(small, target, compression=None, on_share=lambda _: None, stop=None)
    assert qemu_img.read_virtual_size(small) == qemu_img.read_virtual_size(target) == 4 << 20


def test_image_that_stands_alone_is_accepted(tmp_path: Path) -> None:
    for version in ("0.10", "1.1"):
        path = tmp_path / f"{version}.qcow2"
        run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"compat={version}", path, "1M"])
        qemu_img.check_stands_alone(ImageFile(path=path, format=DiskFormat.QCOW2))


def test_image_with_a_backing_file_is_refused(small: ImageFile, tmp_path: Path) -> None:
    path = tmp_path / "overlay.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", small.path, "-F", "raw", path])
    with pytest.raises(InvalidInput, match="refers to another file"):
        qemu_img.check_stands_alone(ImageFile(path=path, format=DiskFormat.QCOW2))


def test_image_with_a_data_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "outside.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path / 'data'}", path, "1M"])
    with pytest.raises(InvalidInput, match="refers to another file"):
        qemu_img.check_stands_alone(ImageFile(path=path, format=DiskFormat.QCOW2))


def test_vmdk_is_refused_as_a_source() -> None:
    # Its descriptor may be text that names any file as an extent.
    with pytest.raises(InvalidInput, match="not from"):
        qemu_img.check_stands_alone(image(DiskFormat.VMDK))


def test_compression_is_zstd_where_qemu_img_has_it() -> None:
    # All distributions this runs on build it in.
    assert qemu_img.choose_compression(DiskFormat.QCOW2) is Compression.ZSTD
    assert qemu_img.choose_compression(DiskFormat.VMDK) is Compression.DEFLATE


def test_compression_is_zlib_where_qemu_img_lacks_zstd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # No qemu-img without zstd is at hand: a script says what one built without it says.
    fake = tmp_path / "bin" / "qemu-img"
    fake.parent.mkdir()
    refusal = "qemu-img: Could not create: Parameter 'compression_type' does not accept value 'zstd'"
    fake.write_text(f'#!/bin/sh\ncase "$*" in *zstd*) echo "{refusal}" >&2; exit 1;; esac\nexec {REAL} "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}{os.pathsep}{os.environ['PATH']}")
    assert qemu_img.choose_compression(DiskFormat.QCOW2) is Compression.DEFLATE


FILL_A_DISK = """
import sys
from pathlib import Path
from converters import qemu_img
from converters.qemu_img import ImageFile
from migration.disk import DiskFormat
from migration.errors import NoSpace

source, target = (Path(word) for word in sys.argv[1:])
try:
    qemu_img.convert(ImageFile(path=source, format=DiskFormat.RAW), ImageFile(path=target, format=DiskFormat.QCOW2),
                     compression=None, on_share=lambda share: None, stop=None)
except NoSpace as error:
    print(error)
"""


def test_convert_says_so_when_the_disk_is_full(small: ImageFile, tmp_path: Path) -> None:
    # A file system of 512 KiB, seen by this one process.
    full = tmp_path / "full"
    full.mkdir()
    mount = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*mount, f"mount -t tmpfs none {full}"], check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody mount a tmpfs in a namespace of their own")
    script = f'mount -t tmpfs -o size=512k none {full} && exec "$0" "$@"'
    said = run([*mount, script, sys.executable, "-c", FILL_A_DISK, small.path, full / "small.qcow2"])
    assert "the disk became full" in said


def test_convert_keeps_other_failures_as_they_are(small: ImageFile, tmp_path: Path) -> None:
    target = ImageFile(path=tmp_path / "no-such-folder" / "small.qcow2", format=DiskFormat.QCOW2)
    with pytest.raises(CommandFailed, match="No such file or directory") as caught:
        qemu_img.convert(small, target, compression=None, on_share=lambda _: None, stop=None)
    assert not isinstance(caught.value, NoSpace)
