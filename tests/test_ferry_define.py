from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from converters.convert import convert_disk
from ferry.guest_images import STEP, CheckedImages
from migration.disk import Disk, DiskFormat
from migration.disk_file import find_disks, fingerprint_files
from migration.run import run
from migration.verdict import Outcome, Verdict
from migration.workspace import open_workspace
from private_cloud.definition import read_definitions
from private_cloud.platforms import Platform
from tests.libvirt_fixtures import Libvirt, libvirt
from tests.prefect_fixtures import demo_disks
from tests.test_ferry import ferry
from tests.test_private_cloud_machine_choices import verdict_of

__all__ = ["demo_disks", "libvirt"]

MakeWorkspace = Callable[..., Path]


@pytest.fixture
def make_workspace(raw_disks: tuple[Disk, ...], tmp_path: Path) -> MakeWorkspace:
    """Return how to make a workspace of images that were checked, with the verdict that is told."""

    def make(verdict: Verdict, *, vmdk: bool = False) -> Path:
        with open_workspace(tmp_path / "w") as space:
            for disk in raw_disks:
                convert_disk(space, disk, DiskFormat.QCOW2)
                if vmdk:
                    convert_disk(space, disk, DiskFormat.VMDK, compress=True)
            checked = find_disks([str(path) for path in space.images.glob("*.qcow2")])
            known = CheckedImages(files=fingerprint_files(checked), expected=(), verdict=verdict)
            space.journal.record(STEP, known)
        return tmp_path / "w"

    return make


def test_machine_is_defined_for_all_that_the_images_allow(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace(verdict_of(virtio=Outcome.EMERGENCY, scsi=Outcome.BOOTS))
    done = ferry("define", "--workspace", workspace, "--name", "web-1", "--memory", "4096", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [definition["platform"] for definition in told["definitions"]] == ["libvirt", "openstack", "proxmox", "qemu"]
    assert told["definitions"][2]["command"] == "sh proxmox.sh"
    machine = read_definitions(workspace / "definitions").of(Platform.LIBVIRT)
    assert (machine.name, machine.memory, machine.bus) == ("web-1", 4096, "scsi")
    assert [disk.path.name for disk in machine.disks] == ["system.qcow2", "data_xvdb.qcow2", "data_xvdc.qcow2"]


def test_ova_is_made_where_it_is_asked_for(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace = make_workspace(verdict_of(vmware=Outcome.BOOTS), vmdk=True)
    done = ferry("define", "-w", workspace, "--format", "ova", "--name", "web-1", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["README.txt", "definitions.json", "web-1.ova"]
    assert "disks on vmware, BIOS" in done.stdout


def test_guest_that_would_not_boot_is_refused_with_1_and_the_reason_unless_forced(
    make_workspace: MakeWorkspace,
) -> None:
    workspace = make_workspace(verdict_of(virtio=Outcome.EMERGENCY, sata=Outcome.BOOTS))
    words = ("define", "--workspace", workspace, "--target", "virtio")
    done = ferry(*words)
    assert done.returncode == 1
    assert "why virtio" in done.stderr
    assert not (workspace / "definitions").exists()
    forced = ferry(*words, "--force")
    assert forced.returncode == 0, forced.stderr
    assert "note: defined by --force" in forced.stdout


def test_image_that_was_written_to_is_not_defined(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace(verdict_of(virtio=Outcome.BOOTS))
    with (workspace / "images" / "data_xvdb.qcow2").open("ab") as file:
        file.write(b"x")
    done = ferry("define", "--workspace", workspace)
    assert done.returncode == 2
    assert "data_xvdb.qcow2: the image is gone, or something wrote to it" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["define"], "say what to define"),
        (["define", "{images}/system.qcow2", "--output", "{images}"], "something else in this folder"),
        (["import", "libvirt"], "say what to import"),
        (["import", "libvirt", "{images}"], "no definitions here"),
        (["define", "/nowhere/system.qcow2"], "there is no such file"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_told_with_2(words: list[str], said: str, make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace(verdict_of())
    done = ferry(*(word.format(images=workspace / "images") for word in words))
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_layer_over_another_file_is_not_defined(raw_disks: tuple[Disk, ...], tmp_path: Path) -> None:
    layer = tmp_path / "system.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", raw_disks[0].path, "-F", "raw", layer])
    done = ferry("define", layer, "--output", tmp_path / "out")
    assert done.returncode == 2
    assert "this is a layer" in done.stderr


def test_name_and_network_are_checked(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace(verdict_of(virtio=Outcome.BOOTS))
    for option, word in (("--name", "a b"), ("--network", "x;y"), ("--mac", "zz")):
        done = ferry("define", "--workspace", workspace, option, word)
        assert done.returncode == 2, done.stdout
        assert repr(word) in done.stderr


@pytest.mark.slow
def test_libvirt_has_the_machine_after_the_import(
    libvirt: Libvirt, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace = make_workspace(verdict_of(virtio=Outcome.BOOTS))
    assert ferry("define", "--workspace", workspace, "--name", "web-1").returncode == 0
    words = ("import", "libvirt", "--connect", libvirt.uri, "--pool", tmp_path / "pool")
    done = ferry(*words, workspace / "definitions", "--name", "web-2", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"name": "web-2", "folder": str(tmp_path / "pool" / "web-2"), "running": False}
    assert "web-2" in libvirt.domains
    again = ferry(*words, "--workspace", workspace, "--name", "web-2")
    assert again.returncode == 2
    assert "has a machine web-2 already" in again.stderr
    libvirt.virsh("undefine", "web-2")


@pytest.mark.slow
def test_bus_and_firmware_are_read_off_a_real_guest(demo_disks: tuple[Disk, ...], tmp_path: Path) -> None:
    words = [disk.path for disk in demo_disks]
    done = ferry("define", *words, "--output", tmp_path / "out", "--name", "demo", "--json")
    assert done.returncode == 0, done.stderr
    machine = read_definitions(tmp_path / "out").of(Platform.LIBVIRT)
    assert (machine.bus, machine.firmware, machine.notes) == ("virtio", "bios", ())
    assert machine.operating_system.startswith("Ferry demo server")
