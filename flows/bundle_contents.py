"""Gathers from a workspace what goes into a bundle, and tells the journal what a bundle has done to its images."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from converters.recorded import recorded_conversions
from image_download.verify import finished_downloads
from image_export.export import recorded_export
from migration.artifact import Artifact
from migration.catalogue import accept_links
from migration.errors import InvalidInput
from migration.let_go import accept_fingerprint
from migration.workspace import Workspace
from private_cloud.boot_in_workspace import STEP as BOOT_STEP
from private_cloud.boot_in_workspace import RecordedBoot
from private_cloud.bundle.contents import Bundle, Contents, Item
from report.versions import package_versions, qemu_img_version

_REPORTS = ("report.md", "report.json", "report.html")


def find_contents(workspace: Workspace, *, formats: Sequence[str] = (), licences: Sequence[Path] = ()) -> Contents:
    """Return the images in `formats` (all, if none are named), and whatever belongs to them in the workspace.

    Raises `InvalidInput` where there is no such image. That they are unchanged is seen when they are bundled.
    """
    artifacts = _find_artifacts(workspace, formats)
    items = [Item(path=f"images/{one.path.name}", source=one.path, sha256=one.sha256) for one in artifacts]
    items += [
        Item(path=f"report/{name}", source=workspace.path / name) for name in _REPORTS if _is_there(workspace, name)
    ]
    if workspace.console.is_file():
        items.append(Item(path="logs/console.log", source=workspace.console))
    items += [
        Item(path=f"definitions/{path.relative_to(folder).as_posix()}", source=path)
        for folder in [workspace.path / "definitions"]
        for path in sorted(folder.rglob("*"))
        if not path.is_dir() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    items += [Item(path=f"licence/{path.name}", source=path.absolute()) for path in licences]
    texts = _verdict(workspace)
    return Contents(items=tuple(items), texts=texts, provenance=find_provenance(workspace, artifacts))


def remember_links(workspace: Workspace, bundle: Bundle) -> None:
    """Tell the journal the new fingerprints of images that the bundle shares, so that nobody makes them again.

    A hard link changes a file's ctime and nothing else; each of these was proven by its SHA-256 since.
    """
    linked = dict(bundle.linked)
    for path, fingerprint in linked.items():
        accept_fingerprint(workspace, path, fingerprint)
    accept_links(workspace, linked)
    for step, known in recorded_conversions(workspace):
        path = workspace.images / known.artifact.path.name
        if path in linked:
            workspace.journal.record(step, replace(known, target=linked[path]))
    booted = workspace.journal.get(BOOT_STEP, RecordedBoot)
    if booted is not None:
        files = tuple((path, linked.get(path, fingerprint)) for path, fingerprint in booted.files)
        unchanged = all(
            (old.size, old.mtime_ns) == (new.size, new.mtime_ns)
            for (_, old), (_, new) in zip(booted.files, files, strict=True)
        )
        if unchanged and files != booted.files:
            workspace.journal.record(BOOT_STEP, replace(booted, files=files))


def find_provenance(workspace: Workspace, artifacts: Sequence[Artifact]) -> dict[str, Any]:
    """Return where the images come from, and what made them, in JSON's own types; no time, no path of this machine."""
    export = recorded_export(workspace)
    disks = [
        {
            "device": record.disk.device, "role": str(record.disk.role), "virtual_size": record.disk.virtual_size,
            "crc64": record.disk.crc64, "proof": record.disk.proof,
            "object": TypeAdapter(type(record.object)).dump_python(record.object, mode="json"),
        }
        for record in finished_downloads(workspace)
    ]  # fmt: skip
    images = [
        {
            "path": f"images/{one.path.name}", "device": one.device, "role": str(one.role), "format": str(one.format),
            "virtual_size": one.virtual_size, "file_size": one.file_size, "sha256": one.sha256, "proof": one.proof,
        }
        for one in artifacts
    ]  # fmt: skip
    return {
        "export": None if export is None else TypeAdapter(type(export)).dump_python(export, mode="json"),
        "disks": disks,
        "images": images,
        "versions": find_versions(),
    }


def find_versions() -> dict[str, str]:
    """Return the versions of all that had a part in it; what is not installed is left out."""
    packages = ("ferry-migration", "prefect", "oss2", "aliyun-python-sdk-ecs", "pydantic", "isal")
    installed = package_versions(dict(zip(packages, packages, strict=True)))
    versions = {"python": platform.python_version(), **installed, **qemu_img_version()}
    try:
        import guestfs  # noqa: PLC0415  # of the distribution, and not everywhere
    except ImportError:
        return versions
    told = guestfs.GuestFS(python_return_dict=True).version()
    versions["libguestfs"] = ".".join(str(told[part]) for part in ("major", "minor", "release"))
    return versions


def _is_there(workspace: Workspace, name: str) -> bool:
    return (workspace.path / name).is_file()


def _find_artifacts(workspace: Workspace, formats: Sequence[str]) -> list[Artifact]:
    known = [conversion.artifact for _, conversion in recorded_conversions(workspace)]
    known = [replace(one, path=workspace.images / one.path.name) for one in known]  # the workspace may have moved
    found = [one for one in known if not formats or one.format in formats]
    for wanted in formats or [""]:
        if not any(wanted in ("", one.format) for one in found):
            remedy = f"run `ferry convert --workspace {workspace.path}{f' --to {wanted}' if wanted else ''}` first"
            raise InvalidInput(f"{workspace.path} has no {wanted or 'converted'} images", remedy)
    for one in found:
        if not one.path.is_file():
            raise InvalidInput(f"{one.path}: the image is gone", "run `ferry convert` again")
    return sorted(found, key=lambda one: (one.path.name, one.format))


def _verdict(workspace: Workspace) -> dict[str, str]:
    """Return the verdict of the check as a file of its own, as the report has it."""
    try:
        document = json.loads((workspace.path / "report.json").read_text(encoding="utf-8"))
        verdict = document["verdict"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {"report/verdict.json": json.dumps(verdict, indent=1, sort_keys=True) + "\n"} if verdict else {}
