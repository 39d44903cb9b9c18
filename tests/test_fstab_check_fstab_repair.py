"""What is certain is written by UUID, what is absent no longer stops the boot, all else stays byte by byte."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fstab_check.check import check_guest, follow_lines
from fstab_check.fstab import parse_fstab
from fstab_check.fstab_repair import plan_fstab
from fstab_check.layout import GuestLayout
from fstab_check.line_edit import comment_out, fields_of, replace_fields
from fstab_check.patch import FilePatch, Left
from migration.verdict import Severity
from tests.fstab_check_fixtures import (
    DATA_UUID,
    LAYOUT,
    ROOT_LINE,
    ROOT_UUID,
    SWAP_UUID,
    XFS_LINE,
    XFS_UUID,
    XVDB,
    data_disk,
    filesystem,
    make_guest,
    partition,
    with_disks,
)


def plan(text: str | bytes, **facts: object) -> tuple[FilePatch | None, tuple[Left, ...]]:
    guest = make_guest(text, **facts)  # type: ignore[arg-type]  # passed on
    return plan_fstab(guest, follow_lines(guest))


def repaired(text: str | bytes, **facts: object) -> bytes:
    patch, _ = plan(text, **facts)
    return patch.after if patch else text.encode() if isinstance(text, str) else text


def lefts(text: str | bytes, **facts: object) -> list[tuple[int | None, str]]:
    return [(left.line, left.why) for left in plan(text, **facts)[1]]


@pytest.mark.parametrize(
    ("line", "becomes"),
    [
        pytest.param("/dev/vdb1 /data ext4 defaults 0 0", f"UUID={DATA_UUID} /data ext4 defaults 0 0", id="virtio"),
        pytest.param("/dev/xvdb1 /data ext4 defaults 0 0", f"UUID={DATA_UUID} /data ext4 defaults 0 0", id="xen"),
        pytest.param("/dev/nvme2n1 /srv xfs", f"UUID={XFS_UUID} /srv xfs", id="whole-disk-on-nvme"),
        pytest.param("/dev/vda1 / ext4 defaults 1 1", f"UUID={ROOT_UUID} / ext4 defaults 1 1", id="root"),
        pytest.param(
            "\t/dev/vdb1\t\t/da\\040ta   ext4 defaults\t0 0 # x\r",
            f"\tUUID={DATA_UUID}\t\t/da\\040ta   ext4 defaults\t0 0 # x\r",
            id="blanks-escapes-and-carriage-return-stay",
        ),
        pytest.param(
            "/dev/vdd1 /d ext4 defaults 0 2",
            "/dev/vdd1 /d ext4 defaults,nofail,x-systemd.device-timeout=10s 0 2",
            id="disk-left-behind",
        ),
        pytest.param(
            "LABEL=gone /d ext4 noatime",
            "LABEL=gone /d ext4 noatime,nofail,x-systemd.device-timeout=10s",
            id="tag-of-nothing",
        ),
        pytest.param(
            "/dev/vdd1 /d ext4\r",
            "/dev/vdd1 /d ext4 defaults,nofail,x-systemd.device-timeout=10s\r",
            id="no-options-yet",
        ),
        pytest.param(
            "UUID=x none swap sw 0 0", "UUID=x none swap sw,nofail,x-systemd.device-timeout=10s 0 0", id="swap"
        ),
        pytest.param(
            "/dev/vdd1 /d ext4 x-systemd.device-timeout=1",
            "/dev/vdd1 /d ext4 x-systemd.device-timeout=1,nofail",
            id="timeout-is-set-already",
        ),
        pytest.param(
            "/dev/vdd1 /d ext4 nofail,fail",
            "/dev/vdd1 /d ext4 nofail,fail,nofail,x-systemd.device-timeout=10s",
            id="fail-said-last",
        ),
        pytest.param(f"UUID={XFS_UUID} /srv ext4 noatime", f"UUID={XFS_UUID} /srv xfs noatime", id="wrong-type"),
        pytest.param(f"UUID={DATA_UUID.upper()} /data ext4", None, id="upper-case-of-digits-is-the-same"),
        pytest.param("LABEL=DATA /data ext4", f"UUID={DATA_UUID} /data ext4", id="tag-in-another-case"),
        pytest.param(
            "/dev/disk/by-id/virtio-bp1x /data ext4 defaults",
            "/dev/disk/by-id/virtio-bp1x /data ext4 defaults,nofail,x-systemd.device-timeout=10s",
            id="serial-number-of-who-knows-what",
        ),
        pytest.param("/dev/disk/by-path/pci-0000:00:05.0-part1 / ext4", f"UUID={ROOT_UUID} / ext4", id="slot-of-root"),
        pytest.param("/dev/vdz1 / ext4", f"UUID={ROOT_UUID} / ext4", id="root-that-leads-nowhere"),
        pytest.param(
            "nas.aliyuncs.com:/ /nas nfs vers=3 0 0",
            "# Disabled by Ferry: a server that an offline network does not reach\n"
            "#nas.aliyuncs.com:/ /nas nfs vers=3 0 0",
            id="network",
        ),
        pytest.param(
            "//h/share /smb cifs guest\r",
            "# Disabled by Ferry: a server that an offline network does not reach\r\n#//h/share /smb cifs guest\r",
            id="network-with-carriage-return",
        ),
    ],
)
def test_line_becomes(line: str, becomes: str | None) -> None:
    before = f"# head\n\n{line}\n  # tail"
    assert repaired(before) == f"# head\n\n{line if becomes is None else becomes}\n  # tail".encode()


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("/dev/vdd1 /d ext4 nofail", id="nofail"),
        pytest.param("/dev/vdd1 /d ext4 noauto", id="noauto"),
        pytest.param("/dev/vdd1 /d ext4 x-systemd.automount", id="automount"),
        pytest.param("nas:/ /nas nfs noauto", id="network-noauto"),
        pytest.param("tmpfs /tmp tmpfs defaults 0 0", id="no-disk"),
        pytest.param("/dev/mapper/vg-data /d ext4 nofail", id="volume"),
        pytest.param("#/dev/vdb1 /data ext4", id="comment"),
        pytest.param("/dev/sr0 /cdrom iso9660", id="unknown"),
    ],
)
def test_line_stays(line: str) -> None:
    assert repaired(ROOT_LINE + line) == (ROOT_LINE + line).encode()


def test_bytes_that_are_no_utf_8_stay() -> None:
    assert repaired(b"/dev/vdb1 /\xca\xfd\xbe\xdd ext4 # \xff\n\xff\n") == (
        f"UUID={DATA_UUID} ".encode() + b"/\xca\xfd\xbe\xdd ext4 # \xff\n\xff\n"
    )


def test_what_lies_on_a_mount_that_may_be_missing_no_longer_stops_the_boot() -> None:
    text = (
        "/dev/vdd1 /d ext4 defaults 0 0\n/d/www /var/www none bind 0 0\n"
        f"UUID={DATA_UUID} /d/deep ext4 defaults 0 0\n/d/deep/x /y none bind\n{XFS_LINE}"
        "/nas/x /z none bind\nh:/ /nas nfs\n"
    )
    options = {entry.mountpoint: entry.options for entry in parse_fstab(repaired(text)).entries}
    assert options == {
        "/d": "defaults,nofail,x-systemd.device-timeout=10s",
        "/var/www": "bind,nofail",
        "/d/deep": "defaults,nofail",
        "/y": "bind,nofail",
        "/srv": "defaults",
        "/z": "bind,nofail",
    }


def test_slot_or_serial_number_is_known_once_all_disks_are_there_and_one_is_left() -> None:
    devices = ("xvda", "xvdb", "xvdc")
    link = "/dev/disk/by-id/virtio-bp1x-part1 /data ext4 defaults 0 0\n"
    by_uuid = f"UUID={DATA_UUID} /data ext4 defaults 0 0\n".encode()
    assert repaired(ROOT_LINE + link + XFS_LINE, expected=devices).splitlines()[1] == by_uuid.strip()
    # Where another disk may exist, or another line may mean the same one, or another file system fits, nobody knows.
    twin = "/dev/disk/by-path/virtio-pci-0000:00:06.0-part1 /other ext4 defaults 0 0\n"
    second = with_disks(
        replace(XVDB, partitions=(*XVDB.partitions[:1],)), data_disk(3, partition(1, filesystem("ext4", SWAP_UUID)))
    )
    assert by_uuid not in repaired(ROOT_LINE + link + XFS_LINE)
    assert by_uuid not in repaired(ROOT_LINE + link + XFS_LINE, expected=(*devices, "xvdd"))
    assert by_uuid not in repaired(ROOT_LINE + link + twin, expected=devices)
    assert by_uuid not in repaired(ROOT_LINE + link, layout=second, expected=(*devices, "xvdd"))


COPY = data_disk(3, partition(1, filesystem("ext4", DATA_UUID, "data")))
UNREAD = replace(data_disk(3), unexamined="input/output error")


@pytest.mark.parametrize(
    ("line", "layout", "why"),
    [
        pytest.param("LABEL=data /data ext4", with_disks(COPY), "more than one file system", id="ambiguous"),
        pytest.param("/dev/vdb1 /data ext4", with_disks(COPY), "no UUID that leads to it alone", id="copied-uuid"),
        pytest.param("/dev/vdd /d ext4", with_disks(UNREAD), "could not be examined", id="unread"),
        pytest.param("UUID=x /d ext4", with_disks(UNREAD), "could not be examined", id="may-be-unread"),
        pytest.param("/dev/sr0 /cd iso9660", LAYOUT, "no name of a disk", id="unknown"),
        pytest.param("nas:/root / nfs", LAYOUT, "on a server", id="root-on-a-server"),
        pytest.param("/dev/vdb1 /data xfs", LAYOUT, "xfs is on xvdc", id="mixed-up-disks"),
        pytest.param(
            f"UUID={XFS_UUID} /srv ext4 data=ordered", LAYOUT, "options may be for ext4", id="options-of-type"
        ),
        pytest.param(f"UUID={XFS_UUID} none swap sw", LAYOUT, "see which is meant", id="swap-or-file-system"),
        pytest.param('/dev/vdd1 /d ext4 context="a', LAYOUT, "a quote is open", id="open-quote"),
        pytest.param("/dev/vdb1 /d", LAYOUT, "too few fields", id="two-fields"),
        pytest.param("/dev/vdb1 / ext4", LAYOUT, "this fstab lies on xvda1", id="another-root"),
        pytest.param("/dev/vda1 /x ext4", LAYOUT, "line 1 mounts xvda1 elsewhere", id="mounted-twice"),
    ],
)
def test_line_is_left_with_the_reason(line: str, layout: GuestLayout, why: str) -> None:
    text = f"UUID={ROOT_UUID} /r ext4\n{line}\n"
    assert repaired(text, layout=layout) == text.encode()
    [(number, said)] = lefts(text, layout=layout)
    assert number == 2
    assert why in said


def test_bind_source_that_is_missing_is_left() -> None:
    assert lefts("/gone /here none bind\n", missing=["/gone"])[0][0] == 1


def test_repair_of_what_is_absent_leaves_no_errors() -> None:
    text = ROOT_LINE + "/dev/vdd1 /d ext4 defaults 0 0\nh:/ /nas nfs hard 0 0\nUUID=x /x xfs\n/d/w /w none bind 0 0\n"
    assert check_guest(make_guest(text)).errors
    assert not check_guest(make_guest(repaired(text))).errors


SOURCES = [
    "/dev/vda1", "/dev/vdb1", "/dev/sdb", "/dev/vdc", "/dev/vdd1", f"UUID={DATA_UUID}", f"UUID={XFS_UUID}", "UUID=x",
    "LABEL=DATA", "LABEL=data", "PARTLABEL=data\\040one", "/dev/disk/by-id/virtio-x-part1", "/dev/disk/by-id/virtio-y",
    "/dev/disk/by-path/p", "/d/file", "nas:/x", "//h/s", "tmpfs", "/dev/mapper/vg-x", "/dev/md0", "none", "\udcff",
    "#x",
]  # fmt: skip
FIELDS = st.tuples(
    st.sampled_from(SOURCES),
    st.sampled_from(["/", "/d", "/d/e", "/srv", "/data\\040x", "none", "x", "/\udcca"]),
    st.sampled_from(["ext4", "xfs", "swap", "auto", "none", "nfs", "tmpfs", "vfat", ""]),
    st.sampled_from(["defaults", "bind", "nofail", "noauto", "ro,fail", 'a="', "x-systemd.automount", "data=x", ""]),
    st.sampled_from(["0 0", "1 1", "0", "x", "0 2 # 数", ""]),
)
BLANKS = st.sampled_from([" ", "\t", "   ", " \t"])
ENDS = st.sampled_from(["\n", "\r\n", "\n\n", "\n# c\n", ""])


@st.composite
def fstabs(draw: st.DrawFn) -> bytes:
    text = ""
    for fields in draw(st.lists(FIELDS, max_size=6)):
        text += draw(st.sampled_from(["", " ", "\t"])) + "".join(field + draw(BLANKS) for field in fields if field)
        text += draw(ENDS)
    return text.encode("utf-8", "surrogateescape")


EXPECTED = st.sampled_from([(), ("xvda", "xvdb", "xvdc"), ("xvda", "xvdb", "xvdc", "xvdd")])


@settings(deadline=None)  # a busy machine is no finding
@given(content=st.one_of(fstabs(), st.binary(max_size=200)), expected=EXPECTED)
@example(content=b'/dev/vda1 /d nfs\n/dev/vda1 /d ext4 a=" \n/d/file /d ext4 \n', expected=())  # an open quote
def test_repairing_twice_changes_nothing(content: bytes, expected: tuple[str, ...]) -> None:
    once = repaired(content, expected=expected)
    assert repaired(once, expected=expected) == once


@settings(deadline=None)  # a busy machine is no finding
@given(content=st.one_of(fstabs(), st.binary(max_size=200)), expected=EXPECTED)
def test_everything_outside_the_changed_fields_stays(content: bytes, expected: tuple[str, ...]) -> None:
    patch, _ = plan(content, expected=expected)
    if patch is None:
        return
    changed = {change.line: change for change in patch.changes}
    kept = b"\n".join(
        line if number not in changed else changed[number].after
        for number, line in enumerate(content.split(b"\n"), start=1)
    )
    assert patch.after == kept
    for change in patch.changes:
        if change.after.startswith(b"# Disabled by Ferry: "):
            assert change.after.split(b"\n")[1] == b"#" + change.before
            continue
        before, after = fields_of(change.before), fields_of(change.after)
        rewritten = {
            position: field for position, field in enumerate(after) if before[position : position + 1] != [field]
        }
        assert set(rewritten) <= {0, 2, 3}
        assert replace_fields(change.before, rewritten) == change.after


@settings(deadline=None)  # a busy machine is no finding
@given(content=fstabs(), expected=EXPECTED)
def test_repaired_text_parses_to_what_was_planned(content: bytes, expected: tuple[str, ...]) -> None:
    before, after = make_guest(content, expected=expected), make_guest(repaired(content, expected=expected))
    mounted = {entry.mountpoint for entry in after.fstab.entries}
    assert mounted <= {entry.mountpoint for entry in before.fstab.entries}
    severity = {Severity.ERROR: 2, Severity.WARNING: 1, Severity.INFO: 0}

    def worst(guest_lines: object) -> int:
        return max((severity[finding.severity] for finding in guest_lines), default=0)  # type: ignore[attr-defined]

    assert worst(check_guest(after).findings) <= worst(check_guest(before).findings)


@settings(deadline=None)  # a busy machine is no finding
@given(line=st.binary(max_size=80).filter(lambda line: b"\n" not in line), field=st.binary(min_size=1, max_size=8))
def test_replacing_a_field_by_itself_changes_nothing(line: bytes, field: bytes) -> None:
    fields = fields_of(line)
    assert replace_fields(line, dict(enumerate(fields))) == line
    assert comment_out(line, "why").split(b"\n")[1] == b"#" + line
    with pytest.raises(IndexError):
        replace_fields(line, {len(fields) + 1: field})
