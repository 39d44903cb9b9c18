"""Writes an OVA, one tar file of descriptor, manifest and disks in that order, or the same as a folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from pathlib import Path

from migration.disk import DiskFormat
from migration.errors import CorruptData, InvalidInput
from migration.progress import Progress, Stop, no_progress
from migration.storage import check_free_space, storage_errors, sync_directory
from private_cloud.ovf import disk_file_name, render_manifest, render_ovf
from private_cloud.stream_vmdk import read_stream_vmdk
from private_cloud.verified_copy import copy_into, copy_to, counter
from private_cloud.virtual_machine import VirtualMachine

_BLOCK = 512
_OVERHEAD = 1 << 20  # bytes: descriptor, manifest, headers
_LARGEST_OCTAL = 8**11  # bytes that a ustar header's eleven octal digits can tell


def write_ova(
    machine: VirtualMachine, target: Path, *, progress: Progress = no_progress, stop: Stop | None = None
) -> None:
    """Write the OVA; its name appears once it is whole and on stable storage.

    Raises `InvalidInput` (a disk is no streamOptimized VMDK), `CorruptData`, `NoSpace`, `Interrupted`.
    """
    descriptors = _descriptors(machine)
    total = _total(machine)
    check_free_space(target.parent, total + _OVERHEAD, f"writing {target.name}")
    partial = target.with_name(f".{target.name}.partial")
    on_bytes = counter(progress, total)
    with storage_errors(target):
        try:
            with partial.open("wb") as file:
                for name, text in descriptors.items():
                    data = text.encode()
                    file.write(tar_header(name, len(data)) + data + bytes(-len(data) % _BLOCK))
                for number, disk in enumerate(machine.disks):
                    file.write(tar_header(disk_file_name(machine, number), disk.file_size))
                    copy_into(file, disk, on_bytes=on_bytes, stop=stop)
                    file.write(bytes(-disk.file_size % _BLOCK))
                file.write(bytes(2 * _BLOCK))  # the end of a tar
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        sync_directory(target.parent)


def write_ovf_folder(
    machine: VirtualMachine, folder: Path, *, progress: Progress = no_progress, stop: Stop | None = None
) -> None:
    """Write the same files into the new folder `folder`, which appears once they are whole. Raises as `write_ova`."""
    descriptors = _descriptors(machine)
    total = _total(machine)
    check_free_space(folder.parent, total + _OVERHEAD, f"writing {folder.name}")
    partial = folder.with_name(f".{folder.name}.partial")
    on_bytes = counter(progress, total)
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    with storage_errors(folder):
        try:
            partial.mkdir()
            for number, disk in enumerate(machine.disks):
                copy_to(partial / disk_file_name(machine, number), disk, on_bytes=on_bytes, stop=stop)
            for name, text in descriptors.items():
                (partial / name).write_text(text, encoding="utf-8")
            sync_directory(partial)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        sync_directory(folder.parent)


def tar_header(name: str, size: int) -> bytes:
    """Return a ustar header for a file of root's with the mode 0644."""
    member = tarfile.TarInfo(name)
    if size < _LARGEST_OCTAL:
        member.size = size
        return member.tobuf(tarfile.USTAR_FORMAT)
    # From 8 GiB on the size is a number of 12 bytes, its first bit set, as GNU tar and ovftool write it: the other way
    # out, pax headers, VMware's importers do not read. The sum is of all bytes, itself taken for blanks.
    header = bytearray(member.tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = b"\x80" + size.to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def _descriptors(machine: VirtualMachine) -> dict[str, str]:
    """Return descriptor and manifest by their names. Raises `InvalidInput`, `CorruptData`."""
    vmdks = []
    for disk in machine.disks:
        if disk.format is not DiskFormat.VMDK:
            raise InvalidInput(
                f"{disk.path.name}: only streamOptimized VMDKs go into an OVA", "ferry convert --to vmdk --compress"
            )
        vmdk = read_stream_vmdk(disk.path)
        if vmdk.capacity != disk.virtual_size:
            raise CorruptData(
                f"{disk.path}: the disk in it has {vmdk.capacity} bytes, expected were {disk.virtual_size}",
                "convert the disk again",
            )
        vmdks.append(vmdk)
    name = f"{machine.name}.ovf"
    ovf = render_ovf(machine, vmdks)
    digests = {name: hashlib.sha256(ovf.encode()).hexdigest()}
    digests |= {disk_file_name(machine, number): disk.sha256 for number, disk in enumerate(machine.disks)}
    return {name: ovf, f"{machine.name}.mf": render_manifest(digests)}


def _total(machine: VirtualMachine) -> int:
    return sum(disk.file_size for disk in machine.disks)
