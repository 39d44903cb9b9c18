from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from migration.target import Target
from private_cloud.machine import Firmware
from private_cloud.platforms import Platform
from private_cloud.proxmox import proxmox_name
from tests.conftest import ToolMaker
from tests.private_cloud_machines import make_machine
from tests.test_private_cloud_scripts import ODD, write_script

# Does what qm does to the configuration, and remembers what it was told: a word a line, a blank one after each call.
QM = """
log={log}
printf '%s\\n' "$@" >> "$log"; echo >> "$log"
case $1 in
  importdisk) [ -f "$3" ] || { echo "no such image: $3" >&2; exit 2; }; echo "unused0: $4:vm-$2-disk" > {unused} ;;
  config) cat {unused} ;;
  set) case $3 in --{failing}*) echo "set failed" >&2; exit 1 ;; esac ;;
esac
"""


def calls(log: Path) -> list[list[str]]:
    return [call.split("\n") for call in log.read_text().strip("\n").split("\n\n")]


@pytest.fixture
def qm(fake_tool: ToolMaker, tmp_path: Path) -> ToolMaker:
    """Return how to put a `qm` on PATH that fails to set what is told."""

    def make(_: str, failing: str) -> Path:
        log, unused = tmp_path / "qm.log", tmp_path / "unused"
        fake_tool("pvesh", "echo 123")
        text = QM.replace("{log}", str(log)).replace("{unused}", str(unused))
        fake_tool("qm", text.replace("{failing}", failing))
        return log

    return make


def test_machine_is_made_with_its_disks_in_order(qm: ToolMaker, tmp_path: Path) -> None:
    log = qm("qm", "nothing")
    machine = make_machine(tmp_path / ODD, name="Web_1", mac="52:54:00:12:34:5a")
    script = write_script(Platform.PROXMOX, machine, tmp_path / "definitions")
    subprocess.run(["sh", script], check=True, cwd="/")
    create, *rest = calls(log)
    assert create[:4] == ["create", "123", "--name", "Web-1"]
    options = dict(zip(create[2::2], create[3::2], strict=True))
    assert options["--net0"] == "virtio=52:54:00:12:34:5A,bridge=vmbr0"
    assert (options["--bios"], options["--serial0"], options["--memory"]) == ("seabios", "socket", "2048")
    images = tmp_path / "definitions" / ".." / machine.folder.name
    assert rest == [
        ["importdisk", "123", str(images / "system.qcow2"), "local-lvm"],
        ["config", "123"],
        ["set", "123", "--virtio0", "local-lvm:vm-123-disk"],
        ["importdisk", "123", str(images / "data_xvdb.qcow2"), "local-lvm"],
        ["config", "123"],
        ["set", "123", "--virtio1", "local-lvm:vm-123-disk"],
        ["set", "123", "--boot", "order=virtio0"],
    ]


def test_what_differs_over_there_is_told_by_the_environment(qm: ToolMaker, tmp_path: Path) -> None:
    log = qm("qm", "nothing")
    machine = make_machine(tmp_path / "elsewhere")
    script = write_script(Platform.PROXMOX, replace(machine, bus=Target.VMWARE), tmp_path / "definitions")
    told = {"VMID": "7", "STORAGE": "ceph", "BRIDGE": "vmbr9", "IMAGES": str(tmp_path / "elsewhere")}
    subprocess.run(["sh", script], check=True, env={**os.environ, **told})
    create, first, *_ = calls(log)
    assert create[1] == "7"
    assert "vmxnet3,bridge=vmbr9" in create
    assert create[create.index("--scsihw") + 1] == "pvscsi"
    assert first == ["importdisk", "7", str(tmp_path / "elsewhere" / "system.qcow2"), "ceph"]


def test_uefi_has_variables_without_keys(qm: ToolMaker, tmp_path: Path) -> None:
    log = qm("qm", "nothing")
    machine = make_machine(tmp_path / "images", firmware=Firmware.UEFI)
    subprocess.run(["sh", write_script(Platform.PROXMOX, machine, tmp_path / "definitions")], check=True)
    made = calls(log)
    assert ["set", "123", "--efidisk0", "local-lvm:1,efitype=4m,pre-enrolled-keys=0"] in made
    assert made[0][made[0].index("--bios") + 1] == "ovmf"


@pytest.mark.parametrize("failing", ["virtio1", "boot"])
def test_failure_leaves_no_machine(qm: ToolMaker, failing: str, tmp_path: Path) -> None:
    log = qm("qm", failing)
    machine = make_machine(tmp_path / "images")
    script = write_script(Platform.PROXMOX, machine, tmp_path / "definitions")
    done = subprocess.run(["sh", script], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "set failed" in done.stderr
    assert calls(log)[-1] == ["destroy", "123", "--purge"]


def test_success_destroys_nothing_and_failing_to_create_neither(qm: ToolMaker, tmp_path: Path) -> None:
    log = qm("qm", "nothing")
    script = write_script(Platform.PROXMOX, make_machine(tmp_path / "images"), tmp_path / "definitions")
    subprocess.run(["sh", script], check=True)
    assert not any(call[0] == "destroy" for call in calls(log))
    # Somebody's machine has that number: it is not ours to remove.
    (tmp_path / "fake-tools" / "qm").write_text(f"#!/bin/sh\necho $1 >> {log}.2\nexit 1\n")
    assert subprocess.run(["sh", script], check=False).returncode == 1
    assert Path(f"{log}.2").read_text() == "create\n"


def test_name_becomes_one_of_dns() -> None:
    assert proxmox_name("Web_1.example..x") == "Web-1-example-x"
