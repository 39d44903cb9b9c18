"""Writes the definitions of a machine into a folder: files for each platform, a README, and all of it as JSON."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from migration.errors import InvalidInput
from migration.progress import Progress, Stop, no_progress
from migration.storage import storage_errors, sync_directory, write_atomically
from private_cloud.definition import INDEX, Definition, Definitions, read_definitions, to_json
from private_cloud.definitions_readme import render_readme
from private_cloud.libvirt_xml import render_domain
from private_cloud.openstack import render_client_script, render_heat_template
from private_cloud.ova import write_ova, write_ovf_folder
from private_cloud.platforms import Platform
from private_cloud.proxmox import render_qm_script
from private_cloud.qemu_script import render_qemu_script
from private_cloud.virtual_machine import VirtualMachine

README = "README.txt"
_LEFT_BY_QEMU = "-uefi-variables.fd"  # what our script keeps beside itself


def write_definitions(
    machines: Mapping[Platform, VirtualMachine],
    folder: Path,
    *,
    progress: Progress = no_progress,
    stop: Stop | None = None,
) -> Definitions:
    """Write all of them; the folder is the new one or the old one, never between.

    The folder may be moved, together with that of the images. Raises `InvalidInput` if there is something in it
    that is not ours, `NoSpace`, and as `write_ova` does.
    """
    folder = folder.absolute()
    check_folder(folder)
    made = []
    with _replaced(folder) as partial:
        for platform, machine in machines.items():
            images = os.path.relpath(machine.folder, folder)
            if platform is Platform.OVA:
                files: tuple[str, ...] = (f"{machine.name}.ova",)
                write_ova(machine, partial / files[0], progress=progress, stop=stop)
            elif platform is Platform.OVF:
                files = (f"{machine.name}-ovf",)
                write_ovf_folder(machine, partial / files[0], progress=progress, stop=stop)
            else:
                texts = _texts(platform, machine, images)
                for name, text in texts.items():
                    _write(partial / name, text)
                files = tuple(texts)
            disks = tuple(replace(disk, path=Path(images, disk.path.name)) for disk in machine.disks)
            made.append(Definition(platform=platform, machine=replace(machine, disks=disks), files=files))
        definitions = Definitions(definitions=tuple(made))
        _write(partial / README, render_readme(definitions))
        _write(partial / INDEX, to_json(definitions))
    return read_definitions(folder)


def _texts(platform: Platform, machine: VirtualMachine, images: str) -> dict[str, str]:
    """Return file name → text."""
    if platform is Platform.LIBVIRT:
        return {"libvirt.xml": render_domain(machine)}
    if platform is Platform.OPENSTACK:
        heat = render_heat_template(machine)
        return {"openstack.sh": render_client_script(machine, images), "openstack-heat.yaml": heat}
    if platform is Platform.PROXMOX:
        return {"proxmox.sh": render_qm_script(machine, images)}
    return {"qemu.sh": render_qemu_script(machine, images)}


def _write(path: Path, text: str) -> None:
    write_atomically(path, text)
    if path.suffix == ".sh":
        path.chmod(0o755)


def check_folder(folder: Path) -> None:
    """Raise `InvalidInput` unless replacing the folder loses nothing but what we have written."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InvalidInput(f"{folder}: this is no folder", "choose another --output")
    found = {path.name for path in folder.iterdir() if not path.name.endswith(_LEFT_BY_QEMU)}
    ours = {INDEX, README}
    if INDEX in found:
        ours |= {name for definition in read_definitions(folder).definitions for name in definition.files}
    if found - ours:
        raise InvalidInput(
            f"{folder}: there is something else in this folder: {min(found - ours)!r}", "choose another --output"
        )


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """Offer a folder for the length of the block to write in what `folder` will be."""
    partial, old = (folder.with_name(f".{folder.name}.{word}") for word in ("partial", "old"))
    with storage_errors(folder):
        for left_over in (partial, old):  # by a process that was killed
            shutil.rmtree(left_over, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            yield partial
            sync_directory(partial)
            if folder.exists():
                folder.rename(old)
            partial.rename(folder)
        finally:
            if old.exists() and not folder.exists():  # the second rename failed
                old.rename(folder)
            shutil.rmtree(partial, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
        sync_directory(folder.parent)
