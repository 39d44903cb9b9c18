"""Brings a machine into libvirt: its images into a folder of their own, then the domain; all of it, or nothing."""

from __future__ import annotations

import logging
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from uuid import uuid4

from migration.errors import CommandFailed, InvalidInput
from migration.progress import Progress, Stop, check_stop, no_progress
from migration.run import find_program, run
from migration.scratch import scratch_folder
from migration.storage import allocated, check_free_space, storage_errors, sync_directory
from private_cloud.libvirt_xml import IMAGES, render_domain
from private_cloud.verified_copy import copy_to, counter
from private_cloud.virtual_machine import VirtualMachine

log = logging.getLogger(__name__)

SYSTEM = "qemu:///system"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A domain that libvirt has now, and the folder of its images."""

    name: str
    folder: Path
    is_running: bool


def import_into_libvirt(
    machine: VirtualMachine,
    *,
    connect: str = SYSTEM,
    pool: Path | None = Path(IMAGES),
    kvm: bool = True,
    start: bool = False,
    progress: Progress = no_progress,
    stop: Stop | None = None,
) -> Imported:
    """Define the machine, with copies of its images in a folder of its name under `pool`, or with `None` in place.

    Copies are proven by their SHA-256. A failure, also one to `start`, leaves neither domain nor copies. The images
    must be where the libvirt at `connect` sees them, so it is one of this machine. Raises `InvalidInput` if there is a
    domain or a folder of that name, `CorruptData`, `NoSpace`, `CommandFailed`, `ToolMissing`, `Interrupted`.
    """
    find_program("virsh")

    def virsh(*words: str | Path) -> str:
        return run(["virsh", "--quiet", "--connect", connect, *words], stop=stop)

    if machine.name in virsh("list", "--all", "--name").splitlines():
        raise InvalidInput(
            f"libvirt has a machine {machine.name} already", "define this one with another --name, or remove that one"
        )
    for disk in machine.disks:
        if not disk.path.is_file():
            raise InvalidInput(f"{disk.path}: there is no such image", "put it back where it was when this was defined")
    # By this, and not by a name that somebody else may have taken meanwhile, what is ours is removed again.
    uuid = str(uuid4())
    with ExitStack() as undo:
        folder = machine.folder if pool is None else _copy_images(machine, pool, undo, progress, stop)
        check_stop(stop)
        with scratch_folder("ferry-libvirt-") as scratch:
            file = scratch / "domain.xml"
            file.write_text(render_domain(machine, PurePosixPath(folder), kvm=kvm, uuid=uuid), encoding="utf-8")
            undo.callback(_undefine, connect, uuid)
            virsh("define", "--validate", file)
        if start:
            check_stop(stop)
            log.info("Starting %s", machine.name)
            virsh("start", uuid)
        undo.pop_all()
    return Imported(name=machine.name, folder=folder, is_running=start)


def _copy_images(
    machine: VirtualMachine, pool: Path, undo: ExitStack, progress: Progress, stop: Stop | None
) -> Path:  # fmt: skip
    """Return the folder with the copies, which appears when they are whole and proven, and goes with `undo`."""
    pool = pool.expanduser().absolute()
    folder, partial = pool / machine.name, pool / f".{machine.name}.partial"
    if folder.exists():
        raise InvalidInput(f"{folder} is there already", "choose another --pool, or remove it if nothing uses it")
    try:
        pool.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"{pool}: cannot be made: {error.strerror}", "run it as root, or choose another --pool"
        ) from (error)
    total = sum(disk.file_size for disk in machine.disks)
    check_free_space(pool, sum(allocated(disk.path) for disk in machine.disks), "copying the images")
    with storage_errors(pool):
        shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
        undo.callback(shutil.rmtree, partial, ignore_errors=True)
        partial.mkdir(mode=0o711)  # QEMU, of another user, has to come through
        add = counter(progress, total)
        for disk in machine.disks:
            log.info("Copying %s", disk.path.name)
            copy = partial / disk.path.name
            copy_to(copy, disk, on_bytes=add, stop=stop)
            copy.chmod(0o600)  # libvirt gives it to QEMU's user; nobody else reads a server's disks
        sync_directory(partial)
        partial.rename(folder)
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        sync_directory(pool)
    return folder


def _undefine(connect: str, uuid: str) -> None:
    for words in (("destroy", uuid), ("undefine", "--nvram", uuid)):
        try:
            run(["virsh", "--quiet", "--connect", connect, *words])
        except CommandFailed as error:  # noqa: PERF203  # two of them
            log.debug("undoing: %s", error)
