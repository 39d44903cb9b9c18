"""What the check of a guest says: findings, the chain from each fstab line to a disk, and what the boot will do."""

from __future__ import annotations

from dataclasses import dataclass, fields

from migration.str_enum import StrEnum
from migration.target import ALL_TARGETS, Target


class Severity(StrEnum):
    """How much a finding matters. ERROR: the guest will not boot, or data is missing, as things are."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class _Printable:
    """What a guest wrote reaches terminals, logs and web pages: its strings are made printable at birth."""

    __slots__ = ()

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]  # only dataclasses inherit this
            value = getattr(self, field.name)
            if type(value) is str and not value.isprintable():
                object.__setattr__(self, field.name, printable(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(_Printable):
    """One thing that is wrong or could not be examined. Its strings are printable, whatever the guest holds.

    `code` is stable and documented in docs/fstab-findings.md; `file` and `line` (from 1) point into
    the guest where that makes sense; `evidence` is what was seen, `remedy` what to do.
    """

    code: str
    severity: Severity
    message: str
    evidence: str
    remedy: str
    file: str | None = None
    line: int | None = None
    device: str | None = None  # ECS device name of the disk it is about
    targets: tuple[Target, ...] = ALL_TARGETS  # where it holds


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryChain(_Printable):
    """Where one fstab line leads: source → exported disk → file system. Its strings are printable.

    `device` is the ECS disk name ("xvdb") and `partition` its number, None where the line resolves
    to no exported disk (`resolved` says why in a few words). A volume over several disks names the first.
    """

    line: int
    source: str
    mountpoint: str
    fstype: str
    options: str
    device: str | None
    partition: int | None
    filesystem: str | None  # type found in the superblock
    uuid: str | None
    resolved: str


class Outcome(StrEnum):
    """What comes of one line, or of the whole boot, in the order from good to bad."""

    MOUNTED = "mounted"  # of a line; for the whole boot it is BOOTS
    BOOTS = "boots"
    IGNORED = "ignored"  # the line mounts nothing, and the boot goes on at once
    DELAYED = "delayed"  # the line mounts nothing, and the boot goes on after a while
    UNKNOWN = "unknown"
    WRONG_DISK = "wrong-disk"  # something else is mounted than what the line meant
    EMERGENCY = "emergency"  # emergency mode, or no boot at all

    def is_worse_than(self, other: Outcome) -> bool:
        order = list(Outcome)
        return order.index(self) > order.index(other)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineForecast(_Printable):
    """What one line will do on a target. `line` is 0 for the kernel's own root=, which stands in no fstab."""

    line: int
    source: str
    mountpoint: str
    outcome: Outcome
    reason: str  # in a clause, for people
    device: str | None = None  # what the kernel calls it there: "/dev/sdb1"; None where there is no one name
    seconds: float | None = None  # that the boot waits for it; None: without end


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a guest will do when it is started on a target, line by line."""

    target: Target
    lines: tuple[LineForecast, ...]

    @property
    def outcome(self) -> Outcome:
        """The worst of the lines: BOOTS, DELAYED, UNKNOWN, WRONG_DISK or EMERGENCY."""
        worst = Outcome.BOOTS
        for line in self.lines:
            if line.outcome.is_worse_than(worst) and line.outcome is not Outcome.IGNORED:
                worst = line.outcome
        return worst

    @property
    def seconds(self) -> float | None:
        """How long the boot waits in all: devices are waited for side by side. None: without end."""
        waits = [line.seconds for line in self.lines]
        return None if None in waits else max((wait for wait in waits if wait), default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(_Printable):
    """The outcome of examining one guest: no findings at WARNING or above means it is clean."""

    root: str  # where the root file system lies: "xvda1", "xvda2:lvm vg0/root", "xvda1:subvol @"
    operating_system: str  # PRETTY_NAME, "" where unknown
    findings: tuple[Finding, ...]
    chain: tuple[EntryChain, ...]
    forecasts: tuple[Forecast, ...] = ()  # one for each target that was asked for

    @property
    def is_clean(self) -> bool:
        return not any(finding.severity is not Severity.INFO for finding in self.findings)

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity is Severity.ERROR)


def printable(text: str) -> str:
    r"""Return `text` with everything a terminal might obey escaped: `\x1b`, `\n`, `\u202e`, bytes that are no UTF-8.

    Letters of any language stay. The result is for people: it cannot always be turned back.
    """
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8, as `surrogateescape` keeps it
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")
