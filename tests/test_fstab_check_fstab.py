"""The parser reads what systemd and libmount read, and never fails on what a guest may write.

That it reads so is held to the real readers in `test_fstab_check_readers`.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fstab_check.codes import Code
from fstab_check.fstab import Entry, parse_fstab

VENDOR_FSTAB = """\
#
# /etc/fstab
# Created by anaconda on Thu Mar  7 06:38:37 2019
#
UUID=1114fe9e-2309-4580-b183-d778e6d97397 /                       ext4    defaults        1 1
# 数据盘
/dev/vdb1 /mnt ext4 defaults 0 0
\tUUID="a-b"\t/data\txfs\tdefaults,nofail,x-systemd.device-timeout=10\t0\t2
"""


def entry_of(line: bytes | str) -> Entry:
    content = line.encode() if isinstance(line, str) else line
    (entry,) = parse_fstab(content).entries
    return entry


def codes_of(content: bytes) -> list[Code]:
    return [problem.code for problem in parse_fstab(content).problems]


def test_parse_fstab_reads_the_vendors_style() -> None:
    fstab = parse_fstab(VENDOR_FSTAB.encode())
    assert [(entry.line, entry.source, entry.mountpoint, entry.fstype) for entry in fstab.entries] == [
        (5, "UUID=1114fe9e-2309-4580-b183-d778e6d97397", "/", "ext4"),
        (7, "/dev/vdb1", "/mnt", "ext4"),
        (8, 'UUID="a-b"', "/data", "xfs"),
    ]
    assert [(entry.freq, entry.passno) for entry in fstab.entries] == [(1, 1), (0, 0), (0, 2)]
    assert fstab.problems == ()


def test_entry_keeps_its_line_as_it_stands() -> None:
    assert entry_of("  /dev/vdb1\t /a\\040b  ext4  \n").raw == "  /dev/vdb1\t /a\\040b  ext4  "


@pytest.mark.parametrize(
    ("field", "meaning"),
    [
        pytest.param(rb"/a\040b", "/a b", id="blank"),
        pytest.param(rb"/a\011b", "/a\tb", id="tab"),
        pytest.param(rb"/a\012b", "/a\nb", id="newline"),
        pytest.param(rb"/a\134b", "/a\\b", id="backslash"),
        pytest.param(rb"/\346\225\260", "/数", id="utf-8-byte-by-byte"),
        pytest.param(rb"/a\04", "/a\\04", id="too-few-digits"),
        pytest.param(rb"/a\089", "/a\\089", id="not-octal"),
        pytest.param(rb"/a\000b", "/a", id="nul-ends-the-field"),
        pytest.param(b"/\xff", "/\udcff", id="not-utf-8"),
        pytest.param("/数据".encode(), "/数据", id="utf-8"),
    ],
)
def test_entry_unescapes(field: bytes, meaning: str) -> None:
    assert entry_of(b"/dev/vdb1 " + field + b" ext4 defaults 0 0").mountpoint == meaning


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(b"/dev/vdb1 /a", Code.LINE_INCOMPLETE, id="no-type"),
        pytest.param(b"/dev/vdb1", Code.LINE_INCOMPLETE, id="one-field"),
        pytest.param(b"/dev/vdb1 /a ext4 defaults x 0", Code.LINE_NUMBER_INVALID, id="freq-is-a-word"),
        pytest.param(b"/dev/vdb1 /a ext4 defaults 0 1x", Code.LINE_NUMBER_INVALID, id="passno-is-half-a-number"),
        pytest.param(b"/dev/vdb1 /a ext4 defaults # data", Code.LINE_NUMBER_INVALID, id="comment-behind-the-fields"),
        pytest.param(b"/dev/\0vdb1 /a ext4", Code.LINE_BROKEN, id="nul"),
        pytest.param(b"/dev/vdb1 /a ext4 defaults\r", Code.FSTAB_CRLF, id="carriage-return-in-the-options"),
        pytest.param(b"/dev/vdb1 /\xff ext4", Code.FSTAB_ENCODING, id="not-utf-8"),
        pytest.param(b"/dev/vdb1 /\xc2\x9b31m ext4", Code.FSTAB_CONTROL_CHARACTERS, id="c1-control"),
        pytest.param(b"/dev/vdb1 /\x1b[2J ext4", Code.FSTAB_CONTROL_CHARACTERS, id="escape-sequence"),
        pytest.param(rb"/dev/vdb1 /\011[2J ext4", Code.FSTAB_CONTROL_CHARACTERS, id="escaped-control-character"),
    ],
)
def test_parse_fstab_reports(line: bytes, expected: Code) -> None:
    assert codes_of(b"# comment\n" + line + b"\n") == [expected]
    assert parse_fstab(b"# comment\n" + line).problems[0].line == 2


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"/dev/vdb1 /a ext4 defaults 0 0\r\n", id="carriage-return-behind-a-number"),
        pytest.param(b"/dev/vdb1 /a ext4 defaults 0 0 7 8\n", id="more-fields"),
        pytest.param(b"/dev/vdb1 /a ext4\n", id="three-fields"),
        pytest.param(b"/dev/vdb1 /a ext4 defaults 0 0", id="no-newline-at-the-end"),
        pytest.param(b"\n \n\t#x\n#\n\r\n/dev/vdb1 /a ext4\n", id="blank-and-comment-lines"),
    ],
)
def test_parse_fstab_takes_without_a_word(line: bytes) -> None:
    fstab = parse_fstab(line)
    assert fstab.problems == ()
    assert fstab.entries[0].source == "/dev/vdb1"
    assert fstab.entries[0].is_valid


@pytest.mark.parametrize(
    "line", ["/dev/vdb1 /a", "/dev/vdb1 /a ext4 defaults # data"], ids=["no-type", "comment-behind-the-fields"]
)
def test_entry_that_mount_ignores_is_kept_since_systemd_acts_on_it(line: str) -> None:
    assert entry_of(line).mountpoint == "/a"
    assert not entry_of(line).is_valid


@pytest.mark.parametrize(
    ("options", "noauto", "nofail", "automount", "netdev", "bind"),
    [
        pytest.param("defaults", False, False, False, False, False, id="defaults"),
        pytest.param("noauto", True, False, False, False, False, id="noauto"),
        pytest.param("noauto,auto", False, False, False, False, False, id="the-last-of-noauto-auto"),
        pytest.param("noauto,auto,noauto", True, False, False, False, False, id="the-very-last-of-noauto-auto"),
        pytest.param("rw,nofail", False, True, False, False, False, id="nofail"),
        pytest.param("nofail,fail", False, False, False, False, False, id="the-last-of-nofail-fail"),
        pytest.param("x-systemd.automount", False, False, True, False, False, id="automount"),
        pytest.param("comment=systemd.automount", False, False, True, False, False, id="old-automount"),
        pytest.param("_netdev", False, False, False, True, False, id="netdev"),
        pytest.param("rbind", False, False, False, False, True, id="rbind"),
        pytest.param("context=nofail", False, False, False, False, False, id="not-a-value"),
        pytest.param('context="a,nofail"', False, False, False, False, False, id="not-inside-quotes"),
        pytest.param("nofailure", False, False, False, False, False, id="not-a-part-of-a-word"),
    ],
)
def test_entry_answers_what_its_options_mean(
    options: str, noauto: bool, nofail: bool, automount: bool, netdev: bool, bind: bool
) -> None:
    entry = entry_of(f"/dev/vdb1 /a ext4 {options} 0 0")
    answers = (entry.is_noauto, entry.is_nofail, entry.is_automount, entry.is_netdev, entry.is_bind)
    assert answers == (noauto, nofail, automount, netdev, bind)


def test_entry_for_root_cannot_be_left_out() -> None:
    entry = entry_of("/dev/vda1 / ext4 nofail,noauto 0 0")
    assert entry.is_root
    assert not entry.is_nofail
    assert not entry.is_noauto


def test_mount_options_keep_their_values() -> None:
    entry = entry_of("/dev/vdb1 /a ext4 rw,,x-systemd.device-timeout=10s,a=b=c 0 0")
    assert entry.mount_options == {"rw": "", "x-systemd.device-timeout": "10s", "a": "b=c"}


def test_parse_fstab_takes_numbers_that_python_refuses() -> None:
    assert entry_of("/dev/vdb1 /a ext4 defaults " + "9" * 10_000 + " 1\n").passno == 1


@given(st.binary(max_size=400))
def test_parse_fstab_takes_any_bytes(content: bytes) -> None:
    fstab = parse_fstab(content)
    lines = content.split(b"\n")
    for entry in fstab.entries:
        raw = entry.raw.encode("utf-8", "surrogateescape")
        assert raw in (lines[entry.line - 1], lines[entry.line - 1][:-1])
        assert entry.mount_options is not None


WORDS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1, max_size=20)


def escaped(word: str) -> str:
    """Write a field as `mount` writes it into mtab: everything that could end it, by its number."""
    return "".join(f"\\{ord(char):03o}" if char in " \t\n\r\\#" else char for char in word)


@given(st.tuples(WORDS, WORDS, WORDS, WORDS))
def test_parse_fstab_gives_back_what_was_escaped(words: tuple[str, str, str, str]) -> None:
    entry = entry_of(" ".join(map(escaped, words)) + " 0 0\n")
    assert (entry.source, entry.mountpoint, entry.fstype, entry.options) == words
