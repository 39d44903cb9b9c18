"""Finds the images that a machine is to be made of, and what is known of the guest in them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from converters.recorded import recorded_conversions
from fstab_check.examine import examine_guest
from image_export.export import recorded_export
from migration.artifact import Artifact
from migration.disk import Disk, DiskFormat
from migration.disk_file import find_disks, fingerprint_files
from migration.errors import Interrupted, InvalidInput, MigrationError
from migration.progress import Progress, Stop
from migration.qcow2_header import read_qcow2_header
from migration.storage import Fingerprint, find_fingerprint, sha256_of_file
from migration.verdict import Verdict, printable
from migration.workspace import Workspace
from private_cloud.machine_plan import Guest

log = logging.getLogger("ferry")

STEP = "check-images"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedImages:
    """A verdict on images as the journal remembers it. `files` are the images as they were judged."""

    files: tuple[tuple[Path, Fingerprint], ...]
    expected: tuple[str, ...]
    verdict: Verdict


def images_of_workspace(workspace: Workspace) -> list[Artifact]:
    """Return the images that were made in the workspace. Raises `InvalidInput` for none, or if one has changed."""
    artifacts = []
    for _, made in recorded_conversions(workspace):
        if find_fingerprint(made.artifact.path) != made.target and not _is_the_same(made.artifact):
            raise InvalidInput(
                f"{made.artifact.path}: the image is gone, or something wrote to it after it was proven",
                "run `ferry convert` or `ferry run` again: what is not as it was is made anew",
            )
        artifacts.append(made.artifact)
    if not artifacts:
        raise InvalidInput(
            f"{workspace.path}: no images here", f"ferry convert --workspace {workspace.path} makes them of its disks"
        )
    return artifacts


def _is_the_same(artifact: Artifact) -> bool:
    """Return whether an image that was touched, or copied here with its workspace, holds what was proven."""
    return (
        artifact.path.is_file()
        and artifact.path.stat().st_size == artifact.file_size
        and sha256_of_file(artifact.path) == artifact.sha256
    )


def images_of_files(words: Sequence[str], bar: Callable[[str], Progress], stop: Stop) -> list[Artifact]:
    """Return the images that are meant by command-line words, with digests of what they are now."""
    disks = find_disks(words)
    for disk in disks:
        header = read_qcow2_header(disk.path) if disk.format is DiskFormat.QCOW2 else None
        if disk.base is not None or (header is not None and not header.stands_alone):
            raise InvalidInput(
                f"{disk.path}: this is a layer, which is nothing without the file under it",
                "ferry convert makes one of both",
            )
    return [_artifact(disk, bar(f"digest of {disk.name}"), stop) for disk in disks]


def guest_in(workspace: Workspace | None, images: Sequence[Artifact], stop: Stop) -> Guest:
    """Return what is known of the guest in `images`, one for each of its disks.

    The check's verdict is on these very images; a workspace's journal keeps it until one of them changes.
    """
    export = recorded_export(workspace) if workspace is not None else None
    image = export.image if export is not None else None
    expected = tuple(disk.device for disk in image.disks) if image is not None else ()
    verdict, unknown = None, ""
    disks = [_disk(artifact) for artifact in images]
    try:
        verdict = _recorded_verdict(workspace, disks, expected)
        if verdict is None:
            log.info("Looking into the guest: what can its disks hang on?")
            verdict = examine_guest(disks, expected_devices=expected, stop=stop)
            if workspace is not None:
                checked = CheckedImages(files=fingerprint_files(disks), expected=expected, verdict=verdict)
                workspace.journal.record(STEP, checked)
    except Interrupted:
        raise
    except MigrationError as error:  # Windows, an unreadable disk, no appliance: we could not look
        unknown = f"the guest could not be examined: {printable(error.message)}"
        log.warning("%s", unknown)
    return Guest(image=image, verdict=verdict, unknown=unknown, devices=expected)


def _recorded_verdict(workspace: Workspace | None, disks: Sequence[Disk], expected: tuple[str, ...]) -> Verdict | None:
    known = workspace.journal.get(STEP, CheckedImages) if workspace is not None else None
    is_current = known is not None and known.expected == expected and known.files == fingerprint_files(disks)
    return known.verdict if known is not None and is_current else None


def _disk(artifact: Artifact) -> Disk:
    return Disk(
        device=artifact.device,
        role=artifact.role,
        path=artifact.path,
        format=artifact.format,
        virtual_size=artifact.virtual_size,
    )


def _artifact(disk: Disk, progress: Progress, stop: Stop) -> Artifact:
    size = disk.path.stat().st_size
    digest = sha256_of_file(disk.path, on_share=lambda share: progress(int(share * size), size), stop=stop)
    return Artifact(
        device=disk.device, role=disk.role, path=disk.path, format=disk.format, virtual_size=disk.virtual_size,
        file_size=size, sha256=digest, proof="UNKNOWN: the file was given as it is",
    )  # fmt: skip
