"""The grammar of /etc/fstab, as the two programs that act on it at boot read it.

systemd's fstab generator reads with glibc's `getmntent` and takes nearly everything; `mount` reads with
libmount and ignores a line it cannot parse. Every line that systemd acts on is kept here, its fields as libmount
unescapes them, with what libmount says against it and where `getmntent` reads it differently. (Read in both
sources; held to both by the tests; `python -m benchmarks.fstab_parser` counts.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fstab_check.codes import Code
from fstab_check.getmntent import LONGEST_LINE as MNTENT_LINE
from fstab_check.getmntent import Mntent, fits_long, read_mntents, read_numbers

FSTAB = "/etc/fstab"
LONGEST_LINE = 16 * 1024  # bytes; a path has up to 4096, as has all that the kernel takes for options
LONGEST_SHOWN = 200  # characters of a line in evidence

_OCTAL = re.compile(rb"\\([0-7]{3})")
_NUMBER = re.compile(rb"[ \t\n\v\f\r]*(?P<number>[+-]?[0-9]+)(?P<behind>(?:[ \t].*)?)\Z", re.DOTALL)
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
    as_systemd = {mntent.line: mntent for mntent in read_mntents(content)}
    lines = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        entry, line_problems = _parse_line(number, line, is_last=number == len(lines))
        problems += line_problems
        if entry is None:
            continue
        entries.append(entry)
        difference = _difference(entry, as_systemd.get(number))
        if difference and not any(problem.code is Code.FSTAB_CRLF for problem in line_problems):
            problems.append(Problem(code=Code.LINE_READ_DIFFERENTLY, line=number, evidence=difference))
    return Fstab(entries=tuple(entries), problems=tuple(problems))


def _parse_line(number: int, line: bytes, *, is_last: bool) -> tuple[Entry | None, list[Problem]]:
    raw = line.removesuffix(b"\r")
    line, nul, _ = line.partition(b"\0")
    text, found = line, []
    if nul and not is_last:
        found.append((Code.LINE_BROKEN, "a NUL byte: systemd reads what stands before it, and skips the next line"))
    elif nul:
        found.append((Code.LINE_BROKEN, "a NUL byte: only what stands before it is read"))
    is_whole = not nul or is_last
    if is_whole and line.endswith(b"\r"):
        text = line[:-1]
    fields, rest = _split_line(text)
    entry = None
    if len(text) > LONGEST_LINE and fields:
        shown = f"{len(text)} bytes, of which systemd reads the first {MNTENT_LINE}; it was not judged"
        found.append((Code.LINE_BROKEN, shown))
    elif fields:
        reasons = _why_invalid(fields, rest)
        found += [] if nul else reasons
        if len(fields) >= 2:
            found += _spelling_problems(text, fields, has_crlf=text != line and not rest)
            entry = _entry(number, fields, rest, raw, is_valid=is_whole and not reasons)
    return entry, [Problem(code=code, line=number, evidence=evidence) for code, evidence in found]


def _split_line(text: bytes) -> tuple[list[bytes], bytes]:
    """Return the first four fields, and what is behind them; no fields for blank lines and comments."""
    text = text.lstrip(_SEPARATORS)
    if text[:1] in (b"", b"#"):
        return [], b""
    words = re.split(rb"[ \t]+", text, maxsplit=4)
    return [word for word in words[:4] if word], b"".join(words[4:])


def _entry(number: int, fields: list[bytes], rest: bytes, raw: bytes, *, is_valid: bool) -> Entry:
    words = [*map(_unescape, fields), *[""] * (4 - len(fields))]
    freq, passno = read_numbers(rest)
    return Entry(
        line=number,
        source=words[0], mountpoint=words[1], fstype=words[2], options=words[3],
        freq=freq, passno=passno,
        raw=_text(raw), is_valid=is_valid,
    )  # fmt: skip


def _why_invalid(fields: list[bytes], rest: bytes) -> list[tuple[Code, str]]:
    """Return what makes libmount ignore a line."""
    if len(fields) < 3:
        return [(Code.LINE_INCOMPLETE, f"{len(fields)} of the 3 fields that mount needs")]
    for _ in ("freq", "passno"):
        if not rest:
            break
        match = _NUMBER.match(rest)
        # A number of more than 64 bits is an error too, but nobody asks for it at the end of a line.
        if match is None or (match["behind"] and not fits_long(match["number"])):
            word = (rest.split() or [rest])[0]
            return [(Code.LINE_NUMBER_INVALID, f"{_shown(word)} where a number belongs")]
        rest = match["behind"].lstrip(_SEPARATORS)
    return []


def _difference(entry: Entry, mntent: Mntent | None) -> str:
    """Say how systemd reads `entry` differently, "" if it does not."""
    if mntent is None:
        return "systemd does not see this line"
    pairs = (
        (entry.source, mntent.fsname), (entry.mountpoint, mntent.dir),
        (entry.fstype, mntent.type), (entry.options, mntent.opts),
    )  # fmt: skip
    for ours, theirs in pairs:
        if ours != _text(theirs):
            return f"systemd reads {_shown(theirs)}, mount reads {_shown(ours)}"
    if (entry.freq, entry.passno) != (mntent.freq, mntent.passno):
        return f"systemd reads {mntent.freq} {mntent.passno} in the last fields, mount {entry.freq} {entry.passno}"
    return ""


def _spelling_problems(text: bytes, fields: list[bytes], *, has_crlf: bool) -> list[tuple[Code, str]]:
    found = []
    if has_crlf:
        # getmntent keeps the carriage return; behind a number it does no harm.
        found.append((Code.FSTAB_CRLF, f"systemd reads {_shown(fields[-1])} with a carriage return behind it"))
    unescaped = _text(b" ".join(map(_decode_octal, fields)))
    if any("\udc80" <= char <= "\udcff" for char in unescaped):
        found.append((Code.FSTAB_ENCODING, "the line is not UTF-8"))
    if any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in unescaped) or b"\r" in text:
        found.append((Code.FSTAB_CONTROL_CHARACTERS, f"the line is {_shown(text)}"))
    return found


def _shown(field: bytes | str) -> str:
    """Return a field for evidence: in quotes, and not all of it if it is long."""
    text = field if isinstance(field, str) else _text(field)
    return repr(text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…")


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
