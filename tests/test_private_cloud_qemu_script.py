from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from converters.convert import convert_file
from demo.guest_image import make_demo_guest
from migration.acceleration import BOOT_SECTOR, PROVEN
from migration.disk import DiskFormat
from migration.run import run
from migration.target import Target
from private_cloud.firmware import OVMF
from private_cloud.machine import Firmware
from private_cloud.platforms import Platform
from private_cloud.virtual_machine import VirtualMachine
from tests.conftest import ToolMaker
from tests.private_cloud_machines import make_machine
from tests.test_private_cloud_scripts import ODD, write_script

needs_ovmf = pytest.mark.skipif(not any(Path(code).exists() for code, _ in OVMF), reason="apt-get install ovmf")


def started(script: Path, *words: str, **told: str) -> list[str]:
    """Return the words that QEMU is given; a fake one prints them."""
    env = {key: value for key, value in os.environ.items() if key not in {"ACCEL", "SSH_PORT", "IMAGES"}}
    done = subprocess.run(
        ["sh", script, *words], check=True, stdout=subprocess.PIPE, text=True, cwd="/", env={**env, **told}
    )
    return done.stdout.splitlines()


@pytest.fixture(autouse=True)
def fake_qemu(request: pytest.FixtureRequest, fake_tool: ToolMaker) -> None:
    if request.node.get_closest_marker("slow"):  # those boot
        return
    fake_tool("qemu-system-x86_64", 'printf "%s\\n" "$@"')


def test_images_are_found_beside_the_script_and_stay_as_they_are(tmp_path: Path) -> None:
    machine = make_machine(tmp_path / ODD)
    argv = started(write_script(Platform.QEMU, machine, tmp_path / "definitions"))
    images = tmp_path / "definitions" / ".." / machine.folder.name
    drives = [word for word in argv if word.startswith("if=none")]
    assert drives == [
        f"if=none,id=disk-{number},format=qcow2,discard=unmap,file={images / name}".replace(
            str(images), str(images).replace(",", ",,")
        )
        for number, name in enumerate(["system.qcow2", "data_xvdb.qcow2"])
    ]
    assert argv[-1] == "-snapshot"
    assert "virtio-blk-pci,drive=disk-0,bootindex=1" in argv
    assert "user,id=net-0" in argv


def test_writes_are_kept_and_ports_and_emulation_had_where_that_is_asked_for(tmp_path: Path) -> None:
    script = write_script(Platform.QEMU, make_machine(tmp_path / "images"), tmp_path / "definitions")
    argv = started(script, "--keep", ACCEL="tcg", SSH_PORT="2222", IMAGES="/elsewhere")
    assert "-snapshot" not in argv
    assert [argv[at + 1] for at, word in enumerate(argv) if word == "-accel"] == ["tcg"]
    assert "user,id=net-0,hostfwd=tcp:127.0.0.1:2222-:22" in argv
    assert any(word.endswith("file=/elsewhere/system.qcow2") for word in argv)


@pytest.mark.parametrize(
    ("answer", "accelerator"),
    [
        pytest.param(f"exit {PROVEN}", "kvm", id="ran"),
        pytest.param("exit 1", "tcg", id="died"),
        pytest.param("exec sleep 60", "tcg", id="hung"),
    ],
)
def test_kvm_is_used_where_it_ran_a_boot_sector(
    answer: str, accelerator: str, tmp_path: Path, fake_tool: ToolMaker
) -> None:
    probe = f"cp sector {tmp_path}/sector; {answer}"
    fake_tool("qemu-system-x86_64", f'case "$*" in *isa-debug-exit*) {probe} ;; esac; printf "%s\\n" "$@"')
    argv = started(write_script(Platform.QEMU, make_machine(tmp_path / "images"), tmp_path / "definitions"))
    assert [argv[at + 1] for at, word in enumerate(argv) if word == "-accel"] == [accelerator]
    assert (tmp_path / "sector").read_bytes() == BOOT_SECTOR


def test_other_words_are_refused(tmp_path: Path) -> None:
    script = write_script(Platform.QEMU, make_machine(tmp_path / "images"), tmp_path / "definitions")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        started(script, "--kep")
    assert caught.value.returncode == 2


@pytest.mark.parametrize(
    ("bus", "device", "card"),
    [
        (Target.VMWARE, "scsi-hd,bus=scsi.0,scsi-id=1,drive=disk-1,bootindex=2", "vmxnet3,netdev=net-0"),
        (Target.SATA, "ide-hd,bus=ide.1,drive=disk-1,bootindex=2", "e1000e,netdev=net-0"),
        (Target.NVME, "nvme,serial=disk-1,drive=disk-1,bootindex=2", "virtio-net-pci,netdev=net-0"),
    ],
    ids=str,
)
def test_disks_and_card_are_those_of_the_bus(bus: Target, device: str, card: str, tmp_path: Path) -> None:
    argv = started(write_script(Platform.QEMU, make_machine(tmp_path / "images", bus=bus), tmp_path / "definitions"))
    assert device in argv
    assert card in argv


@needs_ovmf
def test_uefi_keeps_its_variables_beside_the_script(tmp_path: Path) -> None:
    machine = make_machine(tmp_path / "images", firmware=Firmware.UEFI)
    script = write_script(Platform.QEMU, machine, tmp_path / "a, folder")
    argv = started(script)
    variables = script.with_name("web-1-uefi-variables.fd")
    assert f"if=pflash,unit=1,format=raw,file={str(variables).replace(',', ',,')}" in argv
    variables.write_text("what the guest wrote")
    started(script)
    assert variables.read_text() == "what the guest wrote"


class _Booted(Exception):
    """Ends the machine."""


@pytest.mark.exhaustive
@pytest.mark.slow
def test_demo_server_boots_right_away_and_its_images_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    disks = make_demo_guest(tmp_path / "disks")
    images = tuple(convert_file(disk, tmp_path / "images", DiskFormat.QCOW2) for disk in disks)
    machine = VirtualMachine(name="demo", disks=images, bus=Target.VIRTIO, firmware=Firmware.BIOS, memory=512)
    script = write_script(Platform.QEMU, machine, tmp_path / "definitions")

    def listen(line: str) -> None:
        if "ferry-demo: boot complete, 3 of 3 file systems mounted" in line:
            raise _Booted

    with pytest.raises(_Booted):
        run(["sh", script], on_line=listen, timeout=540)
    for image in images:
        assert hashlib.sha256(image.path.read_bytes()).hexdigest() == image.sha256
