"""A real libvirtd for the time of one block: its configuration, state, sockets and network are nobody else's.

It runs in a mount and a network namespace, so that this machine's libvirt, if it has one, is not touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from migration.errors import CommandFailed, MigrationError
from migration.run import leashed, run

PACKAGES = "libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients"

_QEMU_CONF = """\
user = "root"
group = "root"
dynamic_ownership = 0
security_driver = "none"
stdio_handler = "file"
cgroup_controllers = [ ]
namespaces = [ ]
"""
_LIBVIRTD_CONF = """\
unix_sock_dir = "{folder}/sockets"
auth_unix_rw = "none"
auth_unix_ro = "none"
log_outputs = "3:file:{folder}/log"
"""
# Debian's libvirt wants users that its other packages make. An open network without DHCP and
# DNS needs neither iptables nor dnsmasq.
_START = """\
set -e
busybox ip link set lo up # for the VNC display
cp /etc/passwd {folder}/passwd
cp /etc/group {folder}/group
echo 'libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin' >> {folder}/passwd
printf 'libvirt-qemu:x:64055:\\nkvm:x:64056:\\nlibvirt:x:64057:\\n' >> {folder}/group
mount --bind {folder}/passwd /etc/passwd
mount --bind {folder}/group /etc/group
for path in /etc/libvirt /var/lib/libvirt /run/libvirt /var/cache/libvirt /var/log/libvirt; do
  mkdir -p "$path" {folder}/state"$path"
  mount --bind {folder}/state"$path" "$path"
done
cp {folder}/qemu.conf /etc/libvirt/qemu.conf
mkdir -p /var/lib/libvirt/dnsmasq # where the MAC addresses on a network are kept
exec libvirtd --config {folder}/libvirtd.conf --pid-file {folder}/pid
"""
_NETWORK = """\
<network>
  <name>default</name><forward mode='open'/><bridge name='ferry-test'/><dns enable='no'/>
  <ip address='192.168.133.1' netmask='255.255.255.0'/>
</network>
"""


@dataclass(frozen=True, slots=True)
class Libvirt:
    """A libvirtd that answers at `uri`."""

    uri: str
    folder: Path

    def virsh(self, *words: str | Path) -> str:
        return run(["virsh", "--quiet", "--connect", self.uri, *words])

    @property
    def domains(self) -> list[str]:
        return self.virsh("list", "--all", "--name").split()


def why_no_libvirt() -> str:
    """Return why there can be none here, "" where there can."""
    if os.geteuid() != 0:
        return "only root can run a libvirtd of its own"
    if not (shutil.which("libvirtd", path="/usr/sbin:/usr/bin") and shutil.which("virsh")):
        return f"apt-get install {PACKAGES}"
    tried = subprocess.run(["unshare", "--mount", "--net", "true"], check=False, capture_output=True, text=True)
    return f"namespaces are not to be had here: {tried.stderr.strip()}" if tried.returncode else ""


@contextmanager
def open_libvirt(folder: Path) -> Iterator[Libvirt]:
    """Run libvirtd with its state in `folder`, which has a short path as sockets need it. Raises `MigrationError`."""
    for name, text in (("qemu.conf", _QEMU_CONF), ("libvirtd.conf", _LIBVIRTD_CONF), ("start", _START)):
        (folder / name).write_text(text.format(folder=folder))
    (folder / "sockets").mkdir()
    argv = leashed(["unshare", "--mount", "--net", "--propagation", "private", "sh", str(folder / "start")])
    with (folder / "output").open("wb") as output, subprocess.Popen(argv, stdout=output, stderr=output) as daemon:
        try:
            found = Libvirt(f"qemu+unix:///system?socket={folder}/sockets/libvirt-sock", folder)
            _wait_for(found, daemon)
            (folder / "network.xml").write_text(_NETWORK)
            found.virsh("net-define", folder / "network.xml")
            found.virsh("net-start", "default")
            yield found
            for name in found.virsh("list", "--name").split():
                found.virsh("destroy", name)
        finally:
            daemon.terminate()


def _wait_for(found: Libvirt, daemon: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not _answers(found):
        said = (found.folder / "output").read_text(errors="replace")
        if daemon.poll() is not None:
            raise MigrationError(f"libvirtd ended: {said}")
        if time.monotonic() > deadline:
            raise MigrationError(f"libvirtd does not answer: {said}")
        time.sleep(0.2)


def _answers(found: Libvirt) -> bool:
    try:
        found.virsh("version")
    except CommandFailed:
        return False
    return True
