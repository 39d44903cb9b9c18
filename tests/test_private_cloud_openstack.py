from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from migration.target import Target
from private_cloud.machine import Firmware
from private_cloud.openstack import image_properties, render_heat_template, volume_gib
from private_cloud.platforms import Platform
from tests.conftest import ToolMaker
from tests.private_cloud_machines import HOSTILE, make_machine
from tests.test_private_cloud_scripts import ODD, write_script

# Answers each creation with an identity of its own, and remembers what it was told: a word a line, a blank one after.
CLIENT = """
log=LOG
printf '%s\\n' "$@" >> "$log"; echo >> "$log"
case "$1 $2" in
  FAILING) echo "refused by the cloud" >&2; exit 1 ;;
  "image create") [ -f "$5" ] || exit 2; echo "image-of-$3" ;;
  "volume create") echo "volume-of-$3" ;;
  "volume show") echo available ;;
  "port create") echo "port-of-$3" ;;
esac
"""
TOLD = {"FLAVOR": "m1.medium", "NETWORK": "private net"}


def run_script(script: Path, told: dict[str, str]) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key not in TOLD}
    return subprocess.run(["sh", script], check=False, capture_output=True, text=True, cwd="/", env={**env, **told})


def calls(log: Path) -> list[list[str]]:
    return [call.split("\n") for call in log.read_text().strip("\n").split("\n\n")]


def put_client(fake_tool: ToolMaker, log: Path, failing: str = "nothing") -> None:
    fake_tool("openstack", CLIENT.replace("LOG", str(log)).replace("FAILING", f'"{failing}"'))


def test_disks_become_images_then_volumes_then_devices_in_order(fake_tool: ToolMaker, tmp_path: Path) -> None:
    log = tmp_path / "log"
    put_client(fake_tool, log)
    machine = make_machine(tmp_path / ODD, bus=Target.SCSI, firmware=Firmware.UEFI)
    done = run_script(write_script(Platform.OPENSTACK, machine, tmp_path / "definitions"), TOLD)
    assert (done.returncode, done.stderr) == (0, "")
    made = calls(log)
    assert [call[:3] for call in made] == [
        ["image", "create", "web-1-system"], ["volume", "create", "web-1-system"],
        ["volume", "show", "volume-of-web-1-system"],
        ["image", "create", "web-1-data_xvdb"], ["volume", "create", "web-1-data_xvdb"],
        ["volume", "show", "volume-of-web-1-data_xvdb"],
        ["server", "create", "web-1"],
    ]  # fmt: skip
    image = made[0]
    assert image[image.index("--disk-format") + 1] == "qcow2"
    properties = dict(made[0][at + 1].split("=", 1) for at, word in enumerate(image) if word == "--property")
    assert properties == image_properties(machine)
    # 20 GiB and a sector need 21.
    assert made[1][made[1].index("--size") + 1] == "21"
    device = "uuid=volume-of-{},source_type=volume,destination_type=volume,boot_index={},disk_bus=scsi,{}"
    kept = "delete_on_termination=false"
    assert made[-1][3:] == [
        "--flavor", "m1.medium", "--network", "private net",
        "--block-device", device.format("web-1-system", 0, kept),
        "--block-device", device.format("web-1-data_xvdb", -1, kept),
    ]  # fmt: skip


def test_fixed_address_needs_a_port(fake_tool: ToolMaker, tmp_path: Path) -> None:
    log = tmp_path / "log"
    put_client(fake_tool, log)
    machine = make_machine(tmp_path / "images", mac="52:54:00:12:34:56", network="lan")
    done = run_script(write_script(Platform.OPENSTACK, machine, tmp_path / "definitions"), {"FLAVOR": "f"})
    assert done.returncode == 0
    port, server = calls(log)[-2:]
    assert port[:7] == ["port", "create", "web-1", "--network", "lan", "--mac-address", "52:54:00:12:34:56"]
    assert server[server.index("--port") + 1] == "port-of-web-1"


@pytest.mark.parametrize("told", [{}, {"FLAVOR": "m1.medium"}, {"NETWORK": "n"}], ids=str)
def test_what_nobody_can_guess_is_asked_for_before_anything_is_made(
    fake_tool: ToolMaker, told: dict[str, str], tmp_path: Path
) -> None:
    put_client(fake_tool, tmp_path / "log")
    script = write_script(Platform.OPENSTACK, make_machine(tmp_path / "images"), tmp_path / "definitions")
    done = run_script(script, told)
    assert done.returncode == 2
    assert "FLAVOR=… NETWORK=…" in done.stderr
    assert not (tmp_path / "log").exists()


def test_failure_removes_what_was_made_the_last_first(fake_tool: ToolMaker, tmp_path: Path) -> None:
    log = tmp_path / "log"
    put_client(fake_tool, log, failing="server create")
    script = write_script(Platform.OPENSTACK, make_machine(tmp_path / "images"), tmp_path / "definitions")
    done = run_script(script, TOLD)
    assert done.returncode == 1
    assert "refused by the cloud" in done.stderr
    assert calls(log)[-4:] == [
        ["volume", "delete", "volume-of-web-1-data_xvdb"], ["image", "delete", "image-of-web-1-data_xvdb"],
        ["volume", "delete", "volume-of-web-1-system"], ["image", "delete", "image-of-web-1-system"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("bus", "firmware", "some"),
    [
        (Target.VIRTIO, Firmware.BIOS, {"hw_disk_bus": "virtio", "hw_firmware_type": "bios", "hw_machine_type": "pc"}),
        (Target.SCSI, Firmware.BIOS, {"hw_disk_bus": "scsi", "hw_scsi_model": "virtio-scsi"}),
        (Target.VIRTIO, Firmware.UEFI, {"hw_machine_type": "q35", "os_secure_boot": "disabled"}),
        (Target.SATA, Firmware.BIOS, {"hw_machine_type": "q35", "hw_vif_model": "e1000e", "os_type": "linux"}),
    ],
)  # fmt: skip
def test_glance_is_told_the_machine(bus: Target, firmware: Firmware, some: dict[str, str], tmp_path: Path) -> None:
    told = image_properties(make_machine(tmp_path, bus=bus, firmware=firmware))
    assert some.items() <= told.items()
    assert told["hw_architecture"] == "x86_64"


@pytest.mark.parametrize(("size", "gib"), [(1, 1), (1 << 30, 1), ((1 << 30) + 512, 2)])
def test_volume_is_as_large_as_the_disk_or_larger(size: int, gib: int, tmp_path: Path) -> None:
    assert volume_gib(replace(make_machine(tmp_path).disks[0], virtual_size=size)) == gib


def test_template_makes_the_same_server(tmp_path: Path) -> None:
    machine = make_machine(tmp_path, network="lan", mac="52:54:00:12:34:56")
    template: dict[str, Any] = yaml.safe_load(render_heat_template(machine))
    assert HOSTILE in template["description"]
    assert template["parameters"]["network"]["default"] == "lan"
    resources = template["resources"]
    assert resources["volume_system"]["properties"] == {
        "name": "web-1-system", "image": {"get_param": "image_system"}, "size": 21,
    }  # fmt: skip
    server = resources["server"]["properties"]
    devices = server["block_device_mapping_v2"]
    assert [device["volume_id"] for device in devices] == [
        {"get_resource": "volume_system"}, {"get_resource": "volume_data_xvdb"},
    ]  # fmt: skip
    assert [device["boot_index"] for device in devices] == [0, -1]
    assert server["networks"] == [{"port": {"get_resource": "port"}}]
    referred = {*template["parameters"], *resources}
    assert {"image_data_xvdb", "volume_data_xvdb", "port", "flavor"} <= referred
