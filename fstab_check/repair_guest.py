"""The repair as one call: disks in; what was wrong, the patch, layers that have it, and what is wrong still, out.

The disks themselves are never written to. What a repair writes goes into a qcow2 layer over each disk that is
touched, which gets its name only once it is whole, on stable storage, and judged again from the beginning.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fstab_check.apply_patch import apply_patch
from fstab_check.check import check_guest, follow_lines
from fstab_check.config_files import mount_boot, read_config_files, volume_holding
from fstab_check.examine import examine_guest, read_guest
from fstab_check.layout import GuestLayout, Volume
from fstab_check.patch import Patch, render_diff
from fstab_check.repair import plan_repair
from fstab_check.root import READ_ONLY
from fstab_check.survey import names_of
from migration.appliance import open_guest
from migration.device import DeviceName
from migration.disk import REPAIRED_SUFFIX, Disk, DiskFormat
from migration.disk_file import base_of_layer
from migration.errors import InvalidInput
from migration.progress import Stop
from migration.repair import ChangedLine, LeftLine, Repair
from migration.storage import check_free_space, storage_errors, sync_directory, sync_file
from migration.target import ALL_TARGETS, Target
from migration.verdict import Verdict, printable

log = logging.getLogger(__name__)

ROOM = 64 * 1024**2  # bytes wanted for a layer: journals are replayed into it, and a few files


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRepair:
    """What was found and what would be changed; `devices` are the ECS names of the disks that would be written to."""

    before: Verdict
    patch: Patch
    devices: frozenset[str]

    @property
    def outcome(self) -> Repair:
        """The same in the words of reports, with nothing written yet."""
        return Repair(
            before=self.before,
            diff=render_diff(self.patch),
            changed=tuple(
                ChangedLine(
                    file=printable(file.path), line=change.line,
                    before=_text(change.before), after=_text(change.after),
                    reasons=tuple(map(printable, change.reasons)),
                )
                for file in self.patch.files
                for change in file.changes
            ),
            left=tuple(
                LeftLine(file=printable(left.path), line=left.line, why=printable(left.why)) for left in self.patch.left
            ),
        )  # fmt: skip


def plan_guest_repair(
    disks: Sequence[Disk],
    *,
    expected_devices: Collection[str] = (),
    targets: Sequence[Target] = ALL_TARGETS,
    stop: Stop | None = None,
) -> PlannedRepair:
    """Look into the guest, as `examine_guest` does, and plan what would mend it. Writes nothing.

    `targets` are what the verdict is on; the repair is one that holds on every bus.
    """
    if not disks:
        raise InvalidInput("there is no disk to look into", "give the system disk and its data disks")
    names_of(disks)
    with open_guest(disks, stop=stop) as g:
        survey, guest = read_guest(g, disks, expected=expected_devices)
        mounted, failures = mount_boot(g, survey, follow_lines(guest), options=READ_ONLY)
        patch = plan_repair(guest, [*read_config_files(g), *failures])
        touched = [volume_holding(g.realpath(file.path), guest.root.volume, mounted) for file in patch.files]
    indexes = {index for volume in touched for index in _disks_under(volume, guest.layout)}
    devices = frozenset(DeviceName(index).disk for index in indexes)
    return PlannedRepair(before=check_guest(guest, targets), patch=patch, devices=devices)


def apply_repair(
    disks: Sequence[Disk],
    plan: PlannedRepair,
    *,
    directory: Path | None = None,
    expected_devices: Collection[str] = (),
    targets: Sequence[Target] = ALL_TARGETS,
    overwrite: bool = False,
    stop: Stop | None = None,
) -> Repair:
    """Write the planned repair into layers beside the disks, or in `directory`, and judge the guest anew.

    A layer that is there already is refused, or with `overwrite` replaced once the new one is whole.
    Raises `InvalidInput`, `NoSpace`, `CorruptData`, and as `examine_guest` does; no layer appears then.
    """
    if not plan.patch.files:
        return replace(plan.outcome, after=plan.before, disks=tuple(disks))
    layers = {
        disk.device: layer_path(disk, directory)
        for disk, name in zip(disks, names_of(disks), strict=True)
        if name.disk in plan.devices
    }
    for disk in disks:
        if disk.device in layers and disk.base is not None:
            raise InvalidInput(
                f"{disk.name} is a layer with a repair in it already, and more would have to be changed",
                f"drop it (`ferry check-fstab --undo {disk.base}`), then repair {disk.base.name}",
            )
    taken = [layer for layer in layers.values() if layer.exists()]
    if taken and not overwrite:
        raise InvalidInput(
            f"{taken[0]} is there already",
            "drop it with `ferry check-fstab --undo`, or write elsewhere with --output",
        )
    with _partials(layers) as partials:
        log.info("Writing the repair into %s", ", ".join(str(layer) for layer in layers.values()))
        with open_guest(disks, layers=partials, stop=stop) as g:
            apply_patch(g, disks, plan.patch, expected_devices)
        after = examine_guest(_over(disks, partials), expected_devices=expected_devices, targets=targets, stop=stop)
        for device, layer in layers.items():
            with storage_errors(layer):
                sync_file(partials[device])
                partials[device].replace(layer)
                sync_directory(layer.parent)
    return replace(plan.outcome, after=after, disks=_over(disks, layers))


def undo_repair(disks: Sequence[Disk], *, directory: Path | None = None) -> list[Path]:
    """Remove the layers over `disks`, which are as they were downloaded; return the files that were removed.

    A file that has a layer's name and is over another disk is left alone.
    """
    removed = []
    for disk in disks:
        path = disk.base or disk.path
        layer = layer_path(disk, directory)
        if layer.is_file() and base_of_layer(layer) == path.absolute():
            layer.unlink()
            sync_directory(layer.parent)
            removed.append(layer)
    return removed


def layer_path(disk: Disk, directory: Path | None = None) -> Path:
    """Return where the layer with the repair of `disk` lies: `system.repaired.qcow2` beside it, or in `directory`."""
    path = (disk.base or disk.path).absolute()
    return (directory.absolute() if directory else path.parent) / f"{path.stem}{REPAIRED_SUFFIX}"


def _over(disks: Sequence[Disk], layers: Mapping[str, Path]) -> tuple[Disk, ...]:
    """Return the disks with `layers`, by device, in the place of those that have one."""
    return tuple(
        replace(
            disk, path=layers[disk.device], format=DiskFormat.QCOW2, base=disk.path.absolute(), crc64=None, proof=""
        )
        if disk.device in layers
        else disk
        for disk in disks
    )  # fmt: skip


@contextlib.contextmanager
def _partials(layers: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """Offer for each layer a path beside it to write to; what lies there after the block is removed."""
    partials = {device: layer.with_name(f".{layer.name}.partial") for device, layer in layers.items()}
    for partial in partials.values():
        with storage_errors(partial):
            try:
                partial.parent.mkdir(parents=True, exist_ok=True)
                partial.unlink(missing_ok=True)  # of a process that was killed
            except (FileExistsError, NotADirectoryError) as error:
                raise InvalidInput(f"{partial.parent}: this can be no folder", "choose another: --output") from error
    try:
        for partial in partials.values():
            check_free_space(partial.parent, ROOM * len(partials), "the layer with the repair")
        yield partials
    finally:
        for partial in partials.values():
            partial.unlink(missing_ok=True)


def _disks_under(volume: Volume, layout: GuestLayout) -> set[int]:
    """Return the positions of all disks that writing to `volume` may change; a btrfs may have more than one."""
    found = set(volume.disks)
    if volume.type == "btrfs" and volume.content is not None:
        for other in layout.volumes():
            if other.content is not None and other.content.uuid == volume.content.uuid:
                found |= other.disks
    return found


def _text(raw: bytes) -> str:
    return printable(raw.decode("utf-8", "surrogateescape"))
