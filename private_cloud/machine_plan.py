"""Plans the machine of each platform: from the images, what the check foretells, and what the operator wants."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from migration.artifact import Artifact
from migration.disk import DiskFormat, DiskRole, guest_order
from migration.errors import InvalidInput
from migration.image import Image
from migration.target import Target
from migration.verdict import Severity, Verdict
from private_cloud.firmware import find_firmware, reader_of_image
from private_cloud.machine import CPUS, MEMORY
from private_cloud.machine_choices import choose_bus, note_on_firmware
from private_cloud.platforms import Platform
from private_cloud.virtual_machine import VirtualMachine, suggest_name

# Made unasked: what is text. An OVA holds all the images once more.
SMALL_PLATFORMS = (Platform.LIBVIRT, Platform.OPENSTACK, Platform.PROXMOX, Platform.QEMU)

ImageSets = Mapping[DiskFormat, tuple[Artifact, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the operator says of the machine; "" and None have it chosen.

    `force` defines a machine also on a bus that the guest is not foretold to boot from.
    """

    name: str = ""
    memory: int = MEMORY
    cpus: int = CPUS
    network: str = ""
    mac: str = ""
    target: Target | None = None
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """What is known of the guest: the cloud's word and the check's, None where there is none.

    `devices` are the ECS names of all its disks, as far as anybody told; `unknown` says why there is no verdict.
    """

    image: Image | None = None
    verdict: Verdict | None = None
    unknown: str = ""
    devices: Collection[str] = ()


def group_images(artifacts: Iterable[Artifact]) -> dict[DiskFormat, tuple[Artifact, ...]]:
    """Return the images by format, in each the system disk first, then the others by device."""
    sets: dict[DiskFormat, list[Artifact]] = {}
    for artifact in artifacts:
        sets.setdefault(artifact.format, []).append(artifact)
    return {kind: tuple(sorted(found, key=guest_order)) for kind, found in sets.items()}


def possible_platforms(sets: ImageSets, devices: Collection[str] = ()) -> tuple[Platform, ...]:
    """Return the platforms that are defined unasked, as there are images for them."""
    return tuple(
        platform
        for platform in SMALL_PLATFORMS
        if any(not _missing(sets, kind, devices) for kind in platform.formats if kind in sets)
    )


def plan_machines(
    sets: ImageSets, platforms: Sequence[Platform], guest: Guest, wishes: Wishes
) -> dict[Platform, VirtualMachine]:
    """Return the machine for each of `platforms`.

    Raises `InvalidInput` (images are missing, or a wish cannot be had), `FindingsRemain` (the guest is not
    foretold to boot there), `ToolMissing`.
    """
    chosen = {platform: _choose_images(sets, platform, guest.devices) for platform in dict.fromkeys(platforms)}
    if not chosen:
        raise InvalidInput(
            "there are no images that a machine can be defined with unasked",
            "ferry convert --to qcow2; of streamOptimized VMDKs, --format ova makes one",
        )
    system = next(iter(chosen.values()))[0]
    if system.role is not DiskRole.SYSTEM:
        raise InvalidInput("the system disk is not among the disks", "give it too: xvda=FILE")
    firmware = find_firmware(reader_of_image(system.path, system.format))
    common = (*note_on_firmware(firmware, guest.image), *_note_on_findings(guest.verdict))
    machines = {}
    for platform, disks in chosen.items():
        bus, notes = choose_bus(
            platform, guest.verdict, disks=len(disks), wanted=wishes.target, force=wishes.force, unknown=guest.unknown
        )
        machines[platform] = VirtualMachine(
            name=wishes.name or _default_name(guest.image),
            disks=disks,
            bus=bus,
            firmware=firmware,
            architecture=_architecture(guest.image),
            memory=wishes.memory,
            cpus=wishes.cpus,
            network=wishes.network,
            mac=wishes.mac.lower(),
            operating_system=guest.verdict.operating_system if guest.verdict is not None else "",
            notes=(*common, *notes),
        )
    return machines


def _choose_images(sets: ImageSets, platform: Platform, devices: Collection[str]) -> tuple[Artifact, ...]:
    best = ""
    for kind in platform.formats:
        missing = _missing(sets, kind, devices)
        if not missing:
            return sets[kind]
        if kind in sets and not best:
            best = f"of {kind} images {', '.join(missing)} is missing"
    formats = " or ".join(platform.formats)
    compress = " --compress" if platform.formats == (DiskFormat.VMDK,) else ""
    raise InvalidInput(
        f"for {platform} there is no complete set of {formats} images" + (f": {best}" if best else ""),
        f"ferry convert --to {platform.formats[0]}{compress}",
    )


def _missing(sets: ImageSets, kind: DiskFormat, devices: Collection[str]) -> list[str]:
    """Return the disks that have no image of this format, though others have, or the guest has them."""
    known = {*devices, *(image.device for images in sets.values() for image in images)}
    have = {image.device for image in sets.get(kind, ())}
    return sorted(known - have) or ([] if have else ["all"])


def _note_on_findings(verdict: Verdict | None) -> tuple[str, ...]:
    if verdict is None or verdict.is_clean:
        return ()
    found = [finding for finding in verdict.findings if finding.severity is not Severity.INFO]
    return (f"the check of /etc/fstab has findings: {'; '.join(finding.message for finding in found)}",)


def _architecture(image: Image | None) -> str:
    # A guest of 32 bits runs on the same machine. What nobody told is x86-64: firmware.py knows no other loader.
    word = image.architecture.lower() if image is not None else ""
    return "x86_64" if word in {"", "i386", "amd64"} else word


def _default_name(image: Image | None) -> str:
    return suggest_name(image.name or image.image_id) if image is not None else "guest"
