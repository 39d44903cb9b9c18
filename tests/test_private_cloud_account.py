from __future__ import annotations

from dataclasses import replace

import pytest

from private_cloud.account import Account, FstabLine, Mount

API = (
    Mount(point="/", type="ext4", source="/dev/vda1"),
    Mount(point="/proc", type="proc", source="proc"),
    Mount(point="/dev/hugepages", type="hugetlbfs", source="hugetlbfs"),
)


def line(text: str, place: str = "") -> FstabLine:
    source, point, kind, options = [*text.split(" "), "", "", ""][:4]
    return FstabLine(text=text, source=source, point=point, type=kind, options=options, place=place)


def account(*lines: FstabLine, mounts: tuple[Mount, ...] = (), swaps: tuple[str, ...] = ()) -> Account:
    return Account(state="running", mounts=(*API, *mounts), swaps=swaps, lines=lines)


DATA = Mount(point="/data", type="ext4", source="/dev/vdb1")


@pytest.mark.parametrize(
    ("wanted", "mount"),
    [
        pytest.param(line("UUID=1 /data ext4 defaults"), DATA, id="by its mount point"),
        pytest.param(line("UUID=1 /data/ ext4 defaults"), DATA, id="written with a slash at the end"),
        pytest.param(line("UUID=1 //data ext4 defaults"), DATA, id="written with two slashes"),
        pytest.param(line("UUID=1 /link ext4 defaults", place="/data"), DATA, id="behind a symbolic link"),
        pytest.param(line(r"UUID=1 /a\040b ext4"), Mount(point="/a b", type="ext4", source="/dev/vdb1"), id="blank"),
        pytest.param(
            line("UUID=1 /data ext4 x-systemd.automount,nofail"),
            Mount(point="/data", type="autofs", source="systemd-1"),
            id="automount",
        ),
    ],
)
def test_line_is_mounted(wanted: FstabLine, mount: Mount) -> None:
    assert account(wanted, mounts=(mount,)).missing == ()
    assert account(wanted).missing == (wanted,)


@pytest.mark.parametrize(
    ("wanted", "swap"),
    [
        pytest.param(line("/swapfile none swap sw"), "/swapfile", id="file"),
        pytest.param(line("UUID=1 none swap sw,nofail", place="/dev/vdb2"), "/dev/vdb2", id="UUID"),
    ],
)
def test_swap_is_on(wanted: FstabLine, swap: str) -> None:
    assert account(wanted, swaps=("/dev/vdc", swap)).missing == ()
    assert account(wanted, swaps=("/dev/vdc",)).missing == (wanted,)


@pytest.mark.parametrize(
    "text", ["UUID=1 /data ext4 noauto", "UUID=1 /data ext4 ro,noauto,user", "UUID=1 none ext4", "UUID=1", "# swap"]
)
def test_line_that_no_boot_mounts_is_not_missed(text: str) -> None:
    assert account(line(text)).missing == ()


def test_names_are_those_of_systemd_for_what_is_missing() -> None:
    lines = (line('LABEL="more" none swap sw'), line(r"UUID=1 /a\040b/ ext4"), line("UUID=2 /\x1b[31m ext4"))
    names = [one.name for one in account(*lines).missing]
    assert names == ["swap on /dev/disk/by-label/more", "/a b", "/\\x1b[31m"]


def test_mounted_are_the_lines_of_fstab_and_then_other_disks() -> None:
    extra = Mount(point="/var/lib/x", type="xfs", source="/dev/vdc")
    found = account(line("UUID=1 /data ext4"), line("tmpfs /tmp tmpfs"), mounts=(extra, DATA), swaps=("/dev/vdd",))
    assert found.mounted == ("/data", "/", "/var/lib/x", "swap on /dev/vdd")


@pytest.mark.parametrize(
    ("state", "is_up", "is_emergency"),
    [("running", True, False), ("degraded", True, False), ("maintenance", False, True), ("starting", False, False)],
)
def test_state_is_systemds(state: str, is_up: bool, is_emergency: bool) -> None:
    found = Account(state=state, mounts=(), swaps=(), lines=())
    assert (found.says_up, found.is_emergency) == (is_up, is_emergency)


@pytest.mark.parametrize(
    ("text", "mount", "is_told"),
    [
        ("UUID=0 / ext4 errors=remount-ro", Mount(point="/", type="ext4", source="/dev/vda1", is_read_only=True), True),
        ("UUID=1 /data ext4 defaults", replace(DATA, is_read_only=True), True),
        ("UUID=1 /data ext4 ro,nofail", replace(DATA, is_read_only=True), False),
        ("/dev/sr0 /data iso9660 defaults", replace(DATA, is_read_only=True), False),
        ("UUID=1 /data ext4 noauto", replace(DATA, is_read_only=True), False),
        ("UUID=1 /data ext4 defaults", DATA, False),
    ],
)
def test_what_stayed_read_only_is_told_unless_fstab_says_so(text: str, mount: Mount, *, is_told: bool) -> None:
    asked = line(text)
    told = Account(state="running", mounts=(mount,), swaps=(), lines=(asked,))
    assert (told.missing, told.read_only) == ((), (asked,) if is_told else ())
