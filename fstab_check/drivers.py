"""Knows which drivers a kernel needs to reach its root on each bus, and whether a guest's kernels have them in time.

What is only in /lib/modules comes too late: it lies on the disk that has to be found first. Installers that build an
initramfs for the machine they run on (dracut's host-only mode) leave out what that machine does not need.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fstab_check.boot_effect import severity_over
from fstab_check.codes import Code
from migration.target import Target
from migration.verdict import Finding, Severity

# All sets of which one member at least must be there. IDE may be driven by libata or, in old kernels, by itself.
_SD = {"sd_mod"}
_NEEDED: dict[Target, Sequence[set[str]]] = {
    Target.VIRTIO: ({"virtio_pci"}, {"virtio_blk"}),
    Target.SCSI: ({"virtio_pci"}, {"virtio_scsi"}, _SD),
    Target.SATA: ({"ahci"}, _SD),
    Target.IDE: ({"ata_piix", "pata_acpi", "ata_generic"}, _SD),
    Target.NVME: ({"nvme"},),
    Target.XEN: ({"xen_blkfront"},),
    Target.VMWARE: ({"vmw_pvscsi", "mptspi"}, _SD),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelDrivers:
    """What a kernel of the guest has built in or finds in its initramfs; `unexamined` says why that is not known."""

    release: str
    modules: frozenset[str] = frozenset()
    unexamined: str = ""

    def missing_for(self, target: Target) -> list[str]:
        """Return what is missing to reach a disk on the bus of `target`, alternatives as "a or b"."""
        return [" or ".join(sorted(one_of)) for one_of in _NEEDED[target] if not one_of & self.modules]


def lost_targets(kernels: Sequence[KernelDrivers], targets: Sequence[Target]) -> list[Target]:
    """Return the targets that no kernel of the guest reaches; none where a kernel could not be examined."""
    if not kernels or any(kernel.unexamined for kernel in kernels):
        return []
    return [target for target in targets if all(kernel.missing_for(target) for kernel in kernels)]


def is_reached(kernels: Sequence[KernelDrivers], target: Target) -> bool:
    """Return whether every kernel of the guest is known to reach a disk on the bus of `target`.

    virtio needs no proof where nobody could look: it is what the guest has run on.
    """
    if target is Target.VIRTIO and all(kernel.unexamined for kernel in kernels):
        return True
    return bool(kernels) and not any(kernel.unexamined or kernel.missing_for(target) for kernel in kernels)


def check_drivers(kernels: Sequence[KernelDrivers], targets: Sequence[Target]) -> Iterator[Finding]:
    """Yield the buses whose driver the guest lacks, and kernels that could not be examined."""
    lost = lost_targets(kernels, targets)
    if lost:
        missing = dict.fromkeys(word for target in lost for word in kernels[0].missing_for(target))
        yield Finding(
            code=Code.DRIVER_MISSING, severity=severity_over(lost, targets, Severity.ERROR),
            message=f"the guest's initramfs has no driver for {', '.join(lost)}: it does not find its root there",
            evidence=f"kernel {kernels[0].release} and its initramfs lack {', '.join(missing)}",
            remedy="use another bus, or build the initramfs anew in the guest with these drivers: "
            f"dracut -f --add-drivers '{' '.join(missing)}', or /etc/initramfs-tools/modules and update-initramfs -u",
            targets=tuple(lost),
        )  # fmt: skip
    for kernel in kernels:
        if kernel.unexamined:
            yield Finding(
                code=Code.DRIVER_UNEXAMINED, severity=Severity.INFO,
                message=f"whether kernel {kernel.release} has the drivers for another bus could not be seen",
                evidence=kernel.unexamined, remedy="boot the disks once on the bus they will have: ferry boot-test",
            )  # fmt: skip
