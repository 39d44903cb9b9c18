"""What a guest says it has mounted, held against what its own /etc/fstab asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from migration.verdict import printable

_READ_ONLY_TYPES = frozenset({"iso9660", "squashfs", "erofs", "cramfs", "udf"})  # as far as a boot mounts them
_TAGS = {"UUID": "uuid", "LABEL": "label", "PARTUUID": "partuuid", "PARTLABEL": "partlabel"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One line of the guest's /proc/self/mountinfo; `uuid` is "" where the guest has no findmnt, or there is none."""

    point: str
    type: str
    source: str
    uuid: str = ""
    is_read_only: bool = False  # the mount, or the file system itself


@dataclass(frozen=True, slots=True, kw_only=True)
class FstabLine:
    """A line of the guest's fstab, as it is written there.

    `place` is what the guest makes of it: the device of a swap, the mount point without symbolic links; "" where it
    did not look, or there is no such thing.
    """

    text: str
    source: str
    point: str
    type: str
    options: str = ""
    place: str = ""

    @property
    def is_swap(self) -> bool:
        return self.type == "swap"

    @property
    def is_wanted(self) -> bool:
        """Whether it is mounted, or its automount set up, by every boot."""
        return "noauto" not in self.options.split(",") and (self.is_swap or self.point.startswith("/"))

    @property
    def wants_to_write(self) -> bool:
        """Whether what it mounts is to be written to."""
        return self.is_wanted and "ro" not in self.options.split(",") and self.type not in _READ_ONLY_TYPES

    @property
    def name(self) -> str:
        """Its name in a report, which is that of systemd's unit for it."""
        if not self.is_swap:
            return printable(_normal(unescape(self.point)))
        tag, equals, value = self.source.partition("=")
        value = value.strip('"')
        path = f"/dev/disk/by-{_TAGS[tag]}/{value}" if equals and tag in _TAGS else self.source
        return printable(f"swap on {unescape(path)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What is mounted in a guest whose boot has settled; `state` is systemd's word for how it is (`running`)."""

    state: str
    mounts: tuple[Mount, ...]
    swaps: tuple[str, ...]
    lines: tuple[FstabLine, ...]

    @property
    def says_up(self) -> bool:
        """Whether all that the boot starts was started, or has failed."""
        return self.state in {"running", "degraded"}

    @property
    def is_emergency(self) -> bool:
        """Whether the guest is in emergency or rescue mode."""
        return self.state == "maintenance"

    @property
    def missing(self) -> tuple[FstabLine, ...]:
        """The lines of fstab that should have been mounted and are not."""
        return tuple(line for line in self.lines if line.is_wanted and not self._is_there(line))

    @property
    def read_only(self) -> tuple[FstabLine, ...]:
        """The lines of fstab that are mounted read-only, and should not be."""
        return tuple(line for line in self.lines if line.wants_to_write and self._is_read_only(line))

    @property
    def mounted(self) -> tuple[str, ...]:
        """Names of what is mounted: the lines of fstab that are, in its order, then other disks and swap."""
        there = [line for line in self.lines if self._is_there(line)]
        names = [line.name for line in there]
        return tuple(dict.fromkeys([*names, *self._others(there)]))

    def holds(self, point: str) -> bool:
        """Return whether something is mounted at `point`, a name as reports have it."""
        return any(printable(mount.point) == point for mount in self.mounts)

    def _is_there(self, line: FstabLine) -> bool:
        if line.is_swap:
            return bool({line.place, unescape(line.source)} & set(self.swaps))
        # An automount that is set up is a mount of type autofs.
        return any(mount.point in {line.place, _normal(unescape(line.point))} for mount in self.mounts)

    def _is_read_only(self, line: FstabLine) -> bool:
        points = {line.place, _normal(unescape(line.point))}
        over = [mount for mount in self.mounts if mount.point in points]
        return bool(over) and not line.is_swap and over[-1].is_read_only  # the last one mounted there is what is seen

    def _others(self, there: list[FstabLine]) -> Iterator[str]:
        known = {_normal(unescape(line.point)) for line in there} | {line.place for line in there}
        for mount in self.mounts:
            if mount.source.startswith("/dev/") and mount.point not in known:
                yield printable(mount.point)
        for swap in self.swaps:
            if swap not in known | {unescape(line.source) for line in there}:
                yield printable(f"swap on {swap}")


def unescape(text: str) -> str:
    r"""Return what fstab and the kernel mean, which write a blank as `\040`."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _normal(path: str) -> str:
    return re.sub("/+", "/", path).rstrip("/") or "/"
