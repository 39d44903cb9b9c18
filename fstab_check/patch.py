"""A repair on paper: which files of the guest become what, line by line with the reason, and what was left alone.

Bytes in, bytes out: a file of the guest may hold anything, and what is not changed stays as it is.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from migration.verdict import printable

NO_NEWLINE = b"\\ No newline at end of file\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of one line, counted from 1 in the file as it was; `after` may be several lines."""

    line: int
    before: bytes  # without the line end
    after: bytes
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePatch:
    """One file of the guest before and after."""

    path: str
    before: bytes
    changes: tuple[Change, ...]

    @property
    def after(self) -> bytes:
        """The whole file with its changes made."""
        lines = self.before.split(b"\n")
        for change in self.changes:
            lines[change.line - 1] = change.after
        return b"\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What is wrong and was not repaired, because nobody can know what is meant. `line` None: the whole file."""

    path: str
    line: int | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A whole repair; without files it changes nothing."""

    files: tuple[FilePatch, ...] = ()
    left: tuple[Left, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 over paths and contents, by which the same repair is known again."""
        digest = hashlib.sha256()
        for file in self.files:
            for part in (file.path.encode("utf-8", "surrogateescape"), file.before, file.after):
                digest.update(b"%d:" % len(part) + part)
        return digest.hexdigest()


def render_diff(patch: Patch) -> str:
    """Return the patch as a unified diff for people: what a terminal might obey is escaped, tabs stay."""
    return "".join(_shown(line) for file in patch.files for line in diff_lines(file))


def diff_lines(file: FilePatch) -> Iterator[bytes]:
    """Yield the lines of the unified diff of one file, as `patch -p1` takes them."""
    name = file.path.lstrip("/").encode("utf-8", "surrogateescape")
    lines = difflib.diff_bytes(
        difflib.unified_diff, _lines_of(file.before), _lines_of(file.after), b"a/" + name, b"b/" + name
    )
    for line in lines:
        yield line.removesuffix(b"\n") + b"\n"
        if not line.endswith(b"\n"):
            yield NO_NEWLINE


def _lines_of(content: bytes) -> Sequence[bytes]:
    # Not splitlines(), which ends lines at a carriage return too.
    *whole, rest = content.split(b"\n")
    return [line + b"\n" for line in whole] + ([rest] if rest else [])


def _shown(line: bytes) -> str:
    text = line.removesuffix(b"\n").decode("utf-8", "surrogateescape")
    return "\t".join(printable(part) for part in text.split("\t")) + "\n"
