from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from migration.disk import Disk, DiskFormat
from migration.errors import CorruptData, InvalidInput
from migration.target import Target
from private_cloud.definition import read_definitions
from private_cloud.definitions import write_definitions
from private_cloud.definitions_readme import command_of
from private_cloud.machine_plan import SMALL_PLATFORMS
from private_cloud.platforms import Platform
from private_cloud.virtual_machine import VirtualMachine
from tests.private_cloud_machines import HOSTILE, convert_all, make_machine

FILES = {
    "README.txt",
    "definitions.json",
    "libvirt.xml",
    "openstack.sh",
    "openstack-heat.yaml",
    "proxmox.sh",
    "qemu.sh",
}


def small(machine: VirtualMachine) -> dict[Platform, VirtualMachine]:
    return dict.fromkeys(SMALL_PLATFORMS, machine)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_folder_holds_each_platforms_files_and_says_what_to_do_with_them(tmp_path: Path) -> None:
    machine = make_machine(tmp_path / "images", operating_system="Debian & Co")
    machine = replace(machine, notes=("the boot is delayed",))
    made = write_definitions(small(machine), tmp_path / "definitions")
    assert names_in(tmp_path / "definitions") == FILES
    text = (tmp_path / "definitions" / "README.txt").read_text()
    for definition in made.definitions:
        command, _ = command_of(replace(definition, machine=machine))
        assert definition.files[0] in text
        assert shlex.split(command)
    assert f"{machine.disks[0].sha256}  ../images/system.qcow2" in text
    assert "Debian & Co" in text
    assert text.count("the boot is delayed") == 1


def test_only_scripts_can_be_run(tmp_path: Path) -> None:
    write_definitions(small(make_machine(tmp_path / "images")), tmp_path / "definitions")
    runnable = {path.name for path in (tmp_path / "definitions").iterdir() if path.stat().st_mode & 0o111}
    assert runnable == {name for name in FILES if name.endswith(".sh")}


def test_nothing_in_the_folder_names_a_place_of_this_machine(tmp_path: Path) -> None:
    write_definitions(small(make_machine(tmp_path / "images")), tmp_path / "definitions")
    for path in (tmp_path / "definitions").iterdir():
        assert str(tmp_path) not in path.read_text(), path.name


def test_folder_can_be_moved_with_the_images_and_read_there(tmp_path: Path) -> None:
    machine = make_machine(tmp_path / "w" / "images", operating_system=HOSTILE)
    made = write_definitions(small(machine), tmp_path / "w" / "definitions")
    assert made.of(Platform.LIBVIRT) == machine
    (tmp_path / "w").rename(tmp_path / "far side")
    found = read_definitions(tmp_path / "far side" / "definitions").of(Platform.LIBVIRT)
    assert found == replace(
        machine,
        disks=tuple(replace(disk, path=tmp_path / "far side/images" / disk.path.name) for disk in machine.disks),
    )


def test_libvirts_command_puts_the_images_where_the_domain_says_they_are(tmp_path: Path) -> None:
    machine = make_machine(tmp_path / "images")
    made = write_definitions({Platform.LIBVIRT: machine}, tmp_path / "definitions")
    text = (tmp_path / "definitions" / "README.txt").read_text()
    command = next(line.strip() for line in text.splitlines() if line.startswith("  mkdir"))
    assert made.definitions[0].files == ("libvirt.xml",)
    pool = tmp_path / "pool"
    copying = command.replace("/var/lib/libvirt/images", str(pool)).partition(" && virsh")[0]
    subprocess.run(copying, shell=True, check=True, cwd=tmp_path / "definitions")  # noqa: S602  # as a person would
    domain = (tmp_path / "definitions" / "libvirt.xml").read_text()
    for disk in machine.disks:
        assert f"/var/lib/libvirt/images/web-1/{disk.path.name}" in domain
        assert (pool / "web-1" / disk.path.name).read_bytes() == disk.path.read_bytes()


def test_new_definitions_replace_old_ones_whole(tmp_path: Path) -> None:
    machine, folder = make_machine(tmp_path / "images"), tmp_path / "definitions"
    write_definitions(small(machine), folder)
    (folder / "web-1-uefi-variables.fd").write_text("left by qemu.sh")
    write_definitions({Platform.QEMU: machine}, folder)
    assert names_in(folder) == {"README.txt", "definitions.json", "qemu.sh"}
    assert names_in(tmp_path) == {"images", "definitions"}


@pytest.mark.parametrize("with_definitions", [False, True], ids=["none of ours", "beside ours"])
def test_what_is_not_ours_is_never_replaced(with_definitions: bool, tmp_path: Path) -> None:
    machine, folder = make_machine(tmp_path / "images"), tmp_path / "definitions"
    if with_definitions:
        write_definitions(small(machine), folder)
    folder.mkdir(exist_ok=True)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(InvalidInput, match=r"notes\.txt"):
        write_definitions(small(machine), folder)
    assert (folder / "notes.txt").read_text() == "mine"


def test_failure_leaves_the_old_ones(raw_disks: tuple[Disk, ...], tmp_path: Path) -> None:
    folder = tmp_path / "definitions"
    machine = convert_all(raw_disks, tmp_path / "images", DiskFormat.VMDK, compress=True)
    write_definitions({Platform.OVA: machine}, folder)
    before = (folder / "web-1.ova").read_bytes()
    broken = replace(machine, disks=(replace(machine.disks[0], sha256="0" * 64),))
    with pytest.raises(CorruptData):
        write_definitions({Platform.OVA: broken}, folder)
    assert (folder / "web-1.ova").read_bytes() == before
    assert names_in(tmp_path) == {"images", "definitions"}


def test_ova_and_folder_are_made_beside_the_rest(raw_disks: tuple[Disk, ...], tmp_path: Path) -> None:
    machine = convert_all(raw_disks[:1], tmp_path / "images", DiskFormat.VMDK, compress=True)
    both = dict.fromkeys((Platform.OVA, Platform.OVF), replace(machine, bus=Target.SATA))
    made = write_definitions(both, tmp_path / "definitions")
    assert [definition.files for definition in made.definitions] == [("web-1.ova",), ("web-1-ovf",)]
    assert names_in(tmp_path / "definitions" / "web-1-ovf") == {"web-1.ovf", "web-1.mf", "system.vmdk"}
    write_definitions(both, tmp_path / "definitions")  # a folder among ours is replaced too


@pytest.mark.parametrize("text", ["", "{}", '{"definitions": 1}', '{"version": 99, "definitions": []}'], ids=repr)
def test_unreadable_definitions_are_said_to_be(text: str, tmp_path: Path) -> None:
    (tmp_path / "definitions.json").write_text(text)
    with pytest.raises(InvalidInput, match=r"definitions\.json"):
        read_definitions(tmp_path)


def test_name_that_somebody_wrote_into_the_file_is_not_trusted(tmp_path: Path) -> None:
    folder = tmp_path / "definitions"
    write_definitions({Platform.LIBVIRT: make_machine(tmp_path / "images")}, folder)
    document = json.loads((folder / "definitions.json").read_text())
    document["definitions"][0]["machine"]["name"] = "../../etc"
    (folder / "definitions.json").write_text(json.dumps(document))
    with pytest.raises(InvalidInput, match="no name for a machine"):
        read_definitions(folder)


def test_platform_that_is_not_defined_is_said_to_be_missing(tmp_path: Path) -> None:
    made = write_definitions({Platform.QEMU: make_machine(tmp_path / "images")}, tmp_path / "definitions")
    with pytest.raises(InvalidInput, match="--format libvirt"):
        made.of(Platform.LIBVIRT)
    shutil.rmtree(tmp_path / "definitions")
    with pytest.raises(InvalidInput, match="no definitions here"):
        read_definitions(tmp_path / "definitions")
