"""Imports into a real libvirt; `libvirt` is one of the tests' own."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from converters.convert import convert_file
from demo.guest_image import make_demo_guest
from migration.disk import Disk, DiskFormat
from migration.errors import CommandFailed, CorruptData, Interrupted, InvalidInput
from migration.target import Target
from private_cloud.libvirt_import import import_into_libvirt
from private_cloud.libvirt_xml import render_domain
from private_cloud.machine import Firmware
from private_cloud.platforms import Platform
from private_cloud.virtual_machine import VirtualMachine
from tests.libvirt_fixtures import Libvirt, libvirt
from tests.private_cloud_machines import convert_all, make_machine

__all__ = ["libvirt"]


@pytest.fixture
def machine(raw_disks: tuple[Disk, ...], tmp_path: Path) -> VirtualMachine:
    """Three qcow2 images of random bytes: they start, and nothing comes of it."""
    return replace(convert_all(raw_disks, tmp_path / "images", DiskFormat.QCOW2), memory=128, cpus=1)


def sources(libvirt: Libvirt, name: str) -> list[str]:
    domain = ET.fromstring(libvirt.virsh("dumpxml", name))  # noqa: S314  # libvirt's
    return [source.attrib["file"] for source in domain.findall("devices/disk/source")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "firmware", [Firmware.BIOS, pytest.param(Firmware.UEFI, marks=pytest.mark.exhaustive)], ids=str
)
@pytest.mark.parametrize("bus", Platform.LIBVIRT.buses, ids=str)
def test_libvirt_starts_a_machine_of_every_kind(
    libvirt: Libvirt, machine: VirtualMachine, bus: Target, firmware: Firmware, tmp_path: Path
) -> None:
    of_kind = replace(machine, name=f"{bus}-{firmware}", bus=bus, firmware=firmware)
    done = import_into_libvirt(of_kind, connect=libvirt.uri, pool=tmp_path / "pool", kvm=False, start=True)
    try:
        assert done.is_running
        assert libvirt.virsh("domstate", of_kind.name).strip() == "running"
    finally:
        libvirt.virsh("destroy", of_kind.name)
        libvirt.virsh("undefine", "--nvram", of_kind.name)


def test_images_are_copied_into_a_folder_of_their_own_and_nothing_is_started(
    libvirt: Libvirt, machine: VirtualMachine, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    pool = tmp_path / "pool, with & signs"
    done = import_into_libvirt(
        machine, connect=libvirt.uri, pool=pool, kvm=False, progress=lambda now, total: told.append((now, total))
    )
    assert done.folder == pool / "web-1"
    assert libvirt.virsh("domstate", "web-1").strip() == "shut off"
    assert sources(libvirt, "web-1") == [str(pool / "web-1" / disk.path.name) for disk in machine.disks]
    for disk in machine.disks:
        assert (pool / "web-1" / disk.path.name).read_bytes() == disk.path.read_bytes()
    assert told[-1][0] == told[-1][1] == sum(disk.file_size for disk in machine.disks)
    with pytest.raises(InvalidInput, match="has a machine web-1 already"):
        import_into_libvirt(machine, connect=libvirt.uri, pool=tmp_path / "other", kvm=False)
    libvirt.virsh("undefine", "web-1")
    with pytest.raises(InvalidInput, match="is there already"):
        import_into_libvirt(machine, connect=libvirt.uri, pool=pool, kvm=False)
    assert len(list((pool / "web-1").iterdir())) == 3


def test_images_are_used_where_they_lie_if_that_is_wanted(libvirt: Libvirt, machine: VirtualMachine) -> None:
    done = import_into_libvirt(machine, connect=libvirt.uri, pool=None, kvm=False)
    assert done.folder == machine.folder
    assert sources(libvirt, "web-1") == [str(disk.path) for disk in machine.disks]
    libvirt.virsh("undefine", "web-1")


def test_failing_to_start_leaves_nothing_half_defined(
    libvirt: Libvirt, machine: VirtualMachine, tmp_path: Path
) -> None:
    nowhere = replace(machine, name="no-network", network="nowhere")
    with pytest.raises(CommandFailed, match="nowhere"):
        import_into_libvirt(nowhere, connect=libvirt.uri, pool=tmp_path / "pool", kvm=False, start=True)
    assert "no-network" not in libvirt.domains
    assert list((tmp_path / "pool").iterdir()) == []


def test_image_that_is_not_the_proven_one_is_not_imported(
    libvirt: Libvirt, machine: VirtualMachine, tmp_path: Path
) -> None:
    first, *others = machine.disks
    changed = replace(machine, name="changed", disks=(first, replace(others[0], sha256="0" * 64), *others[1:]))
    with pytest.raises(CorruptData, match=r"data_xvdb\.qcow2"):
        import_into_libvirt(changed, connect=libvirt.uri, pool=tmp_path / "pool", kvm=False)
    assert "changed" not in libvirt.domains
    assert list((tmp_path / "pool").iterdir()) == []


def test_stopped_import_leaves_nothing(libvirt: Libvirt, machine: VirtualMachine, tmp_path: Path) -> None:
    stop = threading.Event()

    def stop_in_the_middle(done: int, total: int) -> None:
        if done > total // 2:
            stop.set()

    with pytest.raises(Interrupted):
        import_into_libvirt(
            machine, connect=libvirt.uri, pool=tmp_path / "pool", kvm=False, progress=stop_in_the_middle, stop=stop
        )
    assert libvirt.domains == []
    assert list((tmp_path / "pool").iterdir()) == []


def test_machine_that_somebody_else_defined_meanwhile_is_left_alone(
    libvirt: Libvirt, machine: VirtualMachine, tmp_path: Path
) -> None:
    file = tmp_path / "theirs.xml"
    file.write_text(render_domain(replace(machine, name="theirs"), kvm=False))

    def define_theirs(done: int, total: int) -> None:
        if done == total:
            libvirt.virsh("define", file)

    with pytest.raises(CommandFailed, match="already exists"):
        import_into_libvirt(
            replace(machine, name="theirs"), connect=libvirt.uri, pool=tmp_path / "pool", kvm=False,
            progress=define_theirs,
        )  # fmt: skip
    assert libvirt.domains == ["theirs"]
    assert list((tmp_path / "pool").iterdir()) == []
    libvirt.virsh("undefine", "theirs")


def test_image_that_is_gone_is_said_to_be(libvirt: Libvirt, machine: VirtualMachine, tmp_path: Path) -> None:
    machine.disks[1].path.unlink()
    for pool in (None, tmp_path / "pool"):
        with pytest.raises(InvalidInput, match=r"data_xvdb\.qcow2: there is no such image"):
            import_into_libvirt(machine, connect=libvirt.uri, pool=pool, kvm=False)


@pytest.mark.parametrize("firmware", Firmware, ids=str)
def test_libvirt_takes_the_definition_for_the_other_side(libvirt: Libvirt, firmware: Firmware, tmp_path: Path) -> None:
    # That one says kvm, which libvirt takes only where it finds it.
    machine = make_machine(tmp_path, firmware=firmware, mac="52:54:00:12:34:56")
    file = tmp_path / "libvirt.xml"
    file.write_text(render_domain(machine, kvm=False))
    libvirt.virsh("define", "--validate", file)
    libvirt.virsh("undefine", "--nvram", "web-1")


@pytest.mark.slow
def test_demo_server_boots_from_its_definition_and_mounts_all_its_disks(libvirt: Libvirt, tmp_path: Path) -> None:
    disks = make_demo_guest(tmp_path / "disks")
    (tmp_path / "images").mkdir()
    images = tuple(convert_file(disk, tmp_path / "images", DiskFormat.QCOW2) for disk in disks)
    machine = VirtualMachine(name="demo", disks=images, bus=Target.VIRTIO, firmware=Firmware.BIOS, memory=512)
    import_into_libvirt(machine, connect=libvirt.uri, pool=tmp_path / "pool", kvm=False)
    # The console of the definition is for people; what it says goes to a file.
    file, said = tmp_path / "domain.xml", tmp_path / "console.log"
    domain = ET.fromstring(libvirt.virsh("dumpxml", "demo"))  # noqa: S314
    for tag in ("serial", "console"):
        console = domain.find(f"devices/{tag}")
        assert console is not None
        ET.SubElement(console, "log", file=str(said), append="off")
    file.write_text(ET.tostring(domain, encoding="unicode"))
    libvirt.virsh("define", "--validate", file)
    libvirt.virsh("start", "demo")
    try:
        deadline, text = time.monotonic() + 540, ""
        while "boot complete" not in text and time.monotonic() < deadline:
            time.sleep(1)
            text = said.read_text(errors="replace")
        assert "ferry-demo: boot complete, 3 of 3 file systems mounted" in text
    finally:
        libvirt.virsh("destroy", "demo")
        libvirt.virsh("undefine", "demo")
