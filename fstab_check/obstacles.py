"""Knows what keeps a volume group or an array from being put together on a target, though all its disks are there.

Their disks change their names, serial numbers and slots on the way, and the guest's LVM or mdadm may have been told to
look at some of these alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fstab_check import lvm_config, md_config
from fstab_check.arrival import device_there
from fstab_check.boot_effect import at_most, severity_of_loss, severity_over
from fstab_check.codes import Code
from fstab_check.facts import Guest, Line
from fstab_check.layout import RaidArray, Volume
from fstab_check.md_config import ListedArray, MdConfig
from fstab_check.sources import Source, SourceKind
from migration.target import Target
from migration.verdict import Finding, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """One reason why a volume may not appear. `is_certain`: it does not, otherwise nobody knows."""

    code: Code
    file: str
    line: int | None
    message: str
    evidence: str
    remedy: str
    is_certain: bool = False


def find_obstacle(source: Source, volume: Volume, guest: Guest, target: Target) -> Obstacle | None:
    """Return what is in the way of `volume`, which `source` leads to, on `target`."""
    if volume.kind == "lvm":
        return _obstacle_for_lvm(volume, guest, target)
    if volume.kind == "md" and guest.config.md is not None:
        return _obstacle_for_md(source, volume, guest.config.md, guest, target)
    return None


def check_obstacles(lines: Sequence[Line], guest: Guest, targets: Sequence[Target]) -> Iterator[Finding]:
    """Yield each obstacle once, with the worst of what it does to `lines`, then listed arrays that are not there."""
    found: dict[Obstacle, list[tuple[Line, Target]]] = {}
    for line in lines:
        volume = line.resolution.volume
        for target in targets if volume is not None else ():
            obstacle = find_obstacle(line.source, volume, guest, target) if volume is not None else None
            if obstacle is not None:
                found.setdefault(obstacle, []).append((line, target))
    for obstacle, hits in found.items():
        if obstacle.code is Code.CONFIG_UNEXAMINED:
            continue
        lost = [target for target in targets if any(target is other for _, other in hits)]
        entries = {line.entry.line: line.entry for line, _ in hits}
        worst = max((severity_of_loss(entry) for entry in entries.values()), key=list(reversed(Severity)).index)
        limit = severity_over(lost, targets, Severity.ERROR if obstacle.is_certain else Severity.WARNING)
        lines_named = ", ".join(f"{number}" for number in list(entries)[:8])
        yield Finding(
            code=obstacle.code, severity=at_most(worst, limit), file=obstacle.file, line=obstacle.line,
            message=f"{obstacle.message}: fstab needs it in line {lines_named}",
            evidence=obstacle.evidence, remedy=obstacle.remedy, targets=tuple(lost),
        )  # fmt: skip
    if guest.config.md is not None and not guest.awaited:
        yield from _check_listed_arrays(guest.config.md, guest)


def _unread(guest: Guest, *paths: str) -> Obstacle | None:
    """Return that one of `paths` could not be read, which is told by itself."""
    path = next((path for path in paths if path in guest.config.unread), None)
    if path is None:
        return None
    reason = guest.config.unread[path]
    message = f"{path} could not be read, and may keep it from appearing"
    return Obstacle(code=Code.CONFIG_UNEXAMINED, file=path, line=None, message=message, evidence=reason, remedy="")


def _obstacle_for_lvm(volume: Volume, guest: Guest, target: Target) -> Obstacle | None:
    lvm = guest.config.lvm
    unread = _unread(guest, *lvm_config.FILES, lvm_config.DEVICES_FILE)
    if unread is not None:
        return unread
    parts = [
        part
        for part in guest.layout.volumes()
        if part.type == "LVM2_member" and set(part.members) & set(volume.members)
    ]
    if lvm.has_devices_file:
        return next((found for part in parts if (found := _not_listed(part, volume, guest)) is not None), None)
    for part in parts:
        path = device_there(part, guest, target) or f"/dev/{part.name}"
        for one in lvm.filters:
            accepted = one.accepts(path)
            if accepted is not True:
                return Obstacle(
                    code=Code.LVM_FILTER, file=one.file, line=one.line, is_certain=accepted is False and not part.kind,
                    message=f"the {one.name} of LVM " + ("leaves out" if accepted is False else "may leave out")
                    + f" the disks of {volume.name.partition('/')[0]} as they are named there",
                    evidence=f"{one.name} = [{', '.join(one.patterns)}]",
                    remedy='accept the names of all buses: "a|^/dev/(vd|sd|xvd|nvme)|"; the initramfs holds a copy',
                )  # fmt: skip
    return None


def _not_listed(part: Volume, volume: Volume, guest: Guest) -> Obstacle | None:
    """Return what the devices file says against a physical volume: it is not listed, or by what does not travel."""
    pvid = part.content.uuid.replace("-", "") if part.content else ""
    listed = next((one for one in guest.config.lvm.listed or () if one.pvid == pvid), None)
    if listed is not None and listed.id_type in lvm_config.TRAVELLING_IDS:
        return None
    seen = f"{listed.id_type} {listed.id_name}" if listed else f"PVID {pvid} is not in it"
    by_what = f"by its {listed.id_type}, which another machine does not give it" if listed else "not at all"
    group = volume.name.partition("/")[0]
    return Obstacle(
        code=Code.LVM_DEVICES_FILE, file=lvm_config.DEVICES_FILE, line=listed.line if listed else None,
        message=f"the devices file lists {part.name}, a part of {group}, {by_what}: LVM may not see it there",
        evidence=seen, remedy="take the file away before the first start over there, then vgimportdevices -a",
    )  # fmt: skip


def _obstacle_for_md(source: Source, volume: Volume, md: MdConfig, guest: Guest, target: Target) -> Obstacle | None:
    array = next((array for array in guest.layout.arrays if volume.name == (array.name or array.uuid)), None)
    if array is None:
        return None
    unread = _unread(guest, *md_config.FILES)
    if unread is not None:
        return unread
    for part in guest.layout.volumes():
        path = device_there(part, guest, target)
        if (
            set(part.members) & set(array.members)
            and part.type == "linux_raid_member"
            and path
            and not md.looks_at(path)
        ):
            pattern, file, line = (md.devices or (("", "", 1),))[0]
            return Obstacle(
                code=Code.MD_DEVICES, file=file, line=line,
                message=f"mdadm is told not to look at the disks of {volume.name} as they are named there",
                evidence=f"DEVICE {pattern}", remedy="write DEVICE partitions; the initramfs holds a copy",
            )  # fmt: skip
    return _obstacle_in_name(source, array, md)


def _obstacle_in_name(source: Source, array: RaidArray, md: MdConfig) -> Obstacle | None:
    """Return what is wrong with the name by which a line calls an array; unlisted, only its own name is sure."""
    listed = next((one for one in md.arrays if one.uuid == array.uuid), None)
    if listed is not None and listed.device == "<ignore>":
        return _unsure(listed.file, listed.line, array, "its ARRAY line says <ignore>")
    if source.kind is not SourceKind.ARRAY or not source.value.startswith("md") or source.value == array.uuid:
        return None  # tags, and udev's links by the name or UUID in the superblock
    host, colon, own = array.name.rpartition(":")
    homehost = md.hostname if md.homehost in {"", "<system>"} else md.homehost
    names = {_short(listed.device)} if listed is not None and listed.device else set()
    if not names and (not colon or host in {homehost, "any"} or md.homehost == "<ignore>"):
        names = {own}
    if _short(source.value) in names:
        return None
    said = f"listed as {listed.device}" if listed is not None and listed.device else "listed in no mdadm.conf"
    file = listed.file if listed is not None else next(iter(md.files), "/etc/mdadm.conf")
    return _unsure(file, listed.line if listed else None, array, f"{said}, made as {array.name or 'no name'}")


def _unsure(file: str, line: int | None, array: RaidArray, evidence: str) -> Obstacle:
    return Obstacle(
        code=Code.MD_NAME, file=file, line=line, evidence=evidence,
        message=f"the array {array.name or array.uuid} may get another name over there, as /dev/md127, or none",
        remedy="name it by the UUID= of its file system, or list it: mdadm --detail --scan; then renew the initramfs",
    )  # fmt: skip


def _check_listed_arrays(md: MdConfig, guest: Guest) -> Iterator[Finding]:
    seen = {array.uuid for array in guest.layout.arrays}
    absent: list[ListedArray] = [
        one for one in md.arrays if one.uuid and one.uuid not in seen and one.device != "<ignore>"
    ]
    for one in absent[:16]:
        yield Finding(
            code=Code.MD_ARRAY_ABSENT, severity=Severity.WARNING, file=one.file, line=one.line,
            message=f"the array {one.device or one.uuid} is listed, and on none of the disks",
            evidence=f"arrays on the disks: {', '.join(sorted(seen)) or 'none'}",
            remedy="give its disks, or take the line out and renew the initramfs",
        )  # fmt: skip


def _short(name: str) -> str:
    """Return what the names of one array share: "0" of /dev/md0, /dev/md/0, md0 and md_d0."""
    return name.removeprefix("/dev/").removeprefix("md/").removeprefix("md").removeprefix("_d")
