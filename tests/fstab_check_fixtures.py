"""A guest in memory for the pure tests: three disks as ECS lays them out, and what was read from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from fstab_check.autofs import parse_map, parse_master
from fstab_check.boot_config import parse_boot_config
from fstab_check.check import MAX_ENTRIES, check_guest
from fstab_check.cloud_init import parse_cloud_config
from fstab_check.codes import Code
from fstab_check.drivers import KernelDrivers
from fstab_check.facts import FstabFile, Guest, PathKind, RootFilesystem
from fstab_check.fstab import parse_fstab
from fstab_check.guest_config import GuestConfig
from fstab_check.guest_files import GuestText
from fstab_check.layout import GuestDisk, GuestFilesystem, GuestLayout, GuestPartition, volume_of_partition
from fstab_check.lvm_config import DEVICES_FILE, parse_lvm_config
from fstab_check.md_config import parse_md_config
from fstab_check.mountpoint_check import paths_of_interest
from fstab_check.unit_files import Unit, UnitFile, Units, parse_unit
from migration.device import DeviceName
from migration.disk import DiskRole
from migration.target import ALL_TARGETS, Target
from migration.verdict import Finding, Verdict

ROOT_UUID = "11111111-1111-4111-8111-111111111111"
DATA_UUID = "22222222-2222-4222-8222-222222222222"
XFS_UUID = "33333333-3333-4333-8333-333333333333"
SWAP_UUID = "44444444-4444-4444-8444-444444444444"

ROOT_LINE = f"UUID={ROOT_UUID} / ext4 defaults 1 1\n"
DATA_LINE = f"UUID={DATA_UUID} /data ext4 defaults 0 2\n"
XFS_LINE = f"UUID={XFS_UUID} /srv xfs defaults 0 0\n"
GOOD_FSTAB = ROOT_LINE + DATA_LINE + XFS_LINE

ALL_DRIVERS = KernelDrivers(
    release="6.1.0-1",
    modules=frozenset(
        {"virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "ahci", "ata_piix", "nvme", "xen_blkfront", "vmw_pvscsi"}
    ),
)


def filesystem(type_: str, uuid: str = "", label: str = "", sub: str = "") -> GuestFilesystem:
    return GuestFilesystem(type=type_, uuid=uuid, label=label, uuid_sub=sub)


def partition(number: int, content: GuestFilesystem | None = None, uuid: str = "", label: str = "") -> GuestPartition:
    return GuestPartition(number=number, content=content, uuid=uuid, label=label)


def system_disk(*partitions: GuestPartition) -> GuestDisk:
    return GuestDisk(name=DeviceName(0), role=DiskRole.SYSTEM, table="dos", partitions=partitions)


def data_disk(index: int, *partitions: GuestPartition, content: GuestFilesystem | None = None) -> GuestDisk:
    table = "gpt" if partitions else ""
    return GuestDisk(
        name=DeviceName(index), role=DiskRole.DATA, table=table, partitions=partitions, content=content
    )  # fmt: skip


XVDA = system_disk(partition(1, filesystem("ext4", ROOT_UUID, "rootfs"), uuid="1234abcd-01"))
XVDB = data_disk(
    1, partition(1, filesystem("ext4", DATA_UUID, "data"), uuid="aaaa-bbbb", label="data one"), partition(2)
)  # fmt: skip
XVDC = data_disk(2, content=filesystem("xfs", XFS_UUID, "big"))
LAYOUT = GuestLayout(disks=(XVDA, XVDB, XVDC))


def make_guest(
    text: str | bytes = GOOD_FSTAB,
    *,
    layout: GuestLayout = LAYOUT,
    paths: Mapping[str, PathKind] | None = None,
    missing: Collection[str] = (),
    roots: tuple[RootFilesystem, ...] = (),
    expected: Collection[str] = (),
    awaited: Collection[str] = (),
    file: FstabFile | None = None,
    root_argument: str = f"UUID={ROOT_UUID}",
    kernels: tuple[KernelDrivers, ...] = (ALL_DRIVERS,),
    config: GuestConfig | None = None,
) -> Guest:
    """Return a guest whose paths are all directories, but for `missing` and what `paths` says.

    Its boot loader tells the kernel `root_argument`, "" for a guest without a boot loader's configuration.
    """
    content = text.encode() if isinstance(text, str) else text
    fstab = parse_fstab(content)
    kinds = dict.fromkeys(paths_of_interest(fstab, MAX_ENTRIES), PathKind.DIRECTORY)
    kinds |= dict.fromkeys(missing, PathKind.MISSING) | dict(paths or {})
    root = RootFilesystem(volume=volume_of_partition(layout.disks[0], layout.disks[0].partitions[0]))
    return Guest(
        layout=layout, roots=roots or (root,), file=file or FstabFile(content=content),
        fstab=fstab, paths=kinds, expected=expected, awaited=awaited, kernels=kernels,
        config=config or GuestConfig(),
        boot=parse_boot_config({"/boot/grub/grub.cfg": f"  linux /boot/vmlinuz root={root_argument} ro\n".encode()}),
    )  # fmt: skip


def judge(text: str | bytes = GOOD_FSTAB, **facts: object) -> Verdict:
    """Return the verdict on `make_guest(text, **facts)`."""
    return judge_on(ALL_TARGETS, text, **facts)


def judge_on(targets: Sequence[Target], text: str | bytes = GOOD_FSTAB, **facts: object) -> Verdict:
    """Return the verdict on `make_guest(text, **facts)`, for `targets`."""
    return check_guest(make_guest(text, **facts), targets)  # type: ignore[arg-type]  # passed on


def with_disks(*disks: GuestDisk) -> GuestLayout:
    """Return the three disks with some of them replaced, or more of them added, by name."""
    by_name = {disk.name: disk for disk in (*LAYOUT.disks, *disks)}
    return replace(LAYOUT, disks=tuple(by_name[name] for name in sorted(by_name)))


def oddities(verdict: Verdict) -> list[Finding]:
    """Return the findings but for the notes that every good line with a data disk and without nofail gets."""
    return [found for found in verdict.findings if found.code != Code.DATA_WITHOUT_NOFAIL]


def finding(verdict: Verdict, code: Code) -> Finding:
    """Return the one finding with `code`."""
    found = [finding for finding in verdict.findings if finding.code == code]
    assert len(found) == 1, [finding.code for finding in verdict.findings]
    return found[0]


ETC, USR = "/etc/systemd/system", "/usr/lib/systemd/system"
WANTED = frozenset({"multi-user.target.wants"})
REQUIRED = frozenset({"local-fs.target.requires"})


def mount_text(what: str, where: str, type_: str = "ext4", options: str = "defaults") -> str:
    return f"[Unit]\nDescription=x\n\n[Mount]\nWhat={what}\nWhere={where}\nType={type_}\nOptions={options}\n"


def unit(
    name: str, text: str | None, *, folder: str = ETC, pulled_in_by: frozenset[str] = frozenset(), drop_in: str = ""
) -> Unit:  # fmt: skip
    """Return a unit with that text; None masks it, and "" leaves the file out."""
    file = UnitFile(path=f"{folder}/{name}", settings=parse_unit(text or ""), is_masked=text is None)
    drop_ins = (UnitFile(path=f"{ETC}/{name}.d/x.conf", settings=parse_unit(drop_in)),) if drop_in else ()
    return Unit(name=name, file=None if text == "" else file, drop_ins=drop_ins, pulled_in_by=pulled_in_by)


def config_of(*units: Unit, **more: object) -> GuestConfig:
    return GuestConfig(units=Units(by_name={unit.name: unit for unit in units}), **more)  # type: ignore[arg-type]


def cloud_config(*texts: str) -> GuestConfig:
    """Return a guest's configuration whose cloud-init is told `texts`, one file after the other."""
    cloud, unread = parse_cloud_config(
        [GuestText(f"/etc/cloud/{number}.cfg", text) for number, text in enumerate(texts)]
    )
    return GuestConfig(cloud=cloud, unread=unread)


def autofs_config(*lines: str, master: str = "/mnt/auto file:/etc/auto.data") -> GuestConfig:
    """Return a guest's configuration whose autofs has one map with `lines`."""
    (entry,) = parse_master(GuestText("/etc/auto.master", master))
    return GuestConfig(autofs=tuple(parse_map(GuestText("/etc/auto.data", "\n".join(lines)), entry)))


def lvm_and_md(
    lvm_conf: str = "", *, devices_file: str | None = None, md_conf: str | None = None, hostname: str = "host"
) -> GuestConfig:
    """Return a guest's configuration with these files of LVM and mdadm."""
    listed = None if devices_file is None else GuestText(DEVICES_FILE, devices_file)
    md_files = [] if md_conf is None else [GuestText("/etc/mdadm.conf", md_conf)]
    return GuestConfig(
        lvm=parse_lvm_config([GuestText("/etc/lvm/lvm.conf", lvm_conf)], listed),
        md=parse_md_config(md_files, hostname),
    )
