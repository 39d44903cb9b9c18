"""The shell scripts of all platforms: what they have in common. What each does is in the test of its module."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from migration.run import run
from migration.target import Target
from private_cloud.machine import Firmware
from private_cloud.openstack import render_client_script
from private_cloud.platforms import Platform
from private_cloud.proxmox import render_qm_script
from private_cloud.qemu_script import render_qemu_script
from private_cloud.virtual_machine import VirtualMachine
from tests.private_cloud_machines import make_machine

Render = Callable[[VirtualMachine, str], str]
SCRIPTS = {
    Platform.OPENSTACK: render_client_script,
    Platform.PROXMOX: render_qm_script,
    Platform.QEMU: render_qemu_script,
}
# Folders and files may be called anything; the images lie in one, beside the script's.
ODD = 'it\'s $(touch pwned) a "folder", `really` & more; }'

all_machines = pytest.mark.parametrize(
    ("platform", "bus", "firmware"),
    [(platform, bus, firmware) for platform in SCRIPTS for bus in platform.buses for firmware in Firmware],
    ids=str,
)


def write_script(platform: Platform, machine: VirtualMachine, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    script = folder / f"{platform}.sh"
    script.write_text(SCRIPTS[platform](machine, f"../{machine.folder.name}"))
    return script


@all_machines
def test_script_is_one_for_any_posix_shell(platform: Platform, bus: Target, firmware: Firmware, tmp_path: Path) -> None:
    machine = make_machine(tmp_path / ODD, bus=bus, firmware=firmware, network="a network", mac="52:54:00:12:34:56")
    run(["sh", "-n", write_script(platform, machine, tmp_path / "definitions")])


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="apt-get install shellcheck")
@all_machines
def test_script_is_clean(platform: Platform, bus: Target, firmware: Firmware, tmp_path: Path) -> None:
    machine = make_machine(tmp_path / ODD, bus=bus, firmware=firmware)
    # On purpose: `$keep` of the QEMU script is a word or none, and what looks like an expression stays one.
    run(["shellcheck", "--exclude=SC2086,SC2016", write_script(platform, machine, tmp_path / "definitions")])
