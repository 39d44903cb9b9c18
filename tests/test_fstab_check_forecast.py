"""What a line will do is foretold per bus; tests/boot_matrix.py holds the same rules against real boots."""

from __future__ import annotations

import math

import pytest

from fstab_check.codes import Code
from fstab_check.drivers import KernelDrivers
from fstab_check.facts import PathKind
from fstab_check.layout import GuestLayout
from fstab_check.manager_config import parse_device_timeout
from fstab_check.timespan import parse_timespan
from migration.errors import InvalidInput
from migration.target import Target, parse_targets
from migration.verdict import Forecast, LineForecast, Outcome, Severity
from tests.fstab_check_fixtures import (
    ALL_DRIVERS,
    DATA_UUID,
    GOOD_FSTAB,
    ROOT_LINE,
    ROOT_UUID,
    XVDA,
    XVDC,
    data_disk,
    filesystem,
    finding,
    judge,
    judge_on,
    oddities,
    partition,
    with_disks,
)

MOUNTED, IGNORED, DELAYED = Outcome.MOUNTED, Outcome.IGNORED, Outcome.DELAYED
UNKNOWN, WRONG_DISK, EMERGENCY = Outcome.UNKNOWN, Outcome.WRONG_DISK, Outcome.EMERGENCY


def foretell(text: str, target: Target = Target.VIRTIO, **facts: object) -> Forecast:
    (forecast,) = judge_on([target], text, **facts).forecasts
    return forecast


def foretell_line(text: str, target: Target = Target.VIRTIO, **facts: object) -> LineForecast:
    """Return what becomes of the one line `text` beside the one for the root."""
    return foretell(ROOT_LINE + text, target, **facts).lines[-1]


@pytest.mark.parametrize(
    ("written", "there"),
    [
        ("/dev/vdb1", {Target.VIRTIO}),
        ("/dev/sdb1", {Target.SCSI, Target.SATA, Target.IDE, Target.VMWARE}),
        ("/dev/nvme1n1p1", {Target.NVME}),
        ("/dev/xvdb1", {Target.XEN}),
        ("/dev/hdb1", set()),
    ],
)
def test_a_kernel_name_is_found_only_where_the_bus_gives_it(written: str, there: set[Target]) -> None:
    for target in Target:
        line = foretell_line(f"{written} /data ext4 defaults 0 0", target)
        assert line.outcome is (MOUNTED if target in there else EMERGENCY), target
        assert (line.device, line.seconds) == ((written, 0) if target in there else (None, 90))


@pytest.mark.parametrize("target", Target)
def test_a_tag_is_found_on_every_bus_and_the_name_there_is_told(target: Target) -> None:
    line = foretell_line(f"UUID={DATA_UUID} /data ext4 defaults 0 2", target)
    assert line.outcome is MOUNTED
    assert line.device == {
        Target.VIRTIO: "/dev/vdb1", Target.NVME: "/dev/nvme1n1p1", Target.XEN: "/dev/xvdb1"
    }.get(target, "/dev/sdb1")  # fmt: skip


FATES = [
    pytest.param("UUID=dead /d ext4 defaults 0 0", EMERGENCY, 90, id="missing"),
    pytest.param("UUID=dead /d ext4 nofail 0 0", IGNORED, 0, id="missing, nofail"),
    pytest.param("UUID=dead /d ext4 noauto 0 0", IGNORED, 0, id="missing, noauto"),
    pytest.param("UUID=dead /d ext4 x-systemd.automount 0 0", IGNORED, 0, id="missing, automount"),
    pytest.param("UUID=dead /d ext4 noauto,x-systemd.automount 0 0", IGNORED, 0, id="missing, noauto automount"),
    pytest.param("UUID=dead /d ext4 x-systemd.device-timeout=1min 0 0", EMERGENCY, 60, id="missing, own timeout"),
    pytest.param("UUID=dead /d ext4 x-systemd.device-timeout=0 0 0", EMERGENCY, None, id="missing, no timeout"),
    pytest.param("UUID=dead /d ext4 x-systemd.device-timeout=soon 0 0", EMERGENCY, 90, id="missing, odd timeout"),
    pytest.param("UUID=dead none swap sw 0 0", DELAYED, 90, id="missing swap"),
    pytest.param("UUID=dead none swap nofail 0 0", IGNORED, 0, id="missing swap, nofail"),
    pytest.param("UUID=dead /d ext4 _netdev 0 0", DELAYED, 90, id="missing, network"),
    pytest.param("nas.example:/ /nas nfs vers=4,_netdev 0 0", DELAYED, 90, id="dead NFS"),
    pytest.param("//nas.example/s /nas cifs credentials=/x 0 0", DELAYED, 90, id="dead SMB"),
    pytest.param("ossfs#b /oss fuse allow_other 0 0", EMERGENCY, 0, id="object store as a local mount"),
    pytest.param(f"UUID={DATA_UUID} /d xfs defaults 0 0", EMERGENCY, 0, id="wrong type"),
    pytest.param(f"UUID={DATA_UUID} /d xfs nofail 0 0", IGNORED, 0, id="wrong type, nofail"),
    pytest.param("/dev/vdb /d ext4 defaults 0 0", EMERGENCY, 0, id="whole disk that has a table"),
    pytest.param("/dev/vdb2 /d ext4 defaults 0 0", EMERGENCY, 0, id="empty partition"),
    pytest.param("/dev/vdb7 /d ext4 defaults 0 0", EMERGENCY, 90, id="no such partition"),
    pytest.param("/dev/disk/by-id/virtio-bp1-part1 /d ext4 defaults 0 0", EMERGENCY, 90, id="by-id"),
    pytest.param("/dev/disk/by-path/pci-0000:00:06.0-part1 /d ext4 defaults 0 0", UNKNOWN, 0, id="by-path"),
    pytest.param("LABEL=data data ext4 defaults 0 0", IGNORED, 0, id="no absolute path"),
    pytest.param("LABEL=data / ext4 defaults 0 0", IGNORED, 0, id="second line for the root"),
    pytest.param("tmpfs /tmp tmpfs defaults 0 0", MOUNTED, 0, id="tmpfs"),
    pytest.param("proc /proc proc defaults 0 0", MOUNTED, 0, id="proc"),
    pytest.param("/dev/vdz1 /dev/shm ext4 defaults 0 0", MOUNTED, 0, id="where systemd mounts by itself"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("link", "may_be_there"),
    [
        ("pci-0000:00:06.0-part1", {Target.VIRTIO}),
        ("virtio-pci-0000:00:06.0-part1", {Target.VIRTIO}),
        ("pci-0000:00:06.0-scsi-0:0:1:0-part1", {Target.SCSI, Target.VMWARE}),
        ("pci-0000:00:1f.2-ata-1.0-part1", {Target.SATA, Target.IDE}),
        ("pci-0000:00:06.0-nvme-1-part1", {Target.NVME}),
        ("platform-vhci_hcd.0-usb-0:1:1.0", set(Target)),
    ],
)
def test_link_by_slot_is_gone_on_other_buses_and_unknown_on_its_own(link: str, may_be_there: set[Target]) -> None:
    for target in Target:
        line = foretell_line(f"/dev/disk/by-path/{link} /data ext4 defaults 0 0", target)
        assert line.outcome is (UNKNOWN if target in may_be_there else EMERGENCY), (target, line.reason)


@pytest.mark.parametrize("options", ["defaults", "nofail", "noauto", "x-systemd.automount", "_netdev"])
@pytest.mark.parametrize("place", ["/d ext4", "none swap", "/nas nfs"])
def test_line_is_an_error_where_its_loss_ends_the_boot(place: str, options: str) -> None:
    text, missing = ROOT_LINE + f"UUID=dead {place} {options} 0 0\n", {Code.TAG_UNMATCHED, Code.NETWORK_MOUNT}
    severities = {one.severity for one in judge(text).findings if one.code in missing}
    assert severities == {
        Severity.ERROR if foretell(text).outcome is EMERGENCY else Severity.INFO if options == "noauto"
        else Severity.WARNING
    }  # fmt: skip


@pytest.mark.parametrize(("text", "outcome", "seconds"), FATES)
def test_fate_of_a_line(text: str, outcome: Outcome, seconds: float | None) -> None:
    line = foretell_line(text)
    assert (line.outcome, line.seconds) == (outcome, seconds), line.reason


def test_source_that_is_a_path() -> None:
    there = {"/srv": PathKind.DIRECTORY, "/disk.img": PathKind.FILE}
    assert foretell_line("/srv /b none bind 0 0", paths=there).outcome is MOUNTED
    assert foretell_line("/disk.img /b ext4 loop 0 0", paths=there).outcome is MOUNTED
    assert foretell_line("/disk.img /b ext4 loop 0 0", missing=["/disk.img"]).outcome is EMERGENCY
    assert foretell_line("/srv /b none bind 0 0", missing=["/srv"]).outcome is MOUNTED, "systemd makes the directory"
    assert foretell_line("/swapfile none swap sw 0 0", missing=["/swapfile"]).outcome is IGNORED


def test_mount_point_that_is_a_file_ends_in_emergency_mode() -> None:
    assert foretell_line("LABEL=data /d ext4 defaults 0 0", paths={"/d": PathKind.FILE}).outcome is EMERGENCY
    assert foretell_line("LABEL=data /d ext4 defaults 0 0", missing=["/d"]).outcome is MOUNTED


def test_disks_arrive_without_a_gap_so_that_a_name_may_mean_another() -> None:
    """xvdb was left behind: xvdc arrives as the second disk, and takes the name that fstab has for xvdb."""
    layout = GuestLayout(disks=(XVDA, XVDC, data_disk(3, partition(1, filesystem("ext4", "d")))))
    assert foretell_line("/dev/vdc /srv xfs defaults 0 0", layout=layout).outcome is EMERGENCY
    line = foretell_line("/dev/vdc1 /d ext4 defaults 0 0", layout=layout)
    assert (line.outcome, line.device) == (WRONG_DISK, "/dev/vdc1"), "that is xvdd, which came third"
    assert foretell_line("/dev/vdd1 /d ext4 defaults 0 0", layout=layout).outcome is EMERGENCY
    two = with_disks(data_disk(4, content=filesystem("xfs", "e")))
    moved = GuestLayout(disks=tuple(disk for disk in two.disks if disk.name.index != 1))
    line = foretell_line("/dev/vdc /srv xfs defaults 0 0", layout=moved)
    assert (line.outcome, line.device) == (WRONG_DISK, "/dev/vdc")


def test_disk_that_is_awaited_leaves_its_lines_open() -> None:
    line = foretell_line("/dev/vdd1 /d ext4 defaults 0 0", awaited=["xvdd"], expected=["xvdd"])
    assert line.outcome is UNKNOWN


ROOTS = [
    pytest.param(f"UUID={ROOT_UUID}", {Target.VIRTIO: MOUNTED, Target.SCSI: MOUNTED}, None, id="by UUID"),
    pytest.param("LABEL=rootfs", {Target.VIRTIO: MOUNTED, Target.NVME: MOUNTED}, None, id="by label"),
    pytest.param("PARTUUID=1234abcd-01", {Target.VIRTIO: MOUNTED, Target.XEN: MOUNTED}, None, id="by partition"),
    pytest.param(
        "/dev/vda1", {Target.VIRTIO: MOUNTED, Target.SATA: EMERGENCY}, Code.ROOT_ARGUMENT_NAME, id="by kernel name"
    ),
    pytest.param(
        "UUID=dead", {Target.VIRTIO: EMERGENCY, Target.SATA: EMERGENCY}, Code.ROOT_ARGUMENT_UNMATCHED, id="nowhere"
    ),
    pytest.param(f"UUID={DATA_UUID}", {Target.VIRTIO: WRONG_DISK}, Code.ROOT_ARGUMENT_DIFFERS, id="another disk"),
    pytest.param("live:CDLABEL=x", {Target.VIRTIO: UNKNOWN}, None, id="not a disk"),
    pytest.param("", {Target.VIRTIO: UNKNOWN}, Code.BOOT_CONFIG_UNEXAMINED, id="not told"),
]  # fmt: skip


@pytest.mark.parametrize(("argument", "outcomes", "code"), ROOTS)
def test_root_argument_of_the_kernel(argument: str, outcomes: dict[Target, Outcome], code: Code | None) -> None:
    verdict = judge_on(list(outcomes), root_argument=argument)
    assert [forecast.lines[0].outcome for forecast in verdict.forecasts] == list(outcomes.values())
    if code is None:
        assert not oddities(verdict)
        return
    found = finding(verdict, code)
    lost = [target for target, outcome in outcomes.items() if outcome in {EMERGENCY, WRONG_DISK}]
    if code is not Code.BOOT_CONFIG_UNEXAMINED:
        assert list(found.targets) == lost
        assert found.severity is (Severity.ERROR if len(lost) == len(outcomes) else Severity.INFO)
        assert (found.file, found.line) == ("/boot/grub/grub.cfg", 1)


def test_driver_that_the_initramfs_lacks_ends_the_boot_on_that_bus() -> None:
    cloud = KernelDrivers(release="6.1-cloud", modules=ALL_DRIVERS.modules - {"ahci", "vmw_pvscsi"})
    verdict = judge_on(list(Target), kernels=(cloud,))
    outcomes = {forecast.target: forecast.outcome for forecast in verdict.forecasts}
    lost = {target for target, outcome in outcomes.items() if outcome is EMERGENCY}
    assert lost == {Target.SATA, Target.VMWARE} == set(finding(verdict, Code.DRIVER_MISSING).targets)
    assert finding(judge_on([Target.SATA], kernels=(cloud,)), Code.DRIVER_MISSING).severity is Severity.ERROR


def test_driver_that_nobody_could_look_for_is_not_taken_for_there() -> None:
    unread = KernelDrivers(release="6.1", unexamined="packed by lz4")
    for kernels in ((), (unread,), (ALL_DRIVERS, unread), (ALL_DRIVERS, KernelDrivers(release="5"))):
        assert foretell(GOOD_FSTAB, Target.SATA, kernels=kernels).outcome is UNKNOWN, kernels
    assert foretell(GOOD_FSTAB, Target.VIRTIO, kernels=()).outcome is Outcome.BOOTS, "the guest has run on it"


def test_whole_boot_is_as_bad_as_its_worst_line() -> None:
    assert foretell(GOOD_FSTAB).outcome is Outcome.BOOTS
    assert foretell(GOOD_FSTAB + "UUID=dead /d ext4 nofail 0 0\n").outcome is Outcome.BOOTS
    assert foretell(GOOD_FSTAB + "UUID=dead none swap sw 0 0\n").outcome is DELAYED
    assert foretell(GOOD_FSTAB + "UUID=dead none swap sw 0 0\nUUID=dead /d ext4 defaults 0 0\n").outcome is EMERGENCY
    assert foretell(GOOD_FSTAB, root_argument="").outcome is UNKNOWN


def test_device_name_is_an_error_only_if_no_asked_target_has_it() -> None:
    text = ROOT_LINE + "/dev/vdb1 /data ext4 defaults 0 0\n"
    assert finding(judge(text), Code.DEVICE_NAME).severity is Severity.INFO
    assert Code.DEVICE_NAME not in {found.code for found in judge_on([Target.VIRTIO], text).findings}
    found = finding(judge_on([Target.SCSI, Target.IDE], text), Code.DEVICE_NAME)
    assert (found.severity, found.targets) == (Severity.ERROR, (Target.SCSI, Target.IDE))


def test_targets_are_named_by_words() -> None:
    assert parse_targets(["sata", "virtio", "sata"]) == (Target.SATA, Target.VIRTIO)
    assert parse_targets([]) == tuple(Target)
    with pytest.raises(InvalidInput, match="usb"):
        parse_targets(["usb"])


@pytest.mark.parametrize(
    ("texts", "seconds"),
    [
        ([], 90),
        (["[Manager]\n#DefaultTimeoutStartSec=90s\n"], 90),
        (["[Manager]\nDefaultTimeoutStartSec = 20s\n"], 20),
        (["DefaultTimeoutStartSec=20s\n", "DefaultTimeoutStartSec=1min\n"], 60),
        (["DefaultTimeoutStartSec=20s\nDefaultDeviceTimeoutSec=5\n"], 5),
        (["DefaultTimeoutStartSec=infinity\n"], math.inf),
        (["DefaultTimeoutStartSec=when it suits\n"], 90),
    ],
)
def test_default_wait_is_the_guests_own(texts: list[str], seconds: float) -> None:
    assert parse_device_timeout(texts) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90), ("1min 30s", 90), ("1min30s", 90), ("2.5s", 2.5), ("500ms", 0.5), ("1h", 3600),
        ("infinity", math.inf), ("0", 0), ("", None), ("soon", None), ("5 parsecs", None), ("-5", None), ("10s!", None),
    ],
)  # fmt: skip
def test_time_spans_are_read_as_systemd_reads_them(text: str, seconds: float | None) -> None:
    assert parse_timespan(text) == seconds
