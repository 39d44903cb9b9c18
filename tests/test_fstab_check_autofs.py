"""The maps of autofs are read as it reads them, and judged by where they lead on each bus."""

from __future__ import annotations

import pytest

from fstab_check.autofs import parse_master
from fstab_check.codes import Code
from fstab_check.guest_files import GuestText
from migration.target import Target
from migration.verdict import Severity
from tests.fstab_check_fixtures import DATA_UUID, autofs_config, finding, judge, oddities

WARNING, INFO = Severity.WARNING, Severity.INFO


def test_master_map_says_place_kind_and_options() -> None:
    text = (
        "# c\n+auto.master\n/misc /etc/auto.misc\n/net -hosts\n"
        "/- file,sun:/etc/direct -ro \\\n --timeout=60\n/l ldap:x\n"
    )
    entries = list(parse_master(GuestText("/etc/auto.master", text)))
    assert [(entry.line, entry.mountpoint, entry.kind, entry.map, entry.options) for entry in entries] == [
        (3, "/misc", "file", "/etc/auto.misc", ""),
        (4, "/net", "file", "-hosts", ""),
        (5, "/-", "file", "/etc/direct", "ro"),
        (7, "/l", "ldap", "x", ""),
    ]


@pytest.mark.parametrize(
    ("entry", "code", "severity"),
    [
        pytest.param("d -fstype=ext4 :/dev/vdb1", Code.AUTOFS_DEVICE, INFO, id="name that other buses lack"),
        pytest.param("d -fstype=ext4,ro :/dev/vdz1", Code.AUTOFS_DEVICE, WARNING, id="no such disk"),
        pytest.param("d -fstype=xfs :/dev/disk/by-label/data", Code.AUTOFS_DEVICE, WARNING, id="another type"),
        pytest.param(f"d -fstype=ext4 :/dev/disk/by-uuid/{DATA_UUID}", None, None, id="uuid"),
        pytest.param("d -rw,hard nas.example:/share", Code.AUTOFS_NETWORK, WARNING, id="nfs"),
        pytest.param("d -fstype=cifs,rw ://smb.example/share", Code.AUTOFS_NETWORK, WARNING, id="cifs"),
        pytest.param("* nas.example:/home/&", Code.AUTOFS_NETWORK, WARNING, id="whatever is asked for"),
        pytest.param("* -fstype=auto :/dev/&", None, None, id="device that is asked for"),
        pytest.param("d -fstype=bind :/srv", None, None, id="path in the guest"),
        pytest.param("d", None, None, id="nothing"),
        pytest.param("+auto.other", None, None, id="included map"),
    ],
)
def test_entry_of_a_map(entry: str, code: Code | None, severity: Severity | None) -> None:
    found = oddities(judge(config=autofs_config(entry)))
    assert [(one.code, one.severity) for one in found] == ([(code, severity)] if code else [])


def test_entry_is_told_with_its_file_line_and_place() -> None:
    config = autofs_config("# c", "a -fstype=ext4 \\", "  /x :/dev/vdz1", master="/- /etc/auto.data")
    found = finding(judge(config=config), Code.AUTOFS_DEVICE)
    assert (found.file, found.line) == ("/etc/auto.data", 2)
    assert "at a/x" in found.message
    several = autofs_config("a /x nas:/x /y :/dev/vdb1")
    found = finding(judge(config=several), Code.AUTOFS_DEVICE)
    assert "at /mnt/auto/a/y" in found.message
    assert Target.VIRTIO not in found.targets
