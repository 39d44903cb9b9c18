"""The grammar of /etc/fstab, as the two programs that act on it at boot read it.

systemd's fstab generator reads with glibc's `getmntent` and takes nearly everything; `mount` reads with
libmount and ignores a line it cannot parse. A line is kept here as systemd sees it, with what libmount
would say against it. (Measured with util-linux 2.38; read in systemd's `fstab-generator.c`.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fstab_check.codes import Code

FSTAB = "/etc/fstab"

_OCTAL = re.compile(rb"\\([0-7]{3})")
_NUMBER = re.compile(rb"\s*[+-]?\d+")
_SEPARATORS = b" \t"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is odd about a line, apart from where it leads."""

    code: Code
    line: int
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line that mounts or swaps on something, its fields unescaped, `line` counted from 1.

    Bytes that are no UTF-8 are kept as `surrogateescape` keeps them; nothing here is fit for printing.
    `raw` is the line without its line end. `is_valid` is libmount's opinion: `mount -a` skips the others.
    """

    line: int
    source: str
    mountpoint: str
    fstype: str  # "" where the line ends before it
    options: str  # as written, "" where the line ends before it
    freq: int
    passno: int
    raw: str
    is_valid: bool = True

    @property
    def mount_options(self) -> dict[str, str]:
        """The options in their order; a later one replaces an earlier one of that name. Values are "" for flags."""
        options: dict[str, str] = {}
        for word in _split_options(self.options):
            name, _, value = word.partition("=")
            options.pop(name, None)  # so that the last one said is the last one in the order
            options[name] = value
        return options

    @property
    def is_root(self) -> bool:
        return self.mountpoint.startswith("/") and not self.mountpoint.strip("/")

    @property
    def is_swap(self) -> bool:
        return self.fstype == "swap"

    @property
    def is_noauto(self) -> bool:
        """Nothing mounts it at boot. systemd ignores the option on `/`; the last of auto and noauto counts."""
        return not self.is_root and self._last_of("noauto", "auto") == "noauto"

    @property
    def is_nofail(self) -> bool:
        """The boot goes on without it. systemd ignores the option on `/`; the last of fail and nofail counts."""
        return not self.is_root and self._last_of("nofail", "fail") == "nofail"

    @property
    def is_automount(self) -> bool:
        """It is mounted when somebody first looks into it, so that the boot does not wait for it."""
        options = self.mount_options
        return "x-systemd.automount" in options or options.get("comment") == "systemd.automount"

    @property
    def is_netdev(self) -> bool:
        return "_netdev" in self.mount_options

    @property
    def is_bind(self) -> bool:
        return bool({"bind", "rbind", "move"} & self.mount_options.keys())

    def _last_of(self, *names: str) -> str:
        return next((name for name in reversed(self.mount_options) if name in names), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fstab:
    """A whole file: what it mounts, and what is odd about it."""

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]


def parse_fstab(content: bytes) -> Fstab:
    """Parse any bytes; nothing a guest can write makes this raise."""
    entries, problems = [], []
    lines = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        entry, line_problems = _parse_line(number, line)
        problems += line_problems
        if entry is not None:
            entries.append(entry)
    return Fstab(entries=tuple(entries), problems=tuple(problems))


def _parse_line(number: int, line: bytes) -> tuple[Entry | None, list[Problem]]:
    text, has_crlf = (line[:-1], True) if line.endswith(b"\r") else (line, False)
    if text.lstrip(_SEPARATORS)[:1] in (b"", b"#"):
        return None, []

    def problem(code: Code, evidence: str) -> Problem:
        return Problem(code=code, line=number, evidence=evidence)

    if b"\0" in text:
        return None, [problem(Code.LINE_BROKEN, "the line holds a NUL byte, where both readers stop")]
    fields = [field for field in re.split(rb"[ \t]+", text) if field]
    problems = []
    if len(fields) < 3:
        problems.append(problem(Code.LINE_INCOMPLETE, f"{len(fields)} of the 3 fields that mount needs"))
        if len(fields) < 2:
            return None, problems
    for word in fields[4:6]:
        if not _NUMBER.fullmatch(word):
            problems.append(problem(Code.LINE_NUMBER_INVALID, f"{_text(word)!r} where a number belongs"))
            break
    is_valid = not problems
    problems += [problem(code, evidence) for code, evidence in _spelling_problems(text, fields, has_crlf=has_crlf)]
    words = [*map(_unescape, fields[:4]), *[""] * (4 - len(fields[:4]))]
    numbers = [int(word) if _NUMBER.fullmatch(word) else 0 for word in fields[4:6]] + [0, 0]
    entry = Entry(
        line=number,
        source=words[0], mountpoint=words[1], fstype=words[2], options=words[3],
        freq=numbers[0], passno=numbers[1],
        raw=_text(text), is_valid=is_valid,
    )  # fmt: skip
    return entry, problems


def _spelling_problems(text: bytes, fields: list[bytes], *, has_crlf: bool) -> list[tuple[Code, str]]:
    found = []
    if has_crlf and len(fields) < 5:
        # getmntent keeps the carriage return; behind a number it does no harm.
        found.append((Code.FSTAB_CRLF, f"systemd reads {_text(fields[-1])!r} with a carriage return behind it"))
    unescaped = _text(b" ".join(_decode_octal(field) for field in fields[:4]))
    if any("\udc80" <= char <= "\udcff" for char in unescaped):
        found.append((Code.FSTAB_ENCODING, "the line is not UTF-8"))
    if any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in unescaped) or b"\r" in text:
        found.append((Code.FSTAB_CONTROL_CHARACTERS, f"the line is {_text(text)!r}"))
    return found


def _split_options(options: str) -> list[str]:
    """Split at commas, but not at those inside double quotes, as libmount does (`context="a,b"`)."""
    return [word for word in re.findall(r'((?:[^,"]|"[^"]*"?)+)', options) if word]


def _unescape(field: bytes) -> str:
    # C strings: an escaped NUL, which also \400 becomes in a byte, ends the field.
    return _text(_decode_octal(field).partition(b"\0")[0])


def _decode_octal(field: bytes) -> bytes:
    return _OCTAL.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), field)


def _text(field: bytes) -> str:
    return field.decode("utf-8", "surrogateescape")
