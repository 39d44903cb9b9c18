"""Judges what cloud-init will do with the disks when the guest starts for the first time as a new instance."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from fstab_check.arrival import arrive, follow
from fstab_check.boot_effect import severity_over
from fstab_check.cloud_init import CloudInit, CloudMount, DiskSetup
from fstab_check.codes import Code
from fstab_check.facts import Guest, Line
from fstab_check.fstab import Entry
from fstab_check.line_check import finding_on
from fstab_check.resolve import Resolution
from fstab_check.sources import SourceKind, parse_device_text
from migration.target import Target
from migration.verdict import Finding, Severity

OWN_MARK = "comment=cloudconfig"  # in the options of what cloud-init wrote into fstab
# Which answer without a network, from a disk or from nothing at all.
_LOCAL_SOURCES = frozenset({"NoCloud", "ConfigDrive", "OVF", "None"})
_SHORT = re.compile(r"(?:x?[shv]d[a-z]+|nvme\d+n\d+(?:p\d+)?)[0-9]*")


def check_cloud_init(lines: Sequence[Line], guest: Guest, targets: Sequence[Target]) -> Iterator[Finding]:
    """Yield what cloud-init would format, what it would mount in vain, and the lines of fstab that it owns."""
    cloud = guest.config.cloud
    if not cloud.is_enabled or _is_switched_off_for_the_kernel(guest):
        return
    for setup in cloud.setups:
        yield from _check_setup(setup, guest, targets)
    for mount in cloud.mounts:
        yield from _check_mount(mount, guest, targets)
    for line in lines:
        if OWN_MARK in line.entry.options:
            yield finding_on(
                line, Code.CLOUD_INIT_LINE, Severity.INFO,
                "cloud-init wrote this line, and takes it out and writes it anew when it sees a new instance",
                evidence=f"options {line.entry.options}",
                remedy=f"take {OWN_MARK} out of the options where the line is meant to stay",
            )  # fmt: skip
    yield from _check_sources(cloud)


def _is_switched_off_for_the_kernel(guest: Guest) -> bool:
    arguments = [entry.value_of("cloud-init") for entry in guest.boot.entries]
    return bool(arguments) and all(value == "disabled" for value in arguments)


def _check_setup(setup: DiskSetup, guest: Guest, targets: Sequence[Target]) -> Iterator[Finding]:
    found = {target: _arrive(_device_of(setup), guest, target) for target in targets}
    lost = {target: there for target, there in found.items() if _is_destroyed(setup, there)}
    what = f"a new {setup.table} partition table" if setup.table else f"a new {setup.filesystem or 'file system'}"
    if lost:
        there = next(iter(lost.values()))
        yield Finding(
            code=Code.CLOUD_INIT_FORMATS, severity=Severity.ERROR, file=setup.file, line=setup.line,
            message=f"cloud-init makes {what} on {setup.device} at the first start over there: what is on it is lost",
            evidence=f"it holds {_contents(there)}; overwrite is {str(setup.overwrite).lower()}",
            remedy="take the entry out, or switch cloud-init off: touch /etc/cloud/cloud-init.disabled",
            device=there.device.disk if there.device else None, targets=tuple(lost),
        )  # fmt: skip
    elif setup.overwrite and any(there.failure is Code.SOURCE_UNKNOWN for there in found.values()):
        yield Finding(
            code=Code.CLOUD_INIT_FORMATS, severity=Severity.WARNING, file=setup.file, line=setup.line,
            message=f"cloud-init makes {what} on {setup.device} and overwrites what it finds: which disk is unknown",
            evidence=f"{setup.device} is no name of a disk that we know; overwrite is true",
            remedy="take the entry out, or switch cloud-init off: touch /etc/cloud/cloud-init.disabled",
        )  # fmt: skip


def _is_destroyed(setup: DiskSetup, there: Resolution) -> bool:
    content = there.volume.content if there.volume else None
    holds_data = content is not None or there.failure in {Code.WHOLE_DISK_PARTITIONED, Code.SOURCE_UNEXAMINED}
    if not holds_data or setup.table or setup.partition in {"any", "auto"}:
        return holds_data and setup.overwrite and bool(setup.table)  # `any` and `auto` take what is free
    if setup.partition == "none" or setup.overwrite or content is None:
        return True
    # With a number it formats what has not the very label and type that are asked for, overwrite or not.
    return (content.label, content.type) != (setup.label, setup.filesystem)


def _check_mount(mount: CloudMount, guest: Guest, targets: Sequence[Target]) -> Iterator[Finding]:
    source, path = _path_of(mount.fields[0]), mount.fields[1] if len(mount.fields) > 1 else ""
    if not path:
        return  # null: "take it out"
    fstype = mount.fields[2] if len(mount.fields) > 2 else "auto"
    entry = Entry(
        line=mount.line, source=source, mountpoint=path, fstype=fstype or "auto", options="", freq=0, passno=0, raw=""
    )  # fmt: skip
    line = follow(entry, guest)
    if line.source.kind in {SourceKind.PSEUDO, SourceKind.FILE} or line.resolution.is_open:
        return
    is_remote = line.source.kind is SourceKind.NETWORK
    lost = tuple(target for target in targets if is_remote or _is_missing(_arrive(source, guest, target)))
    if lost:
        yield Finding(
            code=Code.CLOUD_INIT_MOUNT, severity=severity_over(lost, targets, Severity.WARNING),
            message=f"cloud-init is told to mount {mount.fields[0]} at {path}, which "
            + ("no offline network reaches" if is_remote else "leads to no file system there"),
            evidence=f"mounts: [{', '.join(mount.fields)}]", file=mount.file, line=mount.line, targets=lost,
            remedy="take the entry out and write a line of fstab with UUID= and nofail",
        )  # fmt: skip


def _is_missing(there: Resolution) -> bool:
    return not there.is_open and (there.volume is None or there.failure is not None)


def _check_sources(cloud: CloudInit) -> Iterator[Finding]:
    absent = [name for name in cloud.datasources if name not in _LOCAL_SOURCES]
    if absent and not set(cloud.datasources) & (_LOCAL_SOURCES - {"None"}):
        file, line = cloud.datasources_at
        yield Finding(
            code=Code.CLOUD_INIT_DATASOURCE, severity=Severity.INFO, file=file, line=line,
            message=f"cloud-init asks {', '.join(absent)}, which answers in a cloud only: the boot may wait minutes",
            evidence=f"datasource_list: [{', '.join(cloud.datasources)}]",
            remedy="write datasource_list: [NoCloud, None], or switch it off: touch /etc/cloud/cloud-init.disabled",
        )  # fmt: skip


def _device_of(setup: DiskSetup) -> str:
    path, dot, number = _path_of(setup.device).rpartition(".")
    device = path if dot and number.isdigit() else _path_of(setup.device)
    partition = number if dot and number.isdigit() else setup.partition
    if not partition.isdigit():
        return device
    return f"{device}p{partition}" if device[-1:].isdigit() else f"{device}{partition}"


def _path_of(name: str) -> str:
    return f"/dev/{name}" if _SHORT.fullmatch(name) else name


def _arrive(name: str, guest: Guest, target: Target) -> Resolution:
    source = parse_device_text(name)
    there = arrive(source, guest, target)
    if there.failure is Code.WHOLE_DISK_PARTITIONED and source.device is not None:
        first = replace(source.device, partition=1)  # cloud-init takes that where a whole disk is named
        found = arrive(replace(source, value=first.spelled(target.disk_prefix), device=first), guest, target)
        return found if found.volume is not None and found.failure is None else there
    return there


def _contents(there: Resolution) -> str:
    content = there.volume.content if there.volume else None
    return f"{content.type} {content.label or content.uuid}".strip() if content else there.evidence or "something"
