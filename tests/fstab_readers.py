"""The programs and libraries that really read an /etc/fstab, asked what they see in one: what our parser is held to."""

from __future__ import annotations

import ctypes
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from fstab_check.fstab import parse_fstab

Row = tuple[bytes, bytes, bytes, bytes, int, int]  # source, mount point, type, options, freq, passno
Reader = Callable[[Path], list[Row]]

GENERATOR = Path("/usr/lib/systemd/system-generators/systemd-fstab-generator")


class _Mntent(ctypes.Structure):
    _fields_ = (
        ("fsname", ctypes.c_char_p), ("dir", ctypes.c_char_p), ("type", ctypes.c_char_p), ("opts", ctypes.c_char_p),
        ("freq", ctypes.c_int), ("passno", ctypes.c_int),
    )  # fmt: skip


def read_by_getmntent(path: Path) -> list[Row]:
    """Return what glibc's own function finds."""
    libc = ctypes.CDLL("libc.so.6")
    libc.setmntent.restype = ctypes.c_void_p
    libc.getmntent.restype = ctypes.POINTER(_Mntent)
    stream = ctypes.c_void_p(libc.setmntent(os.fsencode(path), b"r"))
    rows = []
    while found := libc.getmntent(stream):
        entry = found.contents
        rows.append((entry.fsname, entry.dir, entry.type, entry.opts, entry.freq, entry.passno))
    libc.endmntent(stream)
    return rows


def read_by_libmount(path: Path) -> list[Row]:
    """Return what the library behind `mount` and `findmnt` finds, byte for byte."""
    lib = ctypes.CDLL("libmount.so.1")
    for name in ("mnt_new_table", "mnt_new_iter"):
        getattr(lib, name).restype = ctypes.c_void_p
    texts = [getattr(lib, f"mnt_fs_get_{name}") for name in ("source", "target", "fstype", "options")]
    for getter in texts:
        getter.restype = ctypes.c_char_p
    table, iterator = ctypes.c_void_p(lib.mnt_new_table()), ctypes.c_void_p(lib.mnt_new_iter(0))
    lib.mnt_table_parse_fstab(table, os.fsencode(path))
    rows: list[Row] = []
    entry = ctypes.c_void_p()
    while lib.mnt_table_next_fs(table, iterator, ctypes.byref(entry)) == 0:
        source, target, fstype, options = (getter(entry) or b"" for getter in texts)
        rows.append((source, target, fstype, options, lib.mnt_fs_get_freq(entry), lib.mnt_fs_get_passno(entry)))
    lib.mnt_free_iter(iterator)
    lib.mnt_unref_table(table)
    return rows


def read_by_findmnt(path: Path) -> list[Row]:
    """Return what util-linux's own program prints; `--fstab` keeps it from guessing what kind of table it is."""
    columns = ("source", "target", "fstype", "options", "freq", "passno")
    done = subprocess.run(
        ["findmnt", "--fstab", "--tab-file", path, "--list", "--json", "--output", ",".join(columns)],
        capture_output=True, check=False,
    )  # fmt: skip
    if not done.stdout:
        return []
    rows = json.loads(done.stdout.decode("utf-8", "surrogateescape"))["filesystems"]
    found: list[Row] = []
    for row in rows:
        source, target, fstype, options = ((row[name] or "").encode("utf-8", "surrogateescape") for name in columns[:4])
        found.append((source, target, fstype, options, row["freq"], row["passno"]))
    return found


def read_by_systemd(path: Path) -> list[tuple[bytes, bytes, bytes]]:
    """Return source, mount point and type of the lines that systemd's generator acts on; made for plain lines."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [GENERATOR, folder, folder, folder], capture_output=True, check=False,
            env={"SYSTEMD_FSTAB": str(path), "SYSTEMD_LOG_LEVEL": "debug", "SYSTEMD_LOG_TARGET": "console"},
        )  # fmt: skip
    said = re.findall(rb"^Found entry what=(.*) where=(.*) type=(.*) makefs=", done.stderr, re.MULTILINE)
    return [(what, where, fstype) for what, where, fstype in said]


def read_by_us(content: bytes) -> list[Row]:
    """Return the lines that `mount` takes, as our parser finds them."""
    rows: list[Row] = []
    for entry in parse_fstab(content).entries:
        if entry.is_valid:
            texts = (entry.source, entry.mountpoint, entry.fstype, entry.options)
            source, target, fstype, options = (text.encode("utf-8", "surrogateescape") for text in texts)
            rows.append((source, target, fstype, options, entry.freq, entry.passno))
    return rows


def find_disagreements(
    lines: Sequence[bytes], read: Callable[[bytes], list[Row]], reader: Reader, file: Path
) -> list[bytes]:  # fmt: skip
    """Return the lines that `read` and the real `reader` take differently; few files are written where few do."""
    content = _table(lines)
    file.write_bytes(content)
    if read(content) == reader(file):
        return []
    if len(lines) == 1:
        return list(lines)
    half = len(lines) // 2
    return [
        *find_disagreements(lines[:half], read, reader, file),
        *find_disagreements(lines[half:], read, reader, file),
    ]  # fmt: skip


def _table(lines: Iterable[bytes]) -> bytes:
    # The line behind each shows whether it is lost with the one before it.
    return b"".join(line + b"\nguard /guard none x 0 0\n" for line in lines)
