"""Writes what a migration did, as Markdown for people and JSON for programs, from the nouns alone."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from flows.boot_section import render_boot, render_boot_outcome
from flows.markdown import cell, table
from flows.repair_section import render_repair
from fstab_check.render import render_forecasts
from migration.acceleration import kvm_works
from migration.artifact import Artifact
from migration.disk import Disk, DiskFormat, DiskRole
from migration.exported_object import ExportedObject
from migration.image import Image
from migration.repair import Repair
from migration.storage import format_size, write_atomically
from migration.verdict import Severity, Verdict
from migration.workspace import Workspace
from private_cloud.boot_in_workspace import BootProof
from private_cloud.qemu_system import boot_argv

VERSION = 1
_MARK = {Severity.ERROR: "❌", Severity.WARNING: "⚠️", Severity.INFO: "ℹ️"}  # noqa: RUF001  # meant to be seen as an icon


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that is known at the end of a run, or where it stopped: what was not reached is None or empty."""

    title: str
    workspace: Path
    image: Image | None = None
    objects: tuple[ExportedObject, ...] = ()
    disks: tuple[Disk, ...] = ()
    early_sight: str = ""  # what was looked at before the download, and what came of it
    verdict: Verdict | None = None
    repair: Repair | None = None  # with it, `verdict` is on the guest as it was repaired
    not_examined: str = ""  # why there is no verdict, where looking failed
    artifacts: tuple[Artifact, ...] = ()
    boot: BootProof | None = None  # None: not asked for, or not reached
    boot_unknown: str = ""  # why a boot test that was asked for shows nothing
    stopped: str = ""  # the failure that ended the run, with its remedy


def write_report(workspace: Workspace, report: Report) -> str:
    """Write `report.md` and `report.json` into the workspace and return the Markdown."""
    text = render_markdown(report)
    write_atomically(workspace.report, text)
    write_atomically(workspace.report.with_suffix(".json"), json.dumps(report_document(report), indent=1) + "\n")
    return text


def report_document(report: Report) -> dict[str, Any]:
    """Return the report as JSON-able data; `version` changes when a reader would have to."""
    document: dict[str, Any] = TypeAdapter(Report).dump_python(report, mode="json")
    return {"version": VERSION, **document}


def outcome_of_run(report: Report) -> dict[str, Any]:
    """Return what a flow gives to whoever started it, in JSON's own types; `boot_test` is None where none was made."""
    boot = report.boot and {
        "target": str(report.boot.target), "outcome": str(report.boot.outcome), "summary": report.boot.summary,
        "console": str(report.boot.console),
    }  # fmt: skip
    images = [str(artifact.path) for artifact in report.artifacts]
    return {"workspace": str(report.workspace), "images": images, "boot_test": boot}


def render_markdown(report: Report) -> str:
    """Return the report for people."""
    parts = [f"# {report.title}", _summary(report)]
    if report.image is not None:
        parts.append(_image(report.image))
    if report.disks:
        parts += ["## Disks", _disk_table(report)]
    parts += _verdict(report)
    if report.repair is not None:
        parts += render_repair(report.repair)
    if report.artifacts:
        parts += ["## Images", _artifact_table(report.artifacts)]
    if report.boot is not None:
        parts += render_boot(report.boot)
    if report.artifacts:
        parts += ["## Try it", _try_it(report)]
    return "\n\n".join(parts) + "\n"


def describe_mismatch(verdict: Verdict) -> str:
    """Say in one line what is wrong; the report has the rest."""
    codes = ", ".join(sorted({finding.code for finding in verdict.findings if finding.severity is not Severity.INFO}))
    return f"/etc/fstab does not match the exported disks: {codes}"


def _summary(report: Report) -> str:
    if report.verdict is None and report.not_examined:
        verdict = "**The guest could not be examined: whether it boots is unknown.**"
    elif report.verdict is None:
        verdict = "**The guest has not been examined yet.**"
    elif report.verdict.is_clean:
        lines = len(report.verdict.chain)
        verdict = (
            f"**{_count(lines, 'line')} of /etc/fstab checked against the exported disks: nothing stands in the way.**"
        )
    else:
        errors = len(report.verdict.errors)
        others = sum(finding.severity is Severity.WARNING for finding in report.verdict.findings)
        verdict = (
            f"**/etc/fstab does not match the exported disks: {_count(errors, 'error')}, {_count(others, 'warning')}.**"
        )
    stopped = f"**The run stopped:** {cell(' '.join(report.stopped.split()))}\n\n" if report.stopped else ""
    early = f"{cell(' '.join(report.early_sight.split()))}\n\n" if report.early_sight else ""
    booted = render_boot_outcome(report.boot, report.boot_unknown)
    booted = f"{booted}\n\n" if booted else ""
    return f"{verdict}\n\n{booted}{stopped}{early}Everything lies in `{report.workspace}`."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _image(image: Image) -> str:
    facts = [
        f"`{image.image_id}`",
        cell(image.name),
        image.region_id,
        cell(image.os_name or image.os_type),
        image.architecture,
        image.boot_mode or "firmware not told",
    ]
    return "Image: " + " · ".join(fact for fact in facts if fact)


def _disk_table(report: Report) -> str:
    objects = {exported.device: exported for exported in report.objects}
    rows = []
    for disk in report.disks:
        exported = objects.get(disk.device)
        crc = "" if exported is None else "not told by OSS" if exported.crc64 is None else f"`{exported.crc64}`"
        rows.append(
            [
                f"{disk.device} ({disk.role})",
                f"`{exported.key}`, {format_size(exported.size)}" if exported else "",
                crc,
                f"`{disk.path.name}`",
                format_size(disk.virtual_size),
            ]
        )
    return table(["Disk", "Object", "CRC-64 of the object", "File", "Size"], rows)


def _verdict(report: Report) -> list[str]:
    if report.verdict is None:
        return ["## /etc/fstab", cell(report.not_examined)] if report.not_examined else []
    verdict = report.verdict
    parts = ["## /etc/fstab", f"Root file system: {cell(verdict.root)} · {cell(verdict.operating_system)}"]
    rows = [
        [
            str(entry.line),
            f"`{cell(entry.source)}`",
            f"`{cell(entry.mountpoint)}`",
            cell(entry.resolved),
            cell(f"{entry.filesystem or ''} {entry.uuid or ''}".strip()),
        ]
        for entry in verdict.chain
    ]
    if rows:
        parts.append(table(["Line", "Source", "Mounted on", "Leads to", "Found there"], rows))
    if verdict.forecasts:
        told = "\n".join(
            f"{'  ' if line.startswith('    ') else ''}- {cell(line.strip())}"
            for line in render_forecasts(verdict.forecasts)
        )
        parts.append(f"What the boot will do, by what the disks hang on:\n\n{told}")
    for finding in verdict.findings:
        place = f"{finding.file}:{finding.line}: " if finding.file and finding.line else ""
        parts.append(
            f"- {_MARK[finding.severity]} `{finding.code}` {cell(place + finding.message)}\n"
            f"  - seen: {cell(finding.evidence)}\n  - do: {cell(finding.remedy)}"
        )
    return parts


def _artifact_table(artifacts: Sequence[Artifact]) -> str:
    rows = [
        [
            f"`{artifact.path.name}`",
            artifact.format,
            format_size(artifact.virtual_size),
            format_size(artifact.file_size),
            cell(artifact.proof),
        ]
        for artifact in artifacts
    ]
    sums = "\n".join(f"{artifact.sha256}  {artifact.path.name}" for artifact in artifacts)
    shown = table(["Image", "Format", "Disk size", "File size", "Proof"], rows)
    return f"{shown}\n\nSHA-256, as `sha256sum -c` takes it:\n\n```\n{sums}\n```"


def _try_it(report: Report) -> str:
    if report.image is not None and report.image.architecture == "arm64":
        return "The images are for an arm64 machine with UEFI firmware; all disks belong to it, in the order above."
    uefi = report.image is not None and report.image.boot_mode.startswith("UEFI")
    firmware = " The image may start by UEFI: if nothing boots, add `-bios /usr/share/ovmf/OVMF.fd`." if uefi else ""
    return (
        "The disks belong to one machine, in this order, on virtio. To see it boot on this machine, changing nothing "
        f"(Ctrl-A X ends it):{firmware}\n\n```sh\n{try_it_command(report.artifacts)}\n```"
    )


def try_it_command(artifacts: Sequence[Artifact]) -> str:
    """Return a shell command that boots one set of converted images, qcow2 if there is one, without writing to it."""
    formats = {artifact.format for artifact in artifacts}
    chosen = DiskFormat.QCOW2 if DiskFormat.QCOW2 in formats else artifacts[0].format
    images = [artifact for artifact in artifacts if artifact.format is chosen]
    images.sort(key=lambda image: (image.role is not DiskRole.SYSTEM, len(image.device), image.device))
    return shlex.join(boot_argv(images, kvm=kvm_works(announce=False), interactive=True))
