"""Writes a report as Markdown: for Prefect's artifact, for a terminal, for whoever has no browser at hand."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import islice

from fstab_check.render import render_forecasts
from migration.acceleration import kvm_works
from migration.artifact import Artifact
from migration.decision import Decision
from migration.disk import DiskFormat, guest_order
from migration.image import Image
from migration.storage import format_size
from migration.verdict import Severity
from private_cloud.qemu_system import boot_argv
from report.course import find_stop
from report.markdown_boot import render_boot, render_boot_outcome
from report.markdown_repair import render_repair
from report.markdown_text import cell, fenced, table
from report.report import Report
from report.shown_text import format_span, format_time, shown_lines

_MARK = {Severity.ERROR: "❌", Severity.WARNING: "⚠️", Severity.INFO: "ℹ️"}  # noqa: RUF001  # meant to be seen as an icon

MOST_FINDINGS = 300  # an artifact of Prefect's is read by people


def render_markdown(report: Report) -> str:
    """Return the report for people."""
    parts = [f"# {cell(report.title)}", _summary(report)]
    if report.image is not None:
        parts.append(_image(report.image))
    if report.disks:
        parts += ["## Disks", _disk_table(report)]
    parts += _verdict(report)
    if report.decision is not None:
        parts.append(_decision(report.decision))
    if report.repair is not None:
        parts += render_repair(report.repair)
    if report.artifacts:
        parts += ["## Images", _artifact_table(report.artifacts), *_room(report)]
    if report.boot is not None:
        parts += render_boot(report.boot)
    if report.artifacts:
        parts += ["## Try it", _try_it(report)]
    parts += _hand_over(report)
    if report.stages:
        parts += ["## Times", _time_table(report)]
    if report.versions:
        parts.append("Made with " + ", ".join(cell(f"{name} {version}") for name, version in report.versions.items()))
    return "\n\n".join(parts) + "\n"


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
    where = find_stop(report)
    stage = f" at the stage {where}" if where is not None else ""
    stopped = f"**The run stopped{stage}:** {cell(' '.join(report.stopped.split()))}\n\n" if report.stopped else ""
    if not stopped and report.started is not None and report.ended is None:
        stopped = f"**The run had not ended when this was written{stage and f', and was{stage}'}.**\n\n"
    early = f"{cell(' '.join(report.early_sight.split()))}\n\n" if report.early_sight else ""
    booted = render_boot_outcome(report.boot, report.boot_unknown)
    booted = f"{booted}\n\n" if booted else ""
    return f"{verdict}\n\n{booted}{stopped}{early}Everything lies in `{report.workspace}`."


def _decision(decision: Decision) -> str:
    note = f": {cell(decision.note)}" if decision.note else ""
    return f"**Decided:** {decision.choice}, by {cell(decision.decided_by)}, {format_time(decision.when)}{note}"


def _room(report: Report) -> list[str]:
    lines = [cell(str(report.shrink)) + "."] if report.shrink is not None else []
    if report.disk_use is not None:
        peak, final = format_size(report.disk_use.peak), format_size(report.disk_use.final)
        lines.append(f"Disks and images together took {peak} at the peak, {final} in the end.")
    return lines


def _hand_over(report: Report) -> list[str]:
    parts = []
    if report.defined or report.not_defined:
        parts.append("## The machine over there")
    if report.not_defined:
        parts.append(f"Not defined: {cell(' '.join(report.not_defined.split()))}")
    if report.defined:
        parts.append("\n".join(f"- {cell(one)}" for one in report.defined))
        parts.append("`definitions/README.txt` has the one command of each.")
    if report.bundle is not None:
        bundle = report.bundle
        about = (
            f"{_count(bundle.files, 'file')}, {format_size(bundle.size)}, {'' if bundle.is_signed else 'not '}signed"
        )
        parts.append("## The bundle")
        parts.append(f"`{cell(str(bundle.path))}`: {about}. Over there: `python3 verify.py`.")
        parts.append(f"Fingerprint, to be read to the other side: `{bundle.fingerprint}`")
    return parts


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _time_table(report: Report) -> str:
    rows = [
        [
            cell(f"{one.stage} {one.subject}".strip()),
            format_time(one.started),
            format_span(one.seconds),
            str(one.tries),
            "" if one.is_done else "not done",
        ]
        for one in report.stages
    ]
    return table(["Stage", "First begun", "Time", "Tries", ""], rows)


def _image(image: Image) -> str:
    facts = [
        f"`{cell(image.image_id)}`",
        cell(image.name),
        cell(image.region_id),
        cell(image.os_name or image.os_type),
        cell(image.architecture),
        cell(image.boot_mode) or "firmware not told",
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
                f"`{cell(exported.key)}`, {format_size(exported.size)}" if exported else "",
                crc,
                f"`{cell(disk.path.name)}`",
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
        for entry in verdict.chain[:MOST_FINDINGS]
    ]
    if rows:
        parts.append(table(["Line", "Source", "Mounted on", "Leads to", "Found there"], rows))
    if verdict.forecasts:
        told = "\n".join(
            f"{'  ' if line.startswith('    ') else ''}- {cell(line.strip())}"
            for line in islice(render_forecasts(verdict.forecasts), MOST_FINDINGS)
        )
        parts.append(f"What the boot will do, by what the disks hang on:\n\n{told}")
    for finding in verdict.findings[:MOST_FINDINGS]:
        place = f"{finding.file}:{finding.line}: " if finding.file and finding.line else ""
        parts.append(
            f"- {_MARK[finding.severity]} `{finding.code}` {cell(place + finding.message)}\n"
            f"  - seen: {cell(finding.evidence)}\n  - do: {cell(finding.remedy)}"
        )
    if len(verdict.findings) > MOST_FINDINGS:
        parts.append(f"And {len(verdict.findings) - MOST_FINDINGS} more findings, all of them in `report.json`.")
    return parts


def _artifact_table(artifacts: Sequence[Artifact]) -> str:
    rows = [
        [
            f"`{cell(artifact.path.name)}`",
            artifact.format,
            format_size(artifact.virtual_size),
            format_size(artifact.file_size),
            cell(artifact.proof),
        ]
        for artifact in artifacts
    ]
    lines = "\n".join(f"{artifact.sha256}  {artifact.path.name}" for artifact in artifacts)
    sums = "\n".join(shown_lines(lines, MOST_FINDINGS))
    shown = table(["Image", "Format", "Disk size", "File size", "Proof"], rows)
    return f"{shown}\n\nSHA-256, as `sha256sum -c` takes it:\n\n{fenced(sums)}"


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
    images.sort(key=guest_order)
    return shlex.join(boot_argv(images, kvm=kvm_works(announce=False), interactive=True))
