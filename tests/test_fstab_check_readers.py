"""Our parser sees what the real readers see: libmount, `findmnt`, glibc's getmntent, systemd's generator."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.fstab_parser import COMPARISONS, count_agreement
from fstab_check.codes import Code
from fstab_check.fstab import LONGEST_SHOWN, parse_fstab
from fstab_check.getmntent import LONGEST_LINE, read_mntents
from tests.fstab_lines import ODD_LINES, nearly_right_lines
from tests.fstab_readers import GENERATOR, find_disagreements, read_by_systemd

# What tells that the two readers part ways at a line, or that one of them drops it.
TOLD_BY = {
    Code.LINE_READ_DIFFERENTLY,
    Code.LINE_BROKEN,
    Code.FSTAB_CRLF,
    Code.LINE_INCOMPLETE,
    Code.LINE_NUMBER_INVALID,
}


@pytest.mark.parametrize("reader", COMPARISONS)
def test_parser_agrees_on_the_corpus_and_on_lines_that_are_nearly_right(reader: str, tmp_path: Path) -> None:
    lines = [*ODD_LINES, *nearly_right_lines(1000, seed=1)]
    disagreements = count_agreement(reader, lines, tmp_path / "fstab")
    assert not disagreements, f"{len(disagreements)} of {len(lines)}: {disagreements[:5]!r}"


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n", b"\0", b"\r\0", b"\0\n", b" "], ids=repr)
@pytest.mark.parametrize("reader", COMPARISONS)
def test_parser_agrees_on_how_a_file_may_end(reader: str, ending: bytes, tmp_path: Path) -> None:
    file = tmp_path / "fstab"
    ours, read = COMPARISONS[reader]
    for line in (b"a /b c d 0 0", b"a /b c d", b"a /b c", b"a /b", b"#", b""):
        content = b"first / x y\n" + line + ending
        file.write_bytes(content)
        assert ours(content) == read(file), content


BYTES = st.binary(max_size=60).map(lambda line: line.replace(b"\n", b""))
PIECES = st.lists(
    st.sampled_from([*b"ab/=#\\,\"'0147 \t\r\0\x0b\xff"]) | st.sampled_from([32, 9, 92]), max_size=40
).map(bytes)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(lines=st.lists(BYTES | PIECES, min_size=1, max_size=60))
@pytest.mark.parametrize("reader", ["libmount", "getmntent"])
def test_parser_agrees_on_any_bytes(tmp_path_factory: pytest.TempPathFactory, reader: str, lines: list[bytes]) -> None:
    ours, read = COMPARISONS[reader]
    assert not find_disagreements(lines, ours, read, tmp_path_factory.getbasetemp() / f"any-bytes-{reader}")


def test_no_line_is_read_differently_in_silence() -> None:
    content = b"".join(line + b"\n" for line in [*ODD_LINES, *nearly_right_lines(2000, seed=2)])
    fstab = parse_fstab(content)
    told = {problem.line for problem in fstab.problems if problem.code in TOLD_BY}
    by_line = {entry.line: entry for entry in fstab.entries}
    for mntent in read_mntents(content):
        if mntent.line in told or not mntent.dir:
            continue
        entry = by_line[mntent.line]
        fields = (entry.source, entry.mountpoint, entry.fstype, entry.options)
        seen = tuple(field.encode("utf-8", "surrogateescape") for field in fields)
        assert (*seen, entry.freq, entry.passno) == (
            mntent.fsname, mntent.dir, mntent.type, mntent.opts, mntent.freq, mntent.passno,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("content", "evidence"),
    [
        pytest.param(
            b"LABEL=a\\043b /d ext4\n", r"systemd reads 'LABEL=a\\043b', mount reads 'LABEL=a#b'", id="other-escape"
        ),
        pytest.param(b"a /d\\\\e ext4\n", r"systemd reads '/d\\e', mount reads '/d\\\\e'", id="doubled-backslash"),
        pytest.param(b"a\0 /b c d\nnext /n ext4 x\n", "systemd does not see this line", id="line-behind-a-nul"),
        pytest.param(
            b"a /b ext4 " + b"o" * LONGEST_LINE + b" 0 1\n", "systemd reads 'ooo", id="longer-than-glibc-reads"
        ),
    ],
)
def test_line_that_is_read_differently_is_told(content: bytes, evidence: str) -> None:
    (problem,) = (found for found in parse_fstab(content).problems if found.code is Code.LINE_READ_DIFFERENTLY)
    assert problem.evidence.startswith(evidence)
    assert len(problem.evidence) < 3 * LONGEST_SHOWN


@pytest.mark.skipif(not GENERATOR.exists(), reason="there is no systemd on this machine")
def test_systemds_generator_reads_as_our_model_of_getmntent(tmp_path: Path) -> None:
    file = tmp_path / "fstab"
    lines = [
        b"/dev/a /b\\040c ext4 defaults 0 0", b"/dev/b /d\\043e ext4 x 0 0", b"/dev/c /e", b"/dev/d /f ext4 x # c",
        b"/dev/e /g\\\\h ext4", b"/dev/f /h ext4 x\0y", b"/dev/lost /lost ext4 x", b"/dev/g /i ext4 x 0 0\r",
        b"/dev/h /j ext4 " + b"o" * 5000, b"# c", b"/dev/i /k",
    ]  # fmt: skip
    content = b"".join(line + b"\n" for line in lines)
    file.write_bytes(content)
    ours = [(mntent.fsname, mntent.dir, mntent.type) for mntent in read_mntents(content)]
    assert read_by_systemd(file) == ours
    assert b"/dev/lost" not in dict(row[:2] for row in ours)
