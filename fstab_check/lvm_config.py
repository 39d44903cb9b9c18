"""Parses which disks the guest's LVM looks at: the filters of lvm.conf, and the devices file.

Sources: man 5 lvm.conf, the comments of lvm.conf itself, LVM's `filter-regex.c`, man 8 lvmdevices.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from fstab_check.guest_files import GuestText

FILES = ("/etc/lvm/lvm.conf", "/etc/lvm/lvmlocal.conf")  # the second overrides the first
DEVICES_FILE = "/etc/lvm/devices/system.devices"
MAX_PATTERNS = 100
MAX_LISTED = 1000  # lines of the devices file

# What stays as it is when the disks move; all other types are the machine's, the hypervisor's or the kernel's names.
TRAVELLING_IDS = frozenset({"md_uuid", "crypt_uuid", "lvmlv_uuid", "loop_file"})

_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\]|\\.)*"|'[^']*')|(?P<comment>\#[^\n]*)|(?P<mark>[{}\[\]=,])"""
    r"""|(?P<word>[^\s{}\[\]=,#"']+)|(?P<newline>\n)"""
)
# One name is matched a few characters long, but a pattern of nested repetitions takes for ever even on that.
_FOLLOWED = re.compile(r"(?:[\w/:. ^$|-]|\\[.|/-]|\[\^?[\w-]+\]|\((?:[\w/|^-])*\)|[*+?](?![*+?]))*")
_MAX_PATTERN = 200
_MAX_REPETITIONS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class LvmFilter:
    """`filter` or `global_filter`, which stands at `line` of `file`; `patterns` are as they are written there."""

    file: str
    line: int
    name: str
    patterns: tuple[str, ...]

    def accepts(self, path: str) -> bool | None:
        """Return whether LVM looks at the device of this name; None where that cannot be told.

        The first pattern that matches counts; what none matches is accepted. udev's other names of the device are
        names too, and one that is accepted is enough.
        """
        by_link = False
        for pattern in self.patterns:
            accept, regex = pattern[:1], _regex_of(pattern)
            if accept not in {"a", "r"} or regex is None:
                return None
            by_link = by_link or (accept == "a" and "disk" in pattern)
            if regex.search(path):
                return True if accept == "a" else None if by_link else False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedDevice:
    """A line of the devices file. `pvid` is the UUID of the physical volume without dashes."""

    line: int
    id_type: str
    id_name: str
    pvid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LvmConfig:
    """What was read; `listed` is None where there is no devices file, `uses_devices_file` where nothing says."""

    filters: tuple[LvmFilter, ...] = ()
    uses_devices_file: bool | None = None
    listed: tuple[ListedDevice, ...] | None = None

    @property
    def has_devices_file(self) -> bool:
        """Whether the devices file counts: where lvm.conf is silent, the distribution that wrote one uses it."""
        return self.listed is not None and self.uses_devices_file is not False


def parse_lvm_config(files: Iterable[GuestText], devices_file: GuestText | None) -> LvmConfig:
    """Parse lvm.conf and what overrides it, in this order, and the devices file; nothing makes this raise."""
    filters: dict[str, LvmFilter] = {}
    uses = None
    for file in files:
        for name, line, values in _settings(file.text):
            if name in {"devices/filter", "devices/global_filter"}:
                short = name.partition("/")[2]
                filters[short] = LvmFilter(file=file.path, line=line, name=short, patterns=tuple(values[:MAX_PATTERNS]))
            elif name == "devices/use_devicesfile" and values:
                uses = values[0] != "0"
    listed = None if devices_file is None else tuple(_listed(devices_file.text))
    return LvmConfig(filters=tuple(filters.values()), uses_devices_file=uses, listed=listed)


def _settings(text: str) -> Iterable[tuple[str, int, list[str]]]:
    """Yield each setting with its path ("devices/filter"), its line and its values."""
    sections: list[str] = []
    line, name, begun, values = 1, "", 1, list[str]()
    word, in_list, in_value = "", False, False
    for match in _TOKEN.finditer(text):
        kind, piece = match.lastgroup, match[0]
        if kind in {"word", "string"}:
            if in_value:
                values.append(_unquoted(piece))
            else:
                word = piece
        elif piece == "{":
            sections.append(word)
        elif piece == "}":
            sections = sections[:-1]
        elif piece == "=":
            name, begun, values, in_value = "/".join([*sections, word]), line, [], True
        elif piece in {"[", "]"}:
            in_list = piece == "["
        if in_value and not in_list and (values or piece == "]"):
            yield name, begun, values
            in_value = False
        line += piece.count("\n")


def _unquoted(piece: str) -> str:
    if piece[0] == '"':
        return re.sub(r"\\(.)", r"\1", piece[1:-1])
    return piece[1:-1] if piece[0] == "'" else piece


def _regex_of(pattern: str) -> re.Pattern[str] | None:
    """Return what LVM compares with, None for what is no pattern, or for one that Python might read otherwise."""
    ends = {"(": ")", "[": "]", "{": "}"}
    separator = pattern[1:2]
    body = pattern[2:-1]
    if len(pattern) < 3 or pattern[-1] != ends.get(separator, separator) or len(pattern) > _MAX_PATTERN:
        return None
    if not _FOLLOWED.fullmatch(body) or sum(body.count(sign) for sign in "*+?") > _MAX_REPETITIONS:
        return None
    try:
        return re.compile(body)
    except re.error:
        return None


def _listed(text: str) -> Iterable[ListedDevice]:
    for number, line in enumerate(text.split("\n")[:MAX_LISTED], start=1):
        said = dict(word.partition("=")[::2] for word in line.split() if "=" in word)
        if "IDTYPE" in said and not line.lstrip().startswith("#"):
            pvid = said.get("PVID", "").replace("-", "")
            yield ListedDevice(line=number, id_type=said["IDTYPE"], id_name=said.get("IDNAME", ""), pvid=pvid)
