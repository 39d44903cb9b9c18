"""A report as a real migration leaves it: three disks, one line repaired, converted twice, booted. For tests and docs/.

Verdicts, forecasts and the repair are made by the check itself, from the guest in memory that its own tests use.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from fstab_check.check import check_guest
from fstab_check.repair import plan_repair
from fstab_check.repair_guest import PlannedRepair
from migration.artifact import Artifact
from migration.disk import Disk, DiskFormat, DiskRole, disk_stem
from migration.exported_object import ExportedObject, Packing
from migration.image import GIB, Image, ImageDisk
from migration.repair import Repair
from migration.target import Target
from private_cloud.boot_in_workspace import BootProof
from private_cloud.console import Outcome
from private_cloud.machine import Firmware
from report.report import Report
from report.stage_times import Ending, Stage, StageTime
from tests.fstab_check_fixtures import DATA_UUID, ROOT_LINE, XFS_LINE, judge, make_guest

WORKSPACE = Path("/srv/ferry/web1")
BEGAN = 1_795_752_000.0  # 2026-11-27
_SIZES = {"xvda": 40 * GIB, "xvdb": 200 * GIB, "xvdc": 500 * GIB}
_PREFIX = "ferry261127k3x9q_m-bp1hx7z8qk2mexample_"

_BROKEN = ROOT_LINE + "/dev/vdb1  /data  ext4  defaults  0 2\n" + XFS_LINE
_MENDED = ROOT_LINE + f"UUID={DATA_UUID}  /data  ext4  defaults  0 2\n" + XFS_LINE

_CONSOLE = """\
[    4.812] EXT4-fs (vda1): mounted filesystem with ordered data mode
[    6.031] systemd[1]: Found device dev-disk-by\\x2duuid-22222222\\x2d2222.device
[  OK  ] Mounted data.mount - /data.
[  OK  ] Mounted srv.mount - /srv.
[  OK  ] Reached target local-fs.target - Local File Systems.
[  OK  ] Started ssh.service - OpenBSD Secure Shell server.
[  OK  ] Reached target multi-user.target - Multi-User System.

Debian GNU/Linux 12 web1 ttyS0

web1 login:"""


def disk(device: str) -> Disk:
    """Return one of the three downloaded disks."""
    role = DiskRole.SYSTEM if device == "xvda" else DiskRole.DATA
    return Disk(
        device=device, role=role, path=WORKSPACE / "disks" / f"{disk_stem(role, device)}.raw", format=DiskFormat.RAW,
        virtual_size=_SIZES[device], crc64=int(hashlib.sha256(device.encode()).hexdigest()[:16], 16),
        proof="the CRC-64 of all bytes, read back from storage, is the one that OSS tells",
    )  # fmt: skip


def exported(device: str) -> ExportedObject:
    """Return the object that a disk came as."""
    of = disk(device)
    return ExportedObject(
        bucket="my-exports", key=f"{_PREFIX}{of.stem}.raw.tar.gz", size=of.virtual_size // 9, etag="E", crc64=of.crc64,
        last_modified=int(BEGAN), storage_class="Standard", role=of.role, device=device, format=DiskFormat.RAW,
        packing=Packing.TAR_GZIP, disk_size=of.virtual_size,
    )  # fmt: skip


def artifact(device: str, kind: DiskFormat) -> Artifact:
    """Return an image of a disk."""
    of = disk(device)
    return Artifact(
        device=device, role=of.role, path=WORKSPACE / "images" / f"{of.stem}{kind.suffix}", format=kind,
        virtual_size=of.virtual_size, file_size=of.virtual_size // (8 if kind is DiskFormat.QCOW2 else 10),
        sha256=hashlib.sha256(f"{device}{kind}".encode()).hexdigest(), proof="equal to its source, compared by content",
    )  # fmt: skip


def stage(stage: Stage, subject: str, begun: float, seconds: float, tries: int = 1) -> StageTime:
    """Return a stage that was done, begun so many seconds into the run."""
    return StageTime(
        stage=stage, subject=subject, started=BEGAN + begun, ended=BEGAN + begun + seconds, seconds=seconds,
        tries=tries, ending=Ending.DONE,
    )  # fmt: skip


def _repair() -> Repair:
    guest = make_guest(_BROKEN)
    planned = PlannedRepair(before=check_guest(guest), patch=plan_repair(guest), devices=frozenset({"xvda"})).outcome
    system = disk("xvda")
    layer = replace(
        system, path=system.path.with_name("system.repaired.qcow2"), format=DiskFormat.QCOW2, base=system.path
    )
    after = replace(judge(_MENDED), operating_system="Debian GNU/Linux 12 (bookworm)")
    return replace(planned, after=after, disks=(layer, disk("xvdb"), disk("xvdc")))


def finished_report() -> Report:
    """Return the report of a run that came to its end."""
    devices = tuple(_SIZES)
    repair = _repair()
    image = Image(
        image_id="m-bp1hx7z8qk2mexample", name="web1-2026-11", region_id="cn-hangzhou", status="Available",
        owner_alias="self", product_code="", os_type="linux", os_name="Debian 12.8 64 bit", architecture="x86_64",
        boot_mode="BIOS",
        disks=tuple(ImageDisk(device=one, role=disk(one).role, size=_SIZES[one]) for one in devices),
    )  # fmt: skip
    boot = BootProof(
        outcome=Outcome.EVERYTHING_MOUNTED, summary="boots, and everything that the boot waits for is mounted",
        mounted=("/", "/data", "/srv"), failed=(), seconds=38.4, evidence="web1 login:", note="", target=Target.VIRTIO,
        firmware=Firmware.BIOS, kvm=True, files=("system.qcow2", "data_xvdb.qcow2", "data_xvdc.qcow2"),
        console=WORKSPACE / "console.log", last_words=tuple(_CONSOLE.splitlines()), added_console=False,
    )  # fmt: skip
    times = [
        stage(Stage.EXPORT, "", 0, 5_460),
        stage(Stage.DOWNLOAD, "xvda", 5_460, 312),
        stage(Stage.DOWNLOAD, "xvdb", 5_460, 1_490),
        stage(Stage.DOWNLOAD, "xvdc", 5_460, 3_720, tries=2),
        stage(Stage.REPAIR, "", 9_180, 46),
    ]
    seconds = {"xvda": 41, "xvdb": 188, "xvdc": 466}
    formats = (DiskFormat.QCOW2, DiskFormat.VMDK)
    times += [stage(Stage.CONVERT, f"{one} to {kind}", 9_230, seconds[one]) for one in devices for kind in formats]
    times.append(stage(Stage.BOOT, "on virtio", 10_170, 39))
    return Report(
        title="m-bp1hx7z8qk2mexample → private cloud", workspace=WORKSPACE, image=image,
        objects=tuple(exported(one) for one in devices), disks=tuple(disk(one) for one in devices),
        verdict=repair.after, repair=repair,
        artifacts=tuple(artifact(one, kind) for one in devices for kind in formats), boot=boot,
        planned=(Stage.EXPORT, Stage.DOWNLOAD, Stage.REPAIR, Stage.CONVERT, Stage.BOOT), stages=tuple(times),
        started=BEGAN, ended=BEGAN + 10_210,
        versions={"Ferry": "0.1.0", "Python": "3.11.2", "qemu-img": "7.2.17", "Prefect": "3.8.8"},
    )  # fmt: skip
