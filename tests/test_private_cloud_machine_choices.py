from __future__ import annotations

import pytest

from migration.disk import DiskRole
from migration.errors import FindingsRemain, InvalidInput
from migration.image import Image, ImageDisk
from migration.target import Target
from migration.verdict import Forecast, LineForecast, Outcome, Verdict
from private_cloud.machine import Firmware
from private_cloud.machine_choices import choose_bus, note_on_firmware
from private_cloud.platforms import Platform


def verdict_of(**outcomes: Outcome) -> Verdict:
    """Return a verdict that foretells each target's outcome, of one line of fstab."""
    forecasts = tuple(
        Forecast(
            target=Target(target),
            lines=(LineForecast(line=3, source="/dev/x", mountpoint="/data", outcome=outcome, reason=f"why {target}"),),
        )
        for target, outcome in outcomes.items()
    )
    return Verdict(root="xvda1", operating_system="Debian", findings=(), chain=(), forecasts=forecasts)


def test_first_bus_that_boots_is_chosen() -> None:
    verdict = verdict_of(virtio=Outcome.EMERGENCY, scsi=Outcome.WRONG_DISK, sata=Outcome.BOOTS, ide=Outcome.BOOTS)
    assert choose_bus(Platform.LIBVIRT, verdict, disks=2) == (Target.SATA, ())


def test_bus_is_one_that_the_platform_has() -> None:
    verdict = verdict_of(virtio=Outcome.BOOTS, scsi=Outcome.BOOTS, vmware=Outcome.BOOTS, sata=Outcome.BOOTS)
    assert choose_bus(Platform.OVA, verdict, disks=2)[0] is Target.VMWARE
    with pytest.raises(InvalidInput, match="ova has no disks on virtio"):
        choose_bus(Platform.OVA, verdict, disks=2, wanted=Target.VIRTIO)


def test_prompt_boot_is_better_than_a_delayed_one_and_that_is_noted() -> None:
    late = verdict_of(virtio=Outcome.DELAYED, scsi=Outcome.BOOTS)
    assert choose_bus(Platform.LIBVIRT, late, disks=1) == (Target.SCSI, ())
    bus, notes = choose_bus(Platform.LIBVIRT, verdict_of(virtio=Outcome.DELAYED), disks=1)
    assert (bus, notes) == (Target.VIRTIO, ("the boot is delayed: delayed: /data: why virtio",))


def test_bus_that_is_too_small_for_the_disks_is_not_chosen() -> None:
    verdict = verdict_of(ide=Outcome.BOOTS, sata=Outcome.DELAYED)
    assert choose_bus(Platform.OVA, verdict, disks=4)[0] is Target.IDE
    assert choose_bus(Platform.OVA, verdict, disks=5)[0] is Target.SATA


@pytest.mark.parametrize("outcome", [Outcome.EMERGENCY, Outcome.WRONG_DISK, Outcome.UNKNOWN], ids=str)
def test_bus_that_is_not_foretold_to_boot_is_refused_with_the_reason_unless_forced(outcome: Outcome) -> None:
    verdict = verdict_of(virtio=outcome, scsi=Outcome.BOOTS)
    with pytest.raises(FindingsRemain, match=rf"(?s)on virtio .*{outcome}: /data: why virtio.*--force"):
        choose_bus(Platform.LIBVIRT, verdict, disks=1, wanted=Target.VIRTIO)
    bus, [note] = choose_bus(Platform.LIBVIRT, verdict, disks=1, wanted=Target.VIRTIO, force=True)
    assert bus is Target.VIRTIO
    assert "why virtio" in note


def test_guest_that_boots_from_nothing_is_refused_with_all_reasons_unless_forced() -> None:
    verdict = verdict_of(virtio=Outcome.EMERGENCY, scsi=Outcome.UNKNOWN)
    with pytest.raises(FindingsRemain, match=r"(?s)virtio: emergency: .*why virtio.*scsi: unknown: .*sata: unknown: "):
        choose_bus(Platform.LIBVIRT, verdict, disks=1)
    assert choose_bus(Platform.LIBVIRT, verdict, disks=1, force=True)[0] is Target.VIRTIO


def test_guest_that_nobody_could_look_into_is_refused_with_why() -> None:
    with pytest.raises(FindingsRemain, match="this is Windows"):
        choose_bus(Platform.QEMU, None, disks=1, unknown="this is Windows")


def image_with(boot_mode: str) -> Image:
    system = ImageDisk(device="xvda", role=DiskRole.SYSTEM, size=1)
    return Image(
        image_id="m-1", name="web", region_id="cn-hangzhou", status="Available", owner_alias="self", product_code="",
        os_type="linux", os_name="", architecture="x86_64", boot_mode=boot_mode, disks=(system,),
    )  # fmt: skip


@pytest.mark.parametrize(("boot_mode", "found"), [("BIOS", Firmware.UEFI), ("UEFI", Firmware.BIOS)])
def test_contradiction_between_cloud_and_disk_is_noted(boot_mode: str, found: Firmware) -> None:
    [note] = note_on_firmware(found, image_with(boot_mode))
    assert f"calls this a {boot_mode} image" in note
    assert f"made for {found.upper()}, and the disk counts" in note


@pytest.mark.parametrize(("boot_mode", "found"), [("BIOS", "bios"), ("UEFI-Preferred", "bios"), ("", "uefi")])
def test_nothing_is_noted_where_there_is_no_contradiction(boot_mode: str, found: str) -> None:
    assert note_on_firmware(Firmware(found), image_with(boot_mode)) == ()
    assert note_on_firmware(Firmware(found), None) == ()
