"""All that is known of one guest when the judging begins; pure values, read by `survey` and `root`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from fstab_check.boot_config import BootConfig
from fstab_check.codes import Code
from fstab_check.drivers import KernelDrivers
from fstab_check.fstab import Entry, Fstab
from fstab_check.guest_config import GuestConfig
from fstab_check.layout import GuestLayout, Volume
from fstab_check.manager_config import AS_IT_COMES
from fstab_check.resolve import Resolution
from fstab_check.sources import Source
from migration.str_enum import StrEnum


class PathKind(StrEnum):
    """What is found at a path in the guest's root file system, symlinks followed."""

    DIRECTORY = "directory"
    FILE = "file"
    OTHER = "other"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class RootFilesystem:
    """A file system that looks like the `/` of a Linux. `subvolume` is "" for a btrfs's default one."""

    volume: Volume
    subvolume: str = ""
    has_fstab: bool = True
    operating_system: str = ""  # PRETTY_NAME, as the guest wrote it

    @property
    def location(self) -> str:
        """Where it is, for people: "xvda1", "xvda2:lvm vg0/root", "xvda1:subvol @"."""
        where = f"{self.volume.place}:{self.volume.kind} {self.volume.name}" if self.volume.kind else self.volume.place
        return f"{where}:subvol {self.subvolume}" if self.subvolume else where


@dataclass(frozen=True, slots=True, kw_only=True)
class FstabFile:
    """The bytes of /etc/fstab; `failure`, a finding's code, says why they are missing or not all."""

    content: bytes = b""
    failure: Code | None = None
    evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """One guest. `expected` are the devices that its image has, by ECS name ("xvdc"), given to us or not.

    `awaited` are those among them that will still come: what may lie on them is neither found nor missed.
    """

    layout: GuestLayout
    roots: tuple[RootFilesystem, ...]  # the first is the one whose fstab this is
    file: FstabFile
    fstab: Fstab
    paths: Mapping[str, PathKind] = field(default_factory=dict)  # those that could be asked for
    boot: BootConfig = field(default_factory=BootConfig)
    kernels: tuple[KernelDrivers, ...] = ()
    device_timeout: float = AS_IT_COMES  # seconds that systemd waits where a line does not say otherwise
    config: GuestConfig = field(default_factory=GuestConfig)
    expected: Collection[str] = ()
    awaited: Collection[str] = ()

    @property
    def root(self) -> RootFilesystem:
        return self.roots[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An entry of fstab and where it leads."""

    entry: Entry
    source: Source
    resolution: Resolution
