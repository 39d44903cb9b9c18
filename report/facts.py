"""The plain facts of a report's tables and lists: times, sizes, digests, how it booted, where it comes from."""

from __future__ import annotations

from dataclasses import dataclass

from private_cloud.boot_in_workspace import BootProof
from report.report import Report
from report.shown_text import format_span, format_time
from report.stage_times import StageTime


@dataclass(frozen=True, slots=True)
class Size:
    """How large a disk is as something, and which share of the largest that is, in percent."""

    device: str
    what: str
    size: int
    share: float
    is_file: bool  # of what takes its room on a disk, and not of what the guest sees


def times(report: Report) -> list[tuple[StageTime, float]]:
    """Return each stage's time with its share of the longest, in percent."""
    longest = max((one.seconds for one in report.stages), default=0) or 1
    return [(one, round(100 * one.seconds / longest, 1)) for one in report.stages]


def sizes(report: Report) -> list[Size]:
    """Return the sizes of every disk: its own, its object's, its images'."""
    found: list[tuple[str, str, int, bool]] = []
    objects = {one.device: one for one in report.objects}
    devices = dict.fromkeys([*(disk.device for disk in report.disks), *objects])
    disks = {disk.device: disk for disk in report.disks}
    for device in devices:
        if device in disks:
            found.append((device, "disk, as the guest sees it", disks[device].virtual_size, False))
        if device in objects:
            found.append((device, f"object ({objects[device].packing})", objects[device].size, True))
        found += [
            (device, f"image ({one.format})", one.file_size, True) for one in report.artifacts if one.device == device
        ]
    largest = max((size for _, _, size, _ in found), default=0) or 1
    return [Size(device, what, size, round(100 * size / largest, 2), is_file) for device, what, size, is_file in found]


def crcs(report: Report) -> list[tuple[str, str]]:
    """Return (CRC-64, name) of the objects and the disks, as far as they are known."""
    found = [(str(one.crc64), f"oss://{one.bucket}/{one.key}") for one in report.objects if one.crc64 is not None]
    return found + [(str(one.crc64), one.path.name) for one in report.disks if one.crc64 is not None]


def proofs(report: Report) -> list[tuple[str, str]]:
    """Return (name, how it was shown to be what the cloud holds) of the disks."""
    return [(one.path.name, one.proof) for one in report.disks if one.proof]


def boot_facts(proof: BootProof) -> list[tuple[str, str]]:
    """Return what there is to say of a boot, as (name, value)."""
    facts = [
        ("Outcome", f"{proof.summary}, after {format_span(proof.seconds)}"),
        ("Booted", ", ".join(proof.files)),
        ("Machine", f"{proof.target}, {proof.firmware.upper()}, {'KVM' if proof.kvm else 'emulation'}"),
        ("Decided by", proof.evidence),
        ("Mounted", ", ".join(proof.mounted)),
        ("Not mounted", ", ".join(proof.failed)),
        ("Note", proof.note),
        ("Console", "a serial one was added in the layer that is thrown away" if proof.added_console else ""),
    ]
    return [(name, value) for name, value in facts if value]


def provenance(report: Report) -> list[tuple[str, str]]:
    """Return where the disks come from and what did the work, as (name, value)."""
    image = report.image
    facts = []
    if image is not None:
        facts += [
            ("Image", f"{image.image_id} {image.name}".strip()),
            ("Region", image.region_id),
            ("Guest", ", ".join(filter(None, (image.os_name or image.os_type, image.architecture)))),
            ("Firmware", image.boot_mode or "not told"),
        ]
    facts.append(("Bucket", ", ".join(dict.fromkeys(one.bucket for one in report.objects))))
    if report.started is not None:
        ended = f" to {format_time(report.ended)}" if report.ended is not None else ""
        facts.append(("Last run", f"{format_time(report.started)}{ended}"))
    return [(name, value) for name, value in [*facts, *sorted(report.versions.items())] if value]
