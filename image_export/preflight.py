"""Judges, before anything is exported, whether the export can work: every rule, not only the first that fails.

Facts are gathered elsewhere; here is nothing but judgement. What a rule could not look at is UNKNOWN.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from image_export.bucket import BucketInfo
from image_export.error_codes import COPY_IMAGE, EXPORT_ROLE
from image_export.limits import LIMITS, Limits
from image_export.outcome import Outcome
from image_export.request import ExportRequest
from migration.credentials import redacted
from migration.errors import MigrationError, PreflightRefused
from migration.image import Image
from migration.oss import OssRefused
from migration.storage import format_size

FORMATS = ("raw", "vhd", "qcow2", "vmdk", "vdi")
# Of every disk there may be on this machine, at worst, at the same time: the packed object, the RAW
# disk, the converted image.
COPIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PreflightFinding:
    """What one rule says. `rule` is stable; `remedy` is empty where there is nothing to do."""

    rule: str
    outcome: Outcome
    message: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreflightFacts:
    """What the rules look at. None is what could not be had.

    `bucket_problem` says why there is no `bucket`. `free_space` is what the workspace's file system has
    left, in bytes. `existing_keys` are objects already in the bucket that the export would be confused
    with. `server_check` is what ExportImage with DryRun said: a finding made by whoever called it.
    """

    request: ExportRequest
    region_id: str
    image: Image | None
    bucket: BucketInfo | None
    bucket_problem: MigrationError | None = None
    free_space: int | None = None
    existing_keys: tuple[str, ...] | None = None
    server_check: PreflightFinding | None = None
    limits: Limits = LIMITS


def check_preflight(facts: PreflightFacts) -> tuple[PreflightFinding, ...]:
    """Return what every rule says, in a fixed order."""
    return tuple(_judge(name, rule, facts) for name, rule in _RULES)


def refuse_if_needed(findings: Sequence[PreflightFinding]) -> None:
    """Raise `PreflightRefused`, which names every broken rule and its remedy, if there is one."""
    refused = [finding for finding in findings if finding.outcome is Outcome.REFUSE]
    if refused:
        lines = "".join(f"\n  {finding.rule}: {finding.message}" for finding in refused)
        remedy = "; ".join(dict.fromkeys(finding.remedy for finding in refused if finding.remedy))
        raise PreflightRefused(f"the export cannot work, nothing was exported:{lines}", remedy)


def render_preflight(findings: Sequence[PreflightFinding]) -> str:
    """Return the findings as lines for people: outcome, rule, what is so, and what to do."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.outcome:<8}{finding.rule:<18}{finding.message}")
        if finding.remedy and finding.outcome is not Outcome.PASS:
            lines.append(f"{'':26}→ {finding.remedy}")
    return "\n".join(lines)


_Answer = tuple[Outcome, str, str]  # outcome, message, remedy
_Rule = Callable[[PreflightFacts], _Answer]
_NO_IMAGE: _Answer = (Outcome.UNKNOWN, "there is no image to look at", "")


def _judge(name: str, rule: _Rule, facts: PreflightFacts) -> PreflightFinding:
    outcome, message, remedy = rule(facts)
    return PreflightFinding(rule=name, outcome=outcome, message=message, remedy=remedy)


def _of_image(rule: Callable[[Image], _Answer]) -> _Rule:
    """Make a rule about the image one that is UNKNOWN where there is none."""
    return lambda facts: _NO_IMAGE if facts.image is None else rule(facts.image)


def _image_exists(facts: PreflightFacts) -> _Answer:
    asked, image = facts.request.image_id, facts.image
    if image is None:
        remedy = f"check image id and region; if it is shared with you or public: {COPY_IMAGE}"
        return Outcome.REFUSE, f"the account sees no image {redacted(asked)} in {facts.region_id}", remedy
    disks = ", ".join(f"{disk.device} {format_size(disk.size)}" for disk in image.disks)
    return Outcome.PASS, redacted(f"{image.image_id} {image.name!r}, {image.os_name or 'unknown system'}: {disks}"), ""


def _image_status(image: Image) -> _Answer:
    if image.status == "Available":
        return Outcome.PASS, "the image is Available", ""
    if not image.status:
        return Outcome.UNKNOWN, "the cloud does not say the image's status", ""
    remedy = "wait until it is Available" if image.status in {"Creating", "Waiting"} else "make the image anew"
    return Outcome.REFUSE, f"the image is {redacted(image.status)}", remedy


def _image_owner(image: Image) -> _Answer:
    if image.owner_alias == "self":
        return Outcome.PASS, "the image is the account's own", ""
    if not image.owner_alias:
        return Outcome.UNKNOWN, "the cloud does not say whose the image is", ""
    return Outcome.REFUSE, f"the image is not the account's own but {redacted(image.owner_alias)}", COPY_IMAGE


def _marketplace(image: Image) -> _Answer:
    if image.product_code:
        message = f"the image comes from the marketplace (product {redacted(image.product_code)})"
        return Outcome.REFUSE, message, "such an image cannot be exported, nor can a copy of it"
    return Outcome.PASS, "not made from a marketplace image", ""


def _encryption(image: Image) -> _Answer:
    encrypted = [disk.device for disk in image.disks if disk.encrypted]
    if encrypted:
        message = f"encrypted: {', '.join(encrypted)}"
        return Outcome.REFUSE, message, "make an image from unencrypted disks: encrypted snapshots are not exported"
    return Outcome.PASS, "no disk is encrypted", ""


def _operating_system(image: Image) -> _Answer:
    if image.os_type == "windows":
        remedy = "move this server by a backup or disk tool inside the guest"
        return Outcome.REFUSE, "Windows Server images are not exported (vendor's user guide)", remedy
    if not image.os_type:
        return Outcome.UNKNOWN, "the cloud does not say the operating system's type", ""
    return Outcome.PASS, redacted(image.os_name or image.os_type), ""


def _architecture(image: Image) -> _Answer:
    firmware = f", {image.boot_mode}" if image.boot_mode else ""
    if image.architecture == "x86_64":
        return Outcome.PASS, redacted(f"x86_64{firmware}"), ""
    if image.architecture == "arm64":
        return (
            Outcome.WARN,
            "arm64: boots on aarch64 hosts with UEFI only",
            "check that the private cloud has such hosts",
        )
    if image.architecture == "i386":
        return Outcome.PASS, redacted(f"i386, runs on x86_64 hosts{firmware}"), ""
    return Outcome.UNKNOWN, redacted(f"architecture {image.architecture or 'not told'}"), ""


def _data_disk_count(facts: PreflightFacts) -> _Answer:
    if facts.image is None:
        return _NO_IMAGE
    count, limit = len(facts.image.data_disks), facts.limits.data_disks
    if count > limit.value:
        message = f"{count} data disks, the limit is {limit.value} ({limit.source}; {limit.as_of})"
        return limit.outcome, message, "if ECS refuses: make an image with fewer data disks, or open a ticket"
    return Outcome.PASS, f"{count} data disk{'' if count == 1 else 's'}", ""


def _data_disk_size(facts: PreflightFacts) -> _Answer:
    image = facts.image
    if image is None:
        return _NO_IMAGE
    for limit in (facts.limits.data_disk_size, facts.limits.usual_data_disk_size):
        large = [disk for disk in image.data_disks if disk.size > limit.value]
        if large:
            disks = ", ".join(f"{disk.device} {format_size(disk.size)}" for disk in large)
            message = f"{disks}: the limit is {format_size(limit.value)} ({limit.source}; {limit.as_of})"
            return limit.outcome, message, "if ECS refuses: move the data to smaller disks, or open a ticket"
    if any(not disk.size for disk in image.disks):
        return Outcome.UNKNOWN, "the cloud does not say the size of every disk", ""
    return Outcome.PASS, f"{format_size(image.total_size)} in all", ""


def _bucket_exists(facts: PreflightFacts) -> _Answer:
    name, problem = redacted(facts.request.bucket), facts.bucket_problem
    if facts.bucket is not None:
        return Outcome.PASS, f"bucket {name} answers", ""
    if problem is None:
        return Outcome.UNKNOWN, f"bucket {name} was not looked at", ""
    is_ours_to_judge = isinstance(problem, OssRefused) and problem.code != "NoSuchBucket" and not problem.endpoint
    outcome = Outcome.UNKNOWN if problem.transient or is_ours_to_judge else Outcome.REFUSE
    return outcome, problem.message, problem.remedy


def _bucket_region(facts: PreflightFacts) -> _Answer:
    if facts.bucket is None or not facts.bucket.region_id:
        return Outcome.UNKNOWN, "where the bucket is could not be seen", ""
    if facts.bucket.region_id != facts.region_id:
        message = f"the bucket is in {redacted(facts.bucket.region_id)}, the image in {facts.region_id}"
        return Outcome.REFUSE, message, f"use a bucket in {facts.region_id}, or copy the image to the bucket's region"
    return Outcome.PASS, f"bucket and image are both in {facts.region_id}", ""


def _storage_class(facts: PreflightFacts) -> _Answer:
    storage = facts.bucket.storage_class if facts.bucket else ""
    if not storage:
        return Outcome.UNKNOWN, "the bucket's storage class could not be seen", ""
    if storage == "Standard":
        return Outcome.PASS, "storage class Standard", ""
    if "archive" in storage.lower():
        message = f"storage class {redacted(storage)}: objects must be restored before they can be read"
        return Outcome.WARN, message, "a bucket of class Standard saves the restore, its fee and its wait"
    message = f"storage class {redacted(storage)}: reading costs extra, and so does deleting early"
    return Outcome.WARN, message, "a bucket of class Standard is cheaper for an export"


def _prefix(facts: PreflightFacts) -> _Answer:
    prefix, longest = facts.request.prefix, facts.limits.prefix_length
    if prefix is None:
        return Outcome.PASS, "one of its own is made for this export", ""
    if prefix and not re.fullmatch(r"[A-Za-z0-9]+", prefix):
        return Outcome.REFUSE, f"prefix {redacted(prefix)!r}", "letters and digits only: no folder, no - and no _"
    if len(prefix) > longest.value:
        return longest.outcome, f"prefix {prefix!r} is longer than {longest.value}", "choose a shorter one"
    return Outcome.PASS, f"prefix {prefix!r}" if prefix else "no prefix", ""


def _name_collision(facts: PreflightFacts) -> _Answer:
    if facts.request.prefix is None:
        return Outcome.PASS, "the export's own prefix is new", ""
    if facts.existing_keys is None:
        return Outcome.UNKNOWN, "the bucket's objects could not be listed", ""
    if facts.existing_keys:
        shown = ", ".join(redacted(key) for key in facts.existing_keys[:5])
        message = f"{len(facts.existing_keys)} objects of an earlier export have these names: {shown}"
        return Outcome.WARN, message, "whether they are overwritten is unknown: leave out the prefix, or delete them"
    return Outcome.PASS, "no object has these names yet", ""


def _image_format(facts: PreflightFacts) -> _Answer:
    word = facts.request.image_format
    if word in {"", "raw"}:
        return Outcome.PASS, "raw", ""
    if word not in FORMATS:
        return Outcome.REFUSE, f"image format {redacted(word)!r}", f"one of {', '.join(FORMATS)}"
    if facts.region_id not in facts.limits.format_regions:
        message = f"{word} is not offered in {facts.region_id}: the result is probably RAW"
        return Outcome.WARN, message, "leave the format out; what comes is recognised by its name and bytes"
    return Outcome.PASS, word, ""


def _role(facts: PreflightFacts) -> _Answer:
    role = facts.request.role_name or EXPORT_ROLE
    if role != EXPORT_ROLE:
        message = f"role {redacted(role)}: the vendor's ExportImage page calls every role but {EXPORT_ROLE} invalid"
        return Outcome.WARN, message, "leave the role's name out"
    return (
        Outcome.UNKNOWN,
        f"whether ECS may use the role {role} is known when it answers",
        ("if it may not: the console's export dialog offers to create it"),
    )


def _free_space(facts: PreflightFacts) -> _Answer:
    if facts.free_space is None or facts.image is None:
        return Outcome.UNKNOWN, "not known without the disks' sizes and the workspace", ""
    worst = COPIES * facts.image.total_size
    fill, free = facts.limits.least_fill.value, facts.free_space
    least = worst * fill // 100
    formula = f"object + RAW + converted image of {format_size(facts.image.total_size)}"
    if free < least:
        message = f"{format_size(free)} free, {format_size(least)} needed even for disks {fill} % full ({formula})"
        return Outcome.REFUSE, message, "put the workspace on a larger file system"
    if free < worst:
        message = f"{format_size(free)} free: enough unless the disks are over {100 * free // worst} % full ({formula})"
        return Outcome.WARN, message, f"{format_size(worst)} are enough in any case"
    return Outcome.PASS, f"{format_size(free)} free, at most {format_size(worst)} needed ({formula})", ""


def _server_check(facts: PreflightFacts) -> _Answer:
    if facts.server_check is None:
        return Outcome.UNKNOWN, "ECS was not asked for a dry run; it checks the same when the export starts", ""
    return facts.server_check.outcome, facts.server_check.message, facts.server_check.remedy


SERVER_CHECK = "server-check"

_RULES: tuple[tuple[str, _Rule], ...] = (
    ("image", _image_exists),
    ("image-status", _of_image(_image_status)),
    ("image-owner", _of_image(_image_owner)),
    ("marketplace", _of_image(_marketplace)),
    ("encryption", _of_image(_encryption)),
    ("operating-system", _of_image(_operating_system)),
    ("architecture", _of_image(_architecture)),
    ("data-disk-count", _data_disk_count),
    ("data-disk-size", _data_disk_size),
    ("bucket", _bucket_exists),
    ("bucket-region", _bucket_region),
    ("storage-class", _storage_class),
    ("prefix", _prefix),
    ("name-collision", _name_collision),
    ("image-format", _image_format),
    ("role", _role),
    ("free-space", _free_space),
    (SERVER_CHECK, _server_check),
)
