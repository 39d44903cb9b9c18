"""What OpenStack is told of a guest: the names and values that Glance and Nova read."""

from __future__ import annotations

from pathlib import Path

import pytest

from converters.stream_optimized import write_stream_optimized
from migration.artifact import Artifact
from migration.disk import DiskFormat, DiskRole
from migration.errors import InvalidInput
from migration.image import GIB
from migration.run import run
from migration.target import Target
from private_cloud.glance_properties import (
    GUEST_KEYS,
    check_name,
    guest_properties,
    plan_images,
    read_vmdk_type,
)
from private_cloud.machine import Firmware


def artifact(device: str = "xvda", **changes: object) -> Artifact:
    values = {
        "device": device, "role": DiskRole.SYSTEM if device == "xvda" else DiskRole.DATA,
        "path": Path(f"/w/{device}.qcow2"), "format": DiskFormat.QCOW2, "virtual_size": 40 * GIB,
        "file_size": 5, "sha256": "ab" * 32, "proof": "",
    }  # fmt: skip
    return Artifact(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("target", "firmware", "wanted"),
    [
        pytest.param(
            "virtio", "bios", {"hw_disk_bus": "virtio", "hw_vif_model": "virtio", "hw_machine_type": "pc"}, id="virtio"
        ),
        pytest.param(
            "scsi", "uefi",
            {"hw_disk_bus": "scsi", "hw_scsi_model": "virtio-scsi", "hw_vif_model": "virtio", "hw_machine_type": "q35"},
            id="scsi-uefi",
        ),
        pytest.param(
            "sata", "bios", {"hw_disk_bus": "sata", "hw_vif_model": "virtio", "hw_machine_type": "q35"}, id="sata"
        ),
        pytest.param(
            "ide", "uefi", {"hw_disk_bus": "ide", "hw_vif_model": "virtio", "hw_machine_type": "pc"}, id="no-q35"
        ),
        pytest.param(
            "xen", "bios", {"hypervisor_type": "xen", "hw_disk_bus": "xen", "hw_vif_model": "netfront"}, id="xen"
        ),
        pytest.param(
            "vmware", "bios",
            {"hypervisor_type": "vmware", "vmware_adaptertype": "paraVirtual", "hw_vif_model": "vmxnet3"}, id="vmware",
        ),
    ],
)  # fmt: skip
def test_guest_is_described_as_nova_reads_it(target: str, firmware: str, wanted: dict[str, str]) -> None:
    found = guest_properties(firmware=Firmware(firmware), target=Target(target))
    common = {"hw_architecture": "x86_64", "os_type": "linux", "hw_firmware_type": firmware}
    if firmware == "uefi":
        common["os_secure_boot"] = "disabled"
    assert found == {**common, **wanted}


def test_every_property_is_one_that_a_later_run_takes_away_again() -> None:
    for target in set(Target) - {Target.NVME}:
        assert set(guest_properties(firmware=Firmware.BIOS, target=target, vmdk_type="monolithicSparse")) <= GUEST_KEYS


@pytest.mark.parametrize(
    ("vmdk_type", "wanted"), [("streamOptimized", "streamOptimized"), ("monolithicSparse", "sparse"), ("", None)]
)
def test_vmware_is_told_how_its_disk_is_laid_out(vmdk_type: str, wanted: str | None) -> None:
    found = guest_properties(firmware=Firmware.BIOS, target=Target.VMWARE, vmdk_type=vmdk_type)
    assert found.get("vmware_disktype") == wanted


def test_arm_is_a_virt_machine_with_uefi() -> None:
    found = guest_properties(firmware=Firmware.UEFI, target=Target.VIRTIO, architecture="arm64")
    assert (found["hw_architecture"], found["hw_machine_type"]) == ("aarch64", "virt")


@pytest.mark.parametrize(
    ("firmware", "target", "architecture", "said"),
    [
        pytest.param("bios", "nvme", "x86_64", "no NVMe", id="nova-has-no-nvme"),
        pytest.param("bios", "virtio", "arm64", "a BIOS", id="arm-has-no-bios"),
        pytest.param("uefi", "ide", "arm64", "IDE", id="arm-has-no-ide"),
        pytest.param("bios", "virtio", "sparc", "'sparc'", id="unknown-architecture"),
    ],
)
def test_machine_that_nova_does_not_make_is_refused(firmware: str, target: str, architecture: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        guest_properties(firmware=Firmware(firmware), target=Target(target), architecture=architecture)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("raw", "raw"), ("qcow2", "qcow2"), ("vmdk", "vmdk"), ("vhdx", "vhdx"), ("vpc", "vhd"), ("vdi", "vdi")],
)
def test_format_has_glances_name(ours: str, theirs: str) -> None:
    (image,) = plan_images([artifact(format=DiskFormat(ours))], "web1", {})
    assert (image.disk_format, image.container_format, image.visibility) == (theirs, "bare", "private")


def test_each_disk_is_an_image_that_says_where_it_comes_from() -> None:
    guest = {"hw_disk_bus": "virtio"}
    disks = [artifact(), artifact("xvdb", virtual_size=20 * GIB + 1), artifact("xvdd", virtual_size=GIB)]
    system, first, last = plan_images(disks, "web1", guest, image_id="m-1", min_ram=512)
    assert [one.name for one in (system, first, last)] == ["web1", "web1-data-xvdb", "web1-data-xvdd"]
    assert [one.min_disk for one in (system, first, last)] == [40, 21, 1]
    assert [one.min_ram for one in (system, first, last)] == [512, 0, 0]
    assert system.properties == {
        "hw_disk_bus": "virtio", "ferry_image_id": "m-1", "ferry_device": "xvda", "ferry_role": "system",
        "ferry_disk_order": "0", "ferry_virtual_size": str(40 * GIB), "ferry_sha256": "ab" * 32,
    }  # fmt: skip
    # The order is that of the devices: a disk that was left out leaves a gap.
    assert (first.properties["ferry_disk_order"], last.properties["ferry_disk_order"]) == ("1", "3")
    assert "hw_disk_bus" not in first.properties


@pytest.mark.parametrize("name", ["", " web", "web ", "-rf", "in:a,b", "a\nb", "a\x1b[31m", "\U0001f600", "x" * 201])
def test_name_that_would_not_be_taken_for_one_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be the name"):
        check_name(name)


@pytest.mark.parametrize("name", ["web1", "web 1 (copy)", "webserver-é", "网站"])
def test_name_that_glance_takes_is_taken(name: str) -> None:
    check_name(name)


def test_vmdk_says_how_it_is_laid_out(tmp_path: Path) -> None:
    sparse, streamed = tmp_path / "sparse.vmdk", tmp_path / "streamed.vmdk"
    run(["qemu-img", "create", "-q", "-f", "vmdk", sparse, "4M"])
    write_stream_optimized(streamed, [], 4 << 20)
    assert read_vmdk_type(sparse) == "monolithicSparse"
    assert read_vmdk_type(streamed) == "streamOptimized"
    (tmp_path / "not.vmdk").write_bytes(b'createType="' + bytes(100))
    assert read_vmdk_type(tmp_path / "not.vmdk") == ""
