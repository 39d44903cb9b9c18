"""Finds out whether this machine can do each part of a migration, and how to get what is missing."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from migration.errors import MigrationError
from migration.progress import Stop
from migration.run import PACKAGES, find_program
from migration.storage import format_size
from migration.str_enum import StrEnum


class State(StrEnum):
    """How a check came out. SLOW and ABSENT do not keep the rest from working."""

    OK = "ok"
    SLOW = "slow"
    ABSENT = "absent"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at. `needed_for` names what fails without it."""

    name: str
    state: State
    detail: str
    needed_for: str
    remedy: str = ""


def examine_machine(*, launch_appliance: bool) -> Iterator[Check]:
    """Yield the checks, quick ones first; with `launch_appliance` a guest appliance is really started."""
    yield _python()
    for program, purpose in (
        ("qemu-img", "converting"), ("setpriv", "running other programs"), ("qemu-system-x86_64", "looking into guests")
    ):  # fmt: skip
        yield _program(program, purpose)
    for program, purpose in (
        ("mkfs.xfs", "guests with xfs"), ("btrfs", "guests with btrfs"), ("lvm", "guests with LVM"),
        ("virsh", "ferry import libvirt"),
    ):  # fmt: skip
        yield _program(program, purpose, needed=False)
    yield _uefi()
    yield _bindings()
    yield _kernel()
    yield _kvm()
    for package in ("prefect", "oss2", "aliyun-python-sdk-ecs"):
        yield _library(package)
    yield _credentials()
    yield _space()
    if launch_appliance:
        yield _appliance()


def _python() -> Check:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Check(name="Python", state=State.OK, detail=f"{version}, {sys.executable}", needed_for="everything")


_APPLIANCE_PACKAGES = {"btrfs": "btrfs-progs", "lvm": "lvm2", "setpriv": "util-linux"}


def _program(program: str, purpose: str, *, needed: bool = True) -> Check:
    package = PACKAGES.get(program) or _APPLIANCE_PACKAGES[program]
    try:
        path = find_program(program)
    except MigrationError:
        return Check(
            name=program, state=State.MISSING if needed else State.ABSENT, detail="not installed",
            needed_for=purpose, remedy=f"apt-get install {package}",
        )  # fmt: skip
    return Check(name=program, state=State.OK, detail=path, needed_for=purpose)


def _uefi() -> Check:
    from private_cloud.firmware import OVMF  # noqa: PLC0415

    purpose = "booting guests that start by UEFI"
    found = next((code for code, variables in OVMF if Path(code).exists() and Path(variables).exists()), None)
    if found is None:
        return Check(
            name="OVMF", state=State.ABSENT, detail="not installed", needed_for=purpose, remedy="apt-get install ovmf"
        )
    return Check(name="OVMF", state=State.OK, detail=found, needed_for=purpose)


def _bindings() -> Check:
    purpose = "looking into guests"
    try:
        import guestfs  # noqa: PLC0415
    except ImportError as error:
        remedy = "apt-get install python3-guestfs, then `make setup` (it is built for the system's own Python)"
        return Check(name="guestfs", state=State.MISSING, detail=str(error), needed_for=purpose, remedy=remedy)
    version = guestfs.GuestFS(python_return_dict=True).version()
    return Check(
        name="guestfs", state=State.OK, needed_for=purpose,
        detail=".".join(str(version[part]) for part in ("major", "minor", "release")),
    )  # fmt: skip


def _kernel() -> Check:
    kernels = sorted(Path("/boot").glob("vmlinuz-*"))
    readable = [kernel for kernel in kernels if os.access(kernel, os.R_OK)]
    purpose = "looking into guests"
    if readable:
        return Check(name="kernel for the appliance", state=State.OK, detail=str(readable[-1]), needed_for=purpose)
    if kernels:
        return Check(
            name="kernel for the appliance", state=State.MISSING, detail=f"{kernels[-1]} is readable by root only",
            needed_for=purpose, remedy=f"sudo chmod a+r {kernels[-1]}",
        )  # fmt: skip
    return Check(
        name="kernel for the appliance", state=State.MISSING, detail="no /boot/vmlinuz-*", needed_for=purpose,
        remedy="apt-get install linux-image-cloud-amd64 (Ubuntu: linux-image-virtual)",
    )  # fmt: skip


def _kvm() -> Check:
    from migration.acceleration import explain_kvm, kvm_works  # noqa: PLC0415

    works = kvm_works(announce=False)  # the check's own line says it
    return Check(
        name="KVM", state=State.OK if works else State.SLOW, detail=explain_kvm(), needed_for="speed",
        remedy="" if works else "nothing to do: emulation is used, and guests are looked into some seconds slower",
    )  # fmt: skip


def _library(package: str) -> Check:
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return Check(
            name=package, state=State.MISSING, detail="not installed", needed_for="flows and cloud", remedy="make setup"
        )
    return Check(name=package, state=State.OK, detail=version, needed_for="flows and cloud")


def _credentials() -> Check:
    from migration.credentials import find_credentials  # noqa: PLC0415

    purpose = "export and download"
    try:
        found = find_credentials()()
    except MigrationError as error:
        return Check(
            name="credentials", state=State.ABSENT, detail=error.message, needed_for=purpose, remedy=error.remedy
        )
    return Check(
        name="credentials",
        state=State.OK,
        detail=f"found by {found.source or 'the provider chain'}",
        needed_for=purpose,
    )


def _space() -> Check:
    free = shutil.disk_usage(Path.cwd()).free
    return Check(name="free space here", state=State.OK, detail=format_size(free), needed_for="disks and images")


def _appliance() -> Check:
    purpose = "looking into guests"
    try:
        text = _launch()
    except MigrationError as error:
        return Check(
            name="appliance", state=State.MISSING, detail=error.message, needed_for=purpose, remedy=error.remedy
        )
    return Check(name="appliance", state=State.OK, detail=text, needed_for=purpose)


def _launch() -> str:
    """Start an appliance over an empty disk and ask it one question."""
    import tempfile  # noqa: PLC0415

    from ferry.interruptible import run_interruptible  # noqa: PLC0415
    from migration.appliance import open_guest  # noqa: PLC0415
    from migration.disk import Disk, DiskFormat, DiskRole  # noqa: PLC0415

    with tempfile.NamedTemporaryFile(suffix=".raw") as file:
        file.truncate(1 << 20)
        disk = Disk(
            device="xvda", role=DiskRole.SYSTEM, path=Path(file.name), format=DiskFormat.RAW, virtual_size=1 << 20
        )

        def ask(stop: Stop) -> str:
            with open_guest([disk], stop=stop) as guest:
                return f"starts and sees {', '.join(guest.list_devices())}"

        return run_interruptible(ask)
