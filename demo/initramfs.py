"""Packs the small file system a kernel starts from: busybox, modules, and a script that finds the real root."""

from __future__ import annotations

import gzip
import stat
from collections.abc import Sequence
from pathlib import Path

BUILT = 1704067200  # 2024-01-01, the time stamp of everything inside

# The kernel runs this as process 1. It speaks to people on the console and to a boot test in lines that
# begin with `ferry-demo:`.
INIT = """\
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do insmod "/modules/$module.ko"; done < /modules/order

for word in $(cat /proc/cmdline); do
  case "$word" in root=*) root=${word#root=} ;; esac
done
for try in 1 2 3 4 5 6 7 8 9 10; do
  case "$root" in
    /dev/*) device=$root ;;
    *) device=$(findfs "$root" 2>/dev/null) ;;
  esac
  [ -b "$device" ] && break
  sleep 1
done

if mount -t ext4 -o ro "$device" /root; then
  umount /proc /sys
  mount -o move /dev /root/dev
  exec switch_root /root /sbin/init
fi
echo "ferry-demo: boot failed, no root file system $root on:" /sys/block/*
exec sh
"""


def pack_initramfs(busybox: Path, modules: Path, order: Sequence[str]) -> bytes:
    """Return a gzipped cpio archive that loads `order` from the folder `modules` and goes on to the root."""
    entries = [_entry(name, stat.S_IFDIR | 0o755) for name in ("bin", "dev", "modules", "proc", "root", "sys")]
    # The kernel opens this for process 1 before anything is mounted.
    entries.append(_entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)))
    entries.append(_entry("bin/busybox", stat.S_IFREG | 0o755, busybox.read_bytes()))
    entries.append(_entry("init", stat.S_IFREG | 0o755, INIT.encode()))
    listed = "".join(f"{name}\n" for name in order)
    entries.append(_entry("modules/order", stat.S_IFREG | 0o644, listed.encode()))
    entries += [
        _entry(f"modules/{name}.ko", stat.S_IFREG | 0o644, (modules / f"{name}.ko").read_bytes()) for name in order
    ]
    entries.append(_entry("TRAILER!!!", 0))
    return gzip.compress(b"".join(entries), compresslevel=6, mtime=BUILT)


def _entry(name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> bytes:
    """Return one member in the `newc` format (source: the kernel's buffer-format.rst), owned by root."""
    encoded = name.encode() + b"\0"
    # inode, mode, uid, gid, links, time, size, device's major and minor, node's major and minor, name's size, check
    fields = (0, mode, 0, 0, 1, BUILT, len(content), 0, 0, *device, len(encoded), 0)
    header = b"070701" + b"".join(f"{field:08x}".encode() for field in fields)
    return _padded(header + encoded) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
