"""Every archive a cloud may have made becomes the same disk; a damaged or hostile one becomes a clear error."""

from __future__ import annotations

import gzip
import io
import os
import random
import struct
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from isal import igzip

from image_download import crc64
from image_download.sparse_tar import MOST_HEADERS, printable
from image_download.unpack import Unpacked, unpack_disk
from migration.errors import CorruptData, Interrupted, NoSpace
from migration.exported_object import Packing
from tests.image_download_fixtures import KIB, MIB, TAR_FORMATS, pack_tar

SIZE = 3 * MIB + 512


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Return a disk with data at both ends, holes, and enough extents to overflow the map in a GNU header."""
    path = tmp_path / "made" / "system.raw"
    path.parent.mkdir()
    source = random.Random(3)
    with path.open("wb") as file:
        file.truncate(SIZE)
        for offset in range(0, SIZE, 96 * KIB):
            file.seek(offset)
            file.write(source.randbytes(min(5000, SIZE - offset)))
        file.seek(SIZE - 100)
        file.write(source.randbytes(100))
    return path


def unpack(
    packed: bytes, tmp_path: Path, *, packing: Packing = Packing.TAR_GZIP, size: int | None = SIZE
) -> tuple[Path, Unpacked]:
    target = tmp_path / "unpacked.raw"
    return target, unpack_disk(io.BytesIO(packed), packing, target, subject="the object", size=size)


def refuse(
    packed: bytes, tmp_path: Path, *, packing: Packing = Packing.TAR_GZIP, size: int | None = None
) -> CorruptData:
    """Return the error an archive is refused with, after checking that it says what to do and left nothing behind."""
    with pytest.raises(CorruptData) as caught:
        unpack(packed, tmp_path, packing=packing, size=size)
    assert caught.value.remedy
    assert caught.value.message.isprintable()
    assert not list(tmp_path.glob("unpacked*"))
    return caught.value


@pytest.mark.parametrize("options", TAR_FORMATS.values(), ids=TAR_FORMATS.keys())
def test_archive_of_gnu_tar_becomes_the_disk_with_its_holes(raw: Path, tmp_path: Path, options: list[str]) -> None:
    target, unpacked = unpack(pack_tar(raw, *options), tmp_path)
    content = raw.read_bytes()
    assert target.read_bytes() == content
    assert unpacked == Unpacked(size=SIZE, crc64=crc64.extend(crc64.EMPTY, content))
    assert target.stat().st_blocks * 512 < SIZE / 2


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_archive_of_another_writer_becomes_the_disk(raw: Path, tmp_path: Path, tar_format: int) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", format=tar_format, pax_headers={"comment": "of everything"}) as tar:
        tar.add(raw, arcname=f"{'folder/' * 20}{'long' * 20}.raw")
    target, _ = unpack(packed.getvalue(), tmp_path)
    assert target.read_bytes() == raw.read_bytes()


def test_path_in_an_archive_is_never_used(raw: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.raw"
    target, _ = unpack(pack_with(tarfile.TarInfo(str(outside)), raw.read_bytes()), tmp_path)
    assert target.exists()
    assert not outside.exists()


def test_folders_in_an_archive_are_passed_over(raw: Path, tmp_path: Path) -> None:
    folder = tarfile.TarInfo("./")
    folder.type = tarfile.DIRTYPE
    packed = pack_members((folder, b""), (tarfile.TarInfo("./system.raw"), raw.read_bytes()))
    target, _ = unpack(packed, tmp_path)
    assert target.read_bytes() == raw.read_bytes()


def test_gzip_without_an_archive_becomes_the_disk(raw: Path, tmp_path: Path) -> None:
    target, unpacked = unpack(gzip.compress(raw.read_bytes()), tmp_path, packing=Packing.GZIP)
    assert target.read_bytes() == raw.read_bytes()
    assert unpacked.size == SIZE


def test_gzip_of_several_members_is_one_stream(raw: Path, tmp_path: Path) -> None:
    content = raw.read_bytes()
    packed = b"".join(gzip.compress(content[start : start + MIB]) for start in range(0, SIZE, MIB))
    target, _ = unpack(packed + bytes(4096), tmp_path, packing=Packing.GZIP)
    assert target.read_bytes() == content


def test_packing_is_believed_to_the_bytes_not_to_the_name(raw: Path, tmp_path: Path) -> None:
    target, _ = unpack(pack_tar(raw), tmp_path, packing=Packing.GZIP)
    assert target.read_bytes() == raw.read_bytes()
    target, _ = unpack(gzip.compress(raw.read_bytes()), tmp_path, packing=Packing.TAR_GZIP)
    assert target.read_bytes() == raw.read_bytes()


def test_member_above_8_gib_is_read_hole_for_hole(tmp_path: Path) -> None:
    size = 9 * 1024 * MIB
    disk = tmp_path / "system.raw"
    with disk.open("wb") as file:
        file.truncate(size)
        file.seek(size - MIB)
        file.write(b"the end")
    for options in (TAR_FORMATS["gnu sparse"], TAR_FORMATS["pax sparse 1.0"]):
        target, unpacked = unpack(pack_tar(disk, *options), tmp_path, size=size)
        assert unpacked.size == target.stat().st_size == size
        assert target.stat().st_blocks * 512 < MIB
        with target.open("rb") as file:
            file.seek(size - MIB)
            assert file.read(7) == b"the end"


@pytest.mark.parametrize("tar_format", [pytest.param(1, id="gnu"), pytest.param(2, id="pax")])
def test_size_above_8_gib_is_understood_in_a_plain_header(tmp_path: Path, tar_format: Literal[1, 2]) -> None:
    # Base-256 and pax. The data is left out: that the size was read shows in what is refused.
    info = tarfile.TarInfo("system.raw")
    info.size = 10 * 1024**3
    packed = gzip.compress(info.tobuf(tar_format, "utf-8", "surrogateescape"))
    assert f"{10 * 1024**3} bytes" in refuse(packed, tmp_path, size=5).message


def pack_members(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", format=tarfile.GNU_FORMAT) as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def pack_with(info: tarfile.TarInfo, content: bytes) -> bytes:
    return pack_members((info, content))


def special(kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo("evil\x1b[31m\nname")
    info.type, info.linkname = kind, "/etc/passwd"
    return info


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        pytest.param(tarfile.SYMTYPE, "symbolic link", id="symbolic link"),
        pytest.param(tarfile.LNKTYPE, "hard link", id="hard link"),
        pytest.param(tarfile.CHRTYPE, "character device", id="character device"),
        pytest.param(tarfile.BLKTYPE, "block device", id="block device"),
        pytest.param(tarfile.FIFOTYPE, "pipe", id="pipe"),
        pytest.param(b"M", "another volume", id="volume"),
        pytest.param(b"?", "unknown kind", id="unknown"),
    ],
)
def test_archive_with_something_else_than_a_file_is_refused(tmp_path: Path, kind: bytes, word: str) -> None:
    error = refuse(pack_members((special(kind), b""), (tarfile.TarInfo("disk.raw"), b"x" * 512)), tmp_path)
    assert word in error.message
    assert "evil" in error.message


def test_archive_without_a_file_is_refused(tmp_path: Path) -> None:
    assert "no file" in refuse(pack_members(), tmp_path).message


def test_archive_with_a_second_file_is_refused_by_its_name(tmp_path: Path) -> None:
    members = [(tarfile.TarInfo(name), b"x" * 700) for name in ("a.raw", "b.raw")]
    assert "b.raw" in refuse(pack_members(*members), tmp_path).message


def test_disk_of_another_size_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    error = refuse(pack_with(tarfile.TarInfo("disk.raw"), b"x" * 700), tmp_path, size=512)
    assert "700" in error.message
    assert "512" in error.message


@pytest.mark.parametrize("length", [511, 5 * MIB])
def test_gzip_of_another_size_is_refused(tmp_path: Path, length: int) -> None:
    error = refuse(gzip.compress(bytes(length)), tmp_path, packing=Packing.GZIP, size=512)
    assert "512" in error.message


def damaged(packed: bytes, position: int) -> bytes:
    return packed[:position] + bytes([packed[position] ^ 0xFF]) + packed[position + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut in the data": lambda packed: packed[: len(packed) // 2],
    "cut in the trailer": lambda packed: packed[:-3],
    "CRC-32 wrong": lambda packed: damaged(packed, len(packed) - 6),
    "length wrong": lambda packed: damaged(packed, len(packed) - 1),
    "data wrong": lambda packed: damaged(packed, len(packed) // 2),
    "something behind it": lambda packed: packed + b"more",
    "archive behind it": lambda packed: packed + packed,
    "archive cut inside": lambda packed: gzip.compress(gzip.decompress(packed)[: MIB + 17]),
    "header damaged": lambda packed: gzip.compress(damaged(gzip.decompress(packed), 130)),
    "something behind the archive": lambda packed: gzip.compress(gzip.decompress(packed) + b"more"),
    "not gzip": gzip.decompress,
    "empty": lambda packed: packed[:0],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_archive_is_refused(raw: Path, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    refuse(damage(pack_tar(raw)), tmp_path)


def header(kind: bytes, size: int, *, body: bytes = b"", sparse: bytes = b"") -> bytes:
    """Return a header made by hand, with whatever lie is wanted in it, and the blocks of its body."""
    block = bytearray(512)
    block[:4], block[124:136], block[156:157] = b"disk", b"%011o\0" % size, kind
    block[257:265] = b"ustar  \0"
    block[386 : 386 + len(sparse)] = sparse
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + body + bytes(-len(body) % 512)


def pax(**records: str) -> bytes:
    lines = b""
    for key, value in records.items():
        line = f" {key.replace('__', '.')}={value}\n".encode()
        length = len(line) + 1
        while len(str(length)) + len(line) != length:
            length = len(str(length)) + len(line)
        lines += str(length).encode() + line
    return header(b"x", len(lines), body=lines)


def gnu_map(*extents: tuple[int, int], size: int, extended: bool = False) -> bytes:
    slots = b"".join(b"%011o\0%011o\0" % extent for extent in extents)
    return slots.ljust(96, b"\0") + bytes([extended]) + b"%011o\0" % size


def sparse_1(text: bytes, *, size: int = 4096, realsize: int = 8192) -> bytes:
    records = {"GNU__sparse__major": "1", "GNU__sparse__minor": "0", "GNU__sparse__realsize": str(realsize)}
    return pax(**records) + header(b"0", size, body=text.ljust(512, b"\0"))


DATA = b"x" * 4096
FILE_512 = header(b"0", 512, body=DATA[:512])
HOSTILE = {
    "pax header of 8 GiB": header(b"x", 8 * 1024**3 - 1),
    "long name of 1 GiB": header(b"L", 1024**3),
    "folder with 1 GiB": header(b"5", 1024**3),
    "pax record beyond its end": header(b"x", 20, body=b"900 path=x\n"),
    "pax record without length": header(b"x", 20, body=b"path=x\n"),
    "pax record of length zero": header(b"x", 20, body=b"0 path=x\n"),
    "pax size not a number": pax(size="-5") + header(b"0", 0),
    "pax size of 2**64": pax(size=str(2**64)) + header(b"0", 0),
    "negative size": header(b"0", 0).replace(b"00000000000\0", b"\xff" * 12, 1),
    "size not a number": header(b"0", 0).replace(b"00000000000\0", b"zzzzzzzzzzz\0", 1),
    "disk of no bytes": header(b"0", 0),
    "map out of order": header(b"S", 4096, sparse=gnu_map((4096, 2048), (0, 2048), size=8192)) + DATA,
    "map overlapping": header(b"S", 8192, sparse=gnu_map((0, 4096), (2048, 4096), size=8192)) + DATA * 2,
    "map beyond the file": header(b"S", 4096, sparse=gnu_map((8192, 4096), size=8192)) + DATA,
    "map longer than the data": header(b"S", 512, sparse=gnu_map((0, 4096), size=8192)) + DATA,
    "map shorter than the data": header(b"S", 4096, sparse=gnu_map((0, 512), size=8192)) + DATA,
    "map that goes on without end": header(b"S", 4096, sparse=gnu_map((0, 1), size=8192, extended=True)),
    "1.0 map cut off": sparse_1(b"2\n0\n512\n"),
    "1.0 map larger than the member": sparse_1(b"1\n0\n", size=512),
    "1.0 map with letters": sparse_1(b"1\n0\nabc\n"),
    "1.0 map of 2**62 entries": sparse_1(b"%d\n0\n512\n" % 2**62),
    "1.0 map without a line feed": sparse_1(b"9" * 512),
    "0.1 map with an odd number": pax(GNU__sparse__size="8192", GNU__sparse__map="0,512,600") + FILE_512,
    "0.1 map with letters": pax(GNU__sparse__size="8192", GNU__sparse__map="0,a") + FILE_512,
    "0.0 map with an odd number": pax(GNU__sparse__size="8192", GNU__sparse__offset="0") + FILE_512,
    "nothing but headers": header(b"g", 0) * (MOST_HEADERS + 1),
}  # fmt: skip


@pytest.mark.parametrize("archive", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_archive_is_refused(tmp_path: Path, archive: bytes) -> None:
    refuse(igzip.compress(archive + bytes(1024)), tmp_path)


def test_map_in_blocks_of_its_own_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The real bound would take an archive of 100 MiB; what counts is that there is one.
    monkeypatch.setattr("image_download.sparse_tar.MOST_EXTENTS", 50)
    extents = b"".join(b"%011o\0%011o\0" % (512 * number, 1) for number in range(21)) + b"\1" + bytes(7)
    archive = header(b"S", 4096, sparse=gnu_map((0, 1), size=1 << 30, extended=True)) + extents * 5
    assert "more than 50" in refuse(igzip.compress(archive), tmp_path).message


@pytest.mark.parametrize(
    ("size", "kind"),
    [pytest.param(1 << 45, NoSpace, id="32 TiB"), pytest.param(1 << 50, CorruptData, id="no disk has it")],
)
def test_archive_that_does_not_fit_is_refused_before_it_is_written(
    tmp_path: Path, size: int, kind: type[Exception]
) -> None:
    wide = struct.pack(">BBHQ", 0x80, 0, 0, size)
    block = bytearray(header(b"S", 0, sparse=gnu_map((0, 0), size=0)))
    block[124:136] = block[398:410] = wide
    block[483:495] = struct.pack(">BBHQ", 0x80, 0, 0, size + 512)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    with pytest.raises(kind):
        unpack(gzip.compress(bytes(block)), tmp_path, size=None)
    assert not list(tmp_path.glob("unpacked*"))


def test_bomb_of_zeros_ends_where_no_disk_is_larger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("image_download.unpack.LARGEST_DISK", MIB)  # 64 TiB would take hours to inflate
    error = refuse(gzip.compress(bytes(3 * MIB)), tmp_path, packing=Packing.GZIP)
    assert "no disk" in error.remedy


def test_stop_ends_unpacking_and_leaves_nothing(raw: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        unpack_disk(
            io.BytesIO(pack_tar(raw)), Packing.TAR_GZIP, tmp_path / "unpacked.raw", subject="x", size=None, stop=stop
        )
    assert not list(tmp_path.glob("unpacked*"))


def test_names_from_an_archive_cannot_command_a_terminal() -> None:
    shown = printable(b"a\x1b[2J\r\n\x9b\xff" + "\u202e名".encode())
    assert shown.isprintable()
    assert "名" in shown
    assert len(printable(os.urandom(10000))) < 2000
