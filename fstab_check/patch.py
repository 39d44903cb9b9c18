"""A repair on paper: which files of the guest become what, line by line with the reason, and what was left alone.

Bytes in, bytes out: a file of the guest may hold anything, and what is not changed stays as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from migration.verdict import printable

NO_NEWLINE = b"\\ No newline at end of file\n"
CONTEXT = 3  # lines around what changes


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
    edits, shift = _edits_of(file), 0
    if edits:
        yield from (b"--- a/" + name + b"\n", b"+++ b/" + name + b"\n")
    lines = _lines_of(file.before)
    for hunk in _hunks_of(edits):
        begin, end = max(0, hunk[0].begin - CONTEXT), min(len(lines), hunk[-1].end + CONTEXT)
        growth = sum(len(edit.after) - (edit.end - edit.begin) for edit in hunk)
        yield b"@@ -%s +%s @@\n" % (_range(begin, end - begin), _range(begin + shift, end - begin + growth))
        shift += growth
        for edit in hunk:
            yield from _marked(b" ", lines[begin : edit.begin])
            yield from _marked(b"-", lines[edit.begin : edit.end])
            yield from _marked(b"+", edit.after)
            begin = edit.end
        yield from _marked(b" ", lines[begin:end])


@dataclass(slots=True)
class _Edit:
    """The lines from `begin` up to `end`, counted from 0, become `after`."""

    begin: int
    end: int
    after: list[bytes]


def _edits_of(file: FilePatch) -> list[_Edit]:
    """Return what the changes come to, in order, neighbours as one.

    They are known, and so not looked for in the two contents: for a large file difflib takes any time or, where it
    leaves out lines that are there often, says that everything has changed.
    """
    lines = file.before.split(b"\n")
    edits: list[_Edit] = []
    for number, after in sorted({change.line - 1: change.after for change in file.changes}.items()):
        line_end = b"\n" if number < len(lines) - 1 else b""
        edit = _smallest_edit(number, _lines_of(lines[number] + line_end), _lines_of(after + line_end))
        if edits and edits[-1].end == edit.begin:
            edits[-1].end = edit.end
            edits[-1].after += edit.after
        elif edit.after or edit.begin < edit.end:
            edits.append(edit)
    return edits


def _smallest_edit(number: int, before: list[bytes], after: list[bytes]) -> _Edit:
    """Return the edit that turns `before`, one line or none, into `after`, without what stays of it."""
    if before and before == after[:1]:
        return _Edit(number + 1, number + 1, after[1:])
    if before and before == after[-1:]:
        return _Edit(number, number, after[:-1])
    return _Edit(number, number + len(before), after)


def _hunks_of(edits: Sequence[_Edit]) -> list[list[_Edit]]:
    """Return the edits in groups, each of those whose context meets."""
    hunks: list[list[_Edit]] = []
    for edit in edits:
        if hunks and edit.begin - hunks[-1][-1].end <= 2 * CONTEXT:
            hunks[-1].append(edit)
        else:
            hunks.append([edit])
    return hunks


def _range(begin: int, length: int) -> bytes:
    """Return where lines are as a hunk's header says it: counted from 1, and where there are none, the line before."""
    return b"%d" % (begin + 1) if length == 1 else b"%d,%d" % (begin + 1 if length else begin, length)


def _marked(mark: bytes, lines: Sequence[bytes]) -> Iterator[bytes]:
    for line in lines:
        yield mark + line.removesuffix(b"\n") + b"\n"
        if not line.endswith(b"\n"):
            yield NO_NEWLINE


def _lines_of(content: bytes) -> list[bytes]:
    # Not splitlines(), which ends lines at a carriage return too.
    *whole, rest = content.split(b"\n")
    return [line + b"\n" for line in whole] + ([rest] if rest else [])


def _shown(line: bytes) -> str:
    text = line.removesuffix(b"\n").decode("utf-8", "surrogateescape")
    return "\t".join(printable(part) for part in text.split("\t")) + "\n"
