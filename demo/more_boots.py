"""Boots the demo server from its VMDKs, and from its definition by a real libvirt, and says what it mounted."""

from __future__ import annotations

import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path

from demo.private_libvirt import Libvirt, open_libvirt, why_no_libvirt
from migration.acceleration import kvm_works
from migration.disk_file import find_disks
from private_cloud.boot_test import boot_test
from private_cloud.console import Outcome
from private_cloud.definition import read_definitions
from private_cloud.libvirt_import import import_into_libvirt
from private_cloud.platforms import Platform

DONE = "ferry-demo: boot complete"
_PATIENCE = 600.0  # seconds for an emulated boot


def boot_vmdks(images: Path) -> bool:
    """Boot the VMDKs, over layers that are thrown away; return whether all three file systems were mounted."""
    names = ("system.vmdk", "data_xvdb.vmdk", "data_xvdc.vmdk")
    report = boot_test(find_disks([str(images / name) for name in names]), expected=("/data", "/srv/archive"))
    return report.outcome is Outcome.EVERYTHING_MOUNTED


def boot_by_libvirt(definitions: Path) -> tuple[str, str]:
    """Return what the server said of its mounts when libvirt started it, or "" and why there is no libvirt."""
    if reason := why_no_libvirt():
        return "", reason
    machine = read_definitions(definitions).of(Platform.LIBVIRT)
    with tempfile.TemporaryDirectory(prefix="ferry-lv-") as folder, open_libvirt(Path(folder)) as libvirt:
        import_into_libvirt(machine, connect=libvirt.uri, pool=Path(folder) / "pool", kvm=kvm_works())
        return _said_at_boot(libvirt, machine.name, Path(folder) / "console.log"), ""


def _said_at_boot(libvirt: Libvirt, name: str, log: Path) -> str:
    """Start the domain and return the line that ends its boot, "" if none came."""
    domain = ET.fromstring(libvirt.virsh("dumpxml", name))  # noqa: S314  # libvirt's own, of what we have defined
    for device in domain.findall("devices/serial") + domain.findall("devices/console"):
        ET.SubElement(device, "log", file=str(log), append="off")  # its console is for people
    changed = log.with_suffix(".xml")
    changed.write_text(ET.tostring(domain, encoding="unicode"), encoding="utf-8")
    libvirt.virsh("define", "--validate", changed)
    libvirt.virsh("start", name)
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        found = [line.strip() for line in text.splitlines() if DONE in line]
        if found:
            return found[0]
        time.sleep(1)
    return ""
