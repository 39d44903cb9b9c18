"""The files of the demo server: a busybox userland that mounts its fstab and says on the console how that went."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from demo.initramfs import pack_initramfs
from demo.kernel import (
    BUSES,
    CHECKSUMS,
    DATA_FILE_SYSTEM,
    ROOT_FILE_SYSTEM,
    check_kernel,
    find_kernel,
    install_modules,
    plan_loading,
    read_modules,
)
from migration.errors import ToolMissing
from migration.run import PACKAGES, find_program, run

NAME = "Ferry demo server 1"
ROOT_UUID = "5e1f0a52-7c8e-4f5e-9a43-d1c6f9b0a001"
ARCHIVE_UUID = "5e1f0a52-7c8e-4f5e-9a43-d1c6f9b0a003"

# What a server that has lived on ECS looks like: the installer's header, a line by UUID, a disk that was
# added later by its device name as older vendor guides show, and a note to colleagues.
FSTAB = f"""\

#
# /etc/fstab
# Created by anaconda on Tue Mar 12 06:41:53 2024
#
# Accessible filesystems, by reference, are maintained under '/dev/disk'
# See man pages fstab(5), findfs(8), mount(8) and/or blkid(8) for more info
#
UUID={ROOT_UUID} /                       ext4    defaults        1 1
# 数据盘,扩容前请先做快照
/dev/vdb1 /data ext4 defaults 0 0
UUID={ARCHIVE_UUID} /srv/archive            xfs     defaults        0 0
"""

RC_SYSTEM = """\
#!/bin/sh
# Brings the server up. Lines that begin with `ferry-demo:` are read by programs.
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
hostname -F /etc/hostname
while read -r module; do modprobe "$module"; done < /etc/modules
mount -o remount,rw /
mount -a

total=0
mounted=0
while read -r source folder type options rest; do
  case "$source" in ''|'#'*) continue ;; esac
  case "$folder" in /*) ;; *) continue ;; esac
  case ",$options," in *,noauto,*) continue ;; esac
  total=$((total + 1))
  device=$(awk -v folder="$folder" '$2 == folder { device = $1 } END { print device }' /proc/mounts)
  if [ -z "$device" ]; then
    echo "ferry-demo: $folder is not mounted, /etc/fstab says $source"
    continue
  fi
  mounted=$((mounted + 1))
  proof=
  if [ -e "$folder/.proof.sha256" ]; then
    (cd "$folder" && sha256sum -c -s .proof.sha256) && proof=', contents proven' || proof=', CONTENTS DIFFER'
  fi
  echo "ferry-demo: $folder is mounted from $device$proof"
done < /etc/fstab
echo "ferry-demo: boot complete, $mounted of $total file systems mounted"

case " $(cat /proc/cmdline) " in *' ferry.poweroff '*) poweroff ;; esac
"""

INITTAB = """\
::sysinit:/etc/init.d/rcS
ttyS0::respawn:/sbin/getty -L 115200 ttyS0 vt100
tty1::respawn:/bin/sh -c '[ -c /dev/tty1 ] && exec getty 38400 tty1; sleep 3600'
::ctrlaltdel:/sbin/reboot
::shutdown:/bin/umount -a -r
"""

ETC = {
    "fstab": FSTAB,
    "group": "root:x:0:\n",
    "hostname": "iZferrydemo01Z\n",  # the form of the names that ECS gives
    "hosts": "127.0.0.1 localhost iZferrydemo01Z\n",
    "inittab": INITTAB,
    "issue": f"\n{NAME}: log in as root, there is no password\n\n",
    "modules": f"{DATA_FILE_SYSTEM}\n",
    "motd": "The data disks are /data and /srv/archive; `cat /etc/fstab` says how they are found.\n",
    "os-release": f'ID=ferry-demo\nNAME="Ferry demo server"\nVERSION_ID=1\nPRETTY_NAME="{NAME}"\n',
    "passwd": "root::0:0:root:/root:/bin/sh\n",
}

GRUB_CFG = """\
set default=0
set timeout=0
serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console
search --no-floppy --fs-uuid --set=root {uuid}
menuentry '{name}, kernel {release}' {{
  linux /boot/vmlinuz-{release} root=UUID={uuid} ro net.ifnames=0 quiet console=tty0 console=ttyS0,115200n8
  initrd /boot/initramfs-{release}.img
}}
"""


def plant_root(tree: Path) -> None:
    """Fill the empty folder `tree` with the root file system. Raises `ToolMissing`."""
    kernel, busybox = find_kernel(), find_busybox()
    modules = read_modules(kernel)
    check_kernel(kernel, modules)
    for folder in ("bin", "boot/grub", "data", "dev", "etc/init.d", "lib", "proc", "root", "srv/archive", "sys", "tmp"):
        (tree / folder).mkdir(parents=True)
    for folder in ("run", "usr", "var/log"):
        (tree / folder).mkdir(parents=True)

    shutil.copyfile(busybox, tree / "bin/busybox")
    (tree / "bin/busybox").chmod(0o755)
    for applet in run([busybox, "--list"]).split():
        if applet != "busybox":
            (tree / "bin" / applet).symlink_to("busybox")
    (tree / "sbin").symlink_to("bin")

    for name, text in ETC.items():
        (tree / "etc" / name).write_text(text, encoding="utf-8")
    (tree / "etc/init.d/rcS").write_text(RC_SYSTEM, encoding="utf-8")
    (tree / "etc/init.d/rcS").chmod(0o755)

    shutil.copyfile(kernel.image, tree / "boot" / f"vmlinuz-{kernel.release}")
    for_root = plan_loading([*CHECKSUMS, *BUSES, ROOT_FILE_SYSTEM], modules)
    for_data = plan_loading([*CHECKSUMS, DATA_FILE_SYSTEM], modules)
    installed = tree / "lib/modules" / kernel.release
    install_modules(tuple(dict.fromkeys([*for_root, *for_data])), modules, installed)
    shutil.copyfile(kernel.modules / "modules.builtin", installed / "modules.builtin")
    initramfs = pack_initramfs(busybox, installed, for_root)
    (tree / "boot" / f"initramfs-{kernel.release}.img").write_bytes(initramfs)
    menu = GRUB_CFG.format(uuid=ROOT_UUID, name=NAME, release=kernel.release)
    (tree / "boot/grub/grub.cfg").write_text(menu, encoding="utf-8")


def find_busybox() -> Path:
    """Return a busybox that runs without shared libraries, or raise `ToolMissing`."""
    path = Path(find_program("busybox"))
    with path.open("rb") as file:
        # The name of the dynamic loader follows the program headers.
        if b"/ld-linux" in file.read(4096):
            raise ToolMissing(f"{path} needs shared libraries", f"apt-get install {PACKAGES['busybox']}")
    return path


def plant_data(tree: Path, name: str, size: int) -> None:
    """Fill `tree` with `size` bytes that do not compress, as a server's data, and what a boot proves them by."""
    (tree / name).mkdir(parents=True)
    content = memoryview(hashlib.shake_128(name.encode()).digest(size))
    step = 8 << 20
    for number, start in enumerate(range(0, size, step)):
        (tree / name / f"{number:04d}.bin").write_bytes(content[start : start + step])
    # A megabyte is proven at boot: an emulated CPU takes seconds for more.
    (tree / name / "proof.bin").write_bytes(content[: 1 << 20])
    digest = hashlib.sha256(content[: 1 << 20]).hexdigest()
    (tree / ".proof.sha256").write_text(f"{digest}  {name}/proof.bin\n", encoding="utf-8")
