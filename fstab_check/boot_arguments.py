"""Judges and foretells whether the kernel finds its root file system: the `root=` that the boot loader tells it.

It stands in no fstab, and no nofail helps: an initramfs that does not find its root ends in a shell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fstab_check.arrival import arrive, device_there
from fstab_check.boot_config import BootConfig, KernelEntry
from fstab_check.boot_effect import severity_over
from fstab_check.codes import Code
from fstab_check.drivers import is_reached, lost_targets
from fstab_check.facts import Guest
from fstab_check.layout import is_same_volume
from fstab_check.obstacles import find_obstacle
from fstab_check.sources import SourceKind, parse_device_text
from migration.target import Target
from migration.verdict import Finding, LineForecast, Outcome, Severity

# Where an initramfs may or may not find it: it compares tags without regard to case, or takes the first of two.
_UNKNOWN = frozenset(
    {
        Code.SOURCE_UNEXAMINED, Code.FILESYSTEM_UNMOUNTABLE, Code.MAPPING_UNEXAMINED, Code.TAG_AMBIGUOUS,
        Code.TAG_CASE, Code.CLOUD_DISK_PATH,
    }
)  # fmt: skip


def root_arguments(guest: Guest) -> list[str]:
    """Return the different values of `root=` that the guest's boot entries have, in their order."""
    return list(_first_of_each_root(guest.boot))


def forecast_root(guest: Guest, target: Target) -> Iterator[LineForecast]:
    """Yield what becomes of each `root=`; one of unknown outcome where none was found, or where they differ."""
    told = [_forecast(value, guest, target) for value in root_arguments(guest)]
    if lost_targets(guest.kernels, [target]):
        missing = ", ".join(guest.kernels[0].missing_for(target))
        yield _line("root=", Outcome.EMERGENCY, f"kernel {guest.kernels[0].release} and its initramfs lack {missing}")
    elif not told:
        where = guest.boot.failure or ", ".join(guest.boot.files[:4]) or "none was found"
        yield _line("root=", Outcome.UNKNOWN, f"no boot loader configuration says where the root is ({where})")
    elif len({line.outcome for line in told}) > 1:
        values = " or ".join(line.source for line in told)
        yield _line(values, Outcome.UNKNOWN, "the boot entries differ, and it is not followed which one starts")
    elif told[0].outcome is Outcome.MOUNTED and not is_reached(guest.kernels, target):
        yield _line(told[0].source, Outcome.UNKNOWN, "whether the initramfs has the bus's driver could not be seen")
    else:
        yield from told


def _forecast(value: str, guest: Guest, target: Target) -> LineForecast:
    text = f"root={value}"
    source = parse_device_text(value)
    if source.kind is SourceKind.UNKNOWN:
        return _line(text, Outcome.UNKNOWN, "it names the root in a way that is not followed")
    there = arrive(source, guest, target)
    if there.is_open or there.failure in _UNKNOWN:
        return _line(text, Outcome.UNKNOWN, there.evidence or "a disk that has not come yet decides")
    if there.volume is None or there.failure is not None:
        return _line(text, Outcome.EMERGENCY, f"the kernel does not find its root: {there.evidence}")
    if not is_same_volume(there.volume, guest.root.volume):
        return _line(
            text, Outcome.WRONG_DISK, f"it leads to {there.volume.place}, and this fstab lies on {guest.root.location}"
        )
    obstacle = find_obstacle(source, there.volume, guest, target)
    if obstacle is not None:  # the initramfs has an older copy of that file, or none
        return _line(text, Outcome.UNKNOWN, obstacle.message)
    device = device_there(there.volume, guest, target)
    return _line(text, Outcome.MOUNTED, "the root file system", device)


def _line(source: str, outcome: Outcome, reason: str, device: str | None = None) -> LineForecast:
    return LineForecast(
        line=0, source=source, mountpoint="/", outcome=outcome, reason=reason, device=device, seconds=0.0
    )


def check_root_arguments(guest: Guest, targets: Sequence[Target]) -> Iterator[Finding]:
    """Yield what is wrong with the `root=` of the guest's boot entries, for those of `targets` where it is."""
    if not root_arguments(guest):
        yield Finding(
            code=Code.BOOT_CONFIG_UNEXAMINED, severity=Severity.INFO,
            message="no boot loader configuration says where the root is: whether the kernel finds it is unknown",
            evidence=guest.boot.failure
            or f"looked into: {', '.join(guest.boot.files) or 'nothing, none of the usual files is there'}",
            remedy="see that the kernel gets root=UUID=…, and boot the disks once: ferry boot-test",
        )  # fmt: skip
    for value, entry in _first_of_each_root(guest.boot).items():
        told = {target: _forecast(value, guest, target) for target in targets}
        lost = tuple(target for target, line in told.items() if line.outcome in {Outcome.EMERGENCY, Outcome.WRONG_DISK})
        if lost:
            severity = severity_over(lost, targets, Severity.ERROR)
            yield _finding(entry, value, guest, lost, told[lost[0]], severity)


def _first_of_each_root(boot: BootConfig) -> dict[str, KernelEntry]:
    """Return the first entry that says each `root=`, by what it says."""
    found: dict[str, KernelEntry] = {}
    for entry in boot.entries:
        if value := entry.value_of("root"):
            found.setdefault(value, entry)
    return found


def _finding(
    entry: KernelEntry, value: str, guest: Guest, lost: tuple[Target, ...], told: LineForecast, severity: Severity
) -> Finding:
    root = guest.root.volume.content
    is_name = parse_device_text(value).kind is SourceKind.DEVICE
    if told.outcome is Outcome.WRONG_DISK:
        code = Code.ROOT_ARGUMENT_DIFFERS
        message = f"the kernel is told root={value}, which is not the file system that this fstab lies on"
    elif is_name:
        code = Code.ROOT_ARGUMENT_NAME
        message = f"the kernel is told root={value}, and on {', '.join(lost)} no disk has this name: it does not boot"
    else:
        code = Code.ROOT_ARGUMENT_UNMATCHED
        message = f"the kernel is told root={value}, which is on none of the disks: it does not boot"
    return Finding(
        code=code, severity=severity, message=message,
        evidence=told.reason, file=entry.file, line=entry.line, targets=lost,
        remedy=f"write root=UUID={root.uuid}" if root is not None and root.uuid else "name the root by its UUID",
    )  # fmt: skip
