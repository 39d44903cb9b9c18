"""What the check of a guest says: findings as data, and the chain from each fstab line to a disk."""

from __future__ import annotations

from dataclasses import dataclass, fields

from migration.str_enum import StrEnum


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(_Printable):
    """The outcome of examining one guest: no findings at WARNING or above means it is clean."""

    root: str  # where the root file system lies: "xvda1", "xvda2:lvm vg0/root", "xvda1:subvol @"
    operating_system: str  # PRETTY_NAME, "" where unknown
    findings: tuple[Finding, ...]
    chain: tuple[EntryChain, ...]

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
