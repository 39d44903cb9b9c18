"""The files beside /etc/fstab: crypttab and the kernel command lines that boot loaders keep."""

from __future__ import annotations

import difflib
import shutil
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fstab_check.boot_syntax import GRUBENV_SIZE, BootFileKind
from fstab_check.codes import Code
from fstab_check.facts import FstabFile
from fstab_check.layout import GuestLayout
from fstab_check.patch import NO_NEWLINE, Change, FilePatch, Patch, diff_lines, render_diff
from fstab_check.repair import ConfigFile, plan_repair
from migration.run import run
from tests.fstab_check_fixtures import (
    DATA_UUID,
    LAYOUT,
    ROOT_UUID,
    SWAP_UUID,
    data_disk,
    filesystem,
    make_guest,
    partition,
    with_disks,
)

LUKS_UUID = "55555555-5555-4555-8555-555555555555"
LAYOUT_WITH_SWAP = with_disks(
    data_disk(3, partition(1, filesystem("swap", SWAP_UUID)), partition(2, filesystem("crypto_LUKS", LUKS_UUID)))
)


def plan(file: ConfigFile, layout: GuestLayout = LAYOUT_WITH_SWAP) -> Patch:
    return plan_repair(make_guest(f"UUID={ROOT_UUID} / ext4 defaults 0 1\n", layout=layout), [file])


def after(kind: BootFileKind | None, content: str, layout: GuestLayout = LAYOUT_WITH_SWAP) -> str:
    patch = plan(ConfigFile(path="/file", kind=kind, content=content.encode()), layout)
    return patch.files[0].after.decode() if patch.files else content


def lefts(kind: BootFileKind | None, content: str, layout: GuestLayout = LAYOUT_WITH_SWAP) -> list[str]:
    return [left.why for left in plan(ConfigFile(path="/file", kind=kind, content=content.encode()), layout).left]


GRUB_CFG = """\
set root='hd0,msdos1'  # GRUB's own name
menuentry 'Linux' {{
\tsearch --no-floppy --fs-uuid --set=root abc
\tlinux16 /boot/vmlinuz root={root} ro net.ifnames=0 resume={resume} quiet
\tinitrd16 /boot/initrd
}}
# linux /boot/vmlinuz root=/dev/vda1
menuentry 'without an initramfs' {{
\tlinux\t/boot/vmlinuz root={bare} ro
}}
"""


def test_root_and_resume_in_a_grub_script_become_what_their_kernel_understands() -> None:
    given_names = GRUB_CFG.format(root="/dev/vda1", resume="/dev/vdd1", bare="/dev/sda1")
    wanted = GRUB_CFG.format(root=f"UUID={ROOT_UUID}", resume=f"UUID={SWAP_UUID}", bare="PARTUUID=1234abcd-01")
    assert after(BootFileKind.GRUB_SCRIPT, given_names) == wanted
    assert after(BootFileKind.GRUB_SCRIPT, wanted) == wanted


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        pytest.param(BootFileKind.GRUB_DEFAULT, 'GRUB_CMDLINE_LINUX="root={} crashkernel=auto"', id="default-grub"),
        pytest.param(BootFileKind.GRUB_DEFAULT, "GRUB_CMDLINE_LINUX_DEFAULT='quiet root={}'\r", id="single-quotes"),
        pytest.param(BootFileKind.LOADER_ENTRY, "initrd /i\noptions  root={} ro $tuned_params", id="loader-entry"),
        pytest.param(BootFileKind.GRUB_SCRIPT, 'set kernelopts="root={} ro"', id="variable"),
        pytest.param(BootFileKind.GRUB_SCRIPT, "title x\n\tkernel /v ro root={}\n\tinitrd /i", id="first-grub"),
    ],
)
def test_root_is_found_wherever_a_command_line_is_kept(kind: BootFileKind, line: str) -> None:
    for name in ("/dev/vda1", "/dev/disk/by-id/virtio-bp1x-part1", "/dev/disk/by-path/pci-0000:00:05.0-part1"):
        assert after(kind, line.replace("{}", name)) == line.replace("{}", f"UUID={ROOT_UUID}")


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        pytest.param(BootFileKind.GRUB_DEFAULT, "#GRUB_CMDLINE_LINUX=root=/dev/vda1", id="comment"),
        pytest.param(BootFileKind.GRUB_DEFAULT, "GRUB_DEVICE=/dev/vda1", id="another-variable"),
        pytest.param(BootFileKind.LOADER_ENTRY, "title root=/dev/vda1", id="title"),
        pytest.param(
            BootFileKind.GRUB_SCRIPT, "linux /v root=LABEL=x root=/dev/mapper/vg-root nfsroot=/dev/vda1", id="names"
        ),
        pytest.param(BootFileKind.GRUB_SCRIPT, "echo root=/dev/vda1", id="another-command"),
    ],
)
def test_what_is_no_device_of_a_command_line_stays(kind: BootFileKind, line: str) -> None:
    assert after(kind, line) == line
    assert lefts(kind, line) == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        pytest.param("root=/dev/vdb1", "the root was found on xvda1", id="another-root"),
        pytest.param("root=/dev/vdx1", "given: xvda", id="root-left-behind"),
        pytest.param("resume=/dev/vdb1", "holds ext4, no swap", id="no-swap"),
    ],
)
def test_device_that_may_be_another_is_left(line: str, why: str) -> None:
    content = f"linux /v {line}\ninitrd /i"
    assert after(BootFileKind.GRUB_SCRIPT, content) == content
    assert why in lefts(BootFileKind.GRUB_SCRIPT, content)[0]


def grubenv(options: str) -> str:
    return f"# GRUB Environment Block\nsaved_entry=x\nkernelopts={options}\n".ljust(GRUBENV_SIZE, "#")


def test_grubenv_keeps_its_size() -> None:
    changed = after(BootFileKind.GRUB_ENVIRONMENT, grubenv("root=/dev/vda1 ro"))
    assert changed == grubenv(f"root=UUID={ROOT_UUID} ro")
    assert after(BootFileKind.GRUB_ENVIRONMENT, changed) == changed


def test_grubenv_without_room_is_left() -> None:
    full = grubenv("root=/dev/vda1 " + "x" * 955)
    assert after(BootFileKind.GRUB_ENVIRONMENT, full) == full
    assert "too few" in lefts(BootFileKind.GRUB_ENVIRONMENT, full)[0]


def test_crypttab_names_its_disk_by_uuid() -> None:
    line = "secret\t{}  /root/key luks,discard # x\r\n# /dev/vdd2\nempty\n"
    assert after(None, line.format("/dev/vdd2")) == line.format(f"UUID={LUKS_UUID}")
    assert after(None, line.format("UUID=x")) == line.format("UUID=x")


@pytest.mark.parametrize(
    ("device", "why"),
    [
        pytest.param("/dev/vdb1", "no LUKS header", id="swap-with-a-fresh-key"),
        pytest.param("/dev/vdx", "leads nowhere", id="left-behind"),
        pytest.param("/dev/disk/by-id/virtio-x", "not known", id="serial-number"),
    ],
)
def test_crypttab_is_left_where_a_mistake_would_be_dear(device: str, why: str) -> None:
    assert after(None, f"swap {device} /dev/urandom swap\n").startswith(f"swap {device} ")
    assert why in lefts(None, f"swap {device} /dev/urandom swap\n")[0]


def test_file_that_could_not_be_read_whole_is_left() -> None:
    guest = make_guest("/dev/vdb1 /data ext4\n", file=FstabFile(failure=Code.FSTAB_TOO_LARGE, evidence="too large"))
    patch = plan_repair(guest, [ConfigFile(path="/etc/crypttab", kind=None, failure="it is a pipe")])
    assert patch.files == ()
    assert [(left.path, left.why) for left in patch.left] == [
        ("/etc/fstab", "too large"),
        ("/etc/crypttab", "it is a pipe"),
    ]


MANY = b"/dev/vdb1 /a ext4\n" + b"\n" * 3900
HOSTILE = b"/dev/vdb1 /\x1b[2J\xff ext4 defaults\r\n\xe2\x80\xae\n/dev/vdc\t/x xfs"


def test_diff_shows_nothing_that_a_terminal_would_obey() -> None:
    text = render_diff(plan_repair(make_guest(HOSTILE)))
    assert f"-/dev/vdb1 /\\x1b[2J\\xff ext4 defaults\\r\n+UUID={DATA_UUID} /\\x1b[2J\\xff ext4 defaults\\r\n" in text
    assert "-/dev/vdc\t/x xfs\n\\ No newline at end of file\n+UUID=" in text
    assert text.replace("\n", "").replace("\t", "").isprintable()


@settings(deadline=None)  # a busy machine is no finding
@given(content=st.one_of(st.just(HOSTILE), st.binary(max_size=60).map(lambda tail: b"/dev/vdb1 /a ext4\n" + tail)))
def test_digest_tells_repairs_apart(content: bytes) -> None:
    one, other = (plan_repair(make_guest(text)) for text in (content, content + b"\n#"))
    assert one.digest == plan_repair(make_guest(content)).digest
    assert one.digest != other.digest


@pytest.mark.skipif(shutil.which("patch") is None, reason="patch is not installed")
def test_diff_is_what_the_patch_program_takes(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("patched")
    for content in (HOSTILE, b"/dev/vdb1 /a ext4\n\n", b"a\nb\n/dev/vdx /a ext4\r\nx:/ /n nfs\r\nc\nd\ne", MANY):
        [file] = plan_repair(make_guest(content)).files
        (folder / "etc").mkdir(exist_ok=True)
        (folder / "etc/fstab").write_bytes(content)
        (folder / "diff").write_bytes(b"".join(diff_lines(file)))
        run(["patch", "--binary", "-s", "-p1", "-d", folder, "-i", folder / "diff"])
        assert (folder / "etc/fstab").read_bytes() == file.after


@settings(deadline=None)
@given(
    length=st.integers(0, 40), changed=st.dictionaries(st.integers(1, 41), st.integers(1, 3)), ends=st.booleans(),
)  # fmt: skip
def test_diff_of_lines_that_are_all_different_is_difflib_s(length: int, changed: dict[int, int], ends: bool) -> None:
    before = [b"line %d" % number for number in range(1, length + 1)]
    changes = [
        Change(line=line, before=before[line - 1], after=b"\n".join([b"new %d" % line] * size), reasons=())
        for line, size in changed.items()
        if line <= length
    ]
    file = FilePatch(path="/f", before=b"\n".join(before) + b"\n" * ends, changes=tuple(changes))
    old, new = (content.splitlines(keepends=True) for content in (file.before, file.after))
    expected = b"".join(
        line if line.endswith(b"\n") else line + b"\n" + NO_NEWLINE
        for line in difflib.diff_bytes(difflib.unified_diff, old, new, b"a/f", b"b/f")
    )
    assert b"".join(diff_lines(file)) == expected


def test_diff_says_no_more_than_what_changes_however_often_a_line_is_there() -> None:
    for blanks in (3900, 400_000):
        text = b"/dev/vdb1 /a ext4\n" + b"\n" * blanks + b"x:/ /n nfs\n" + b"\n" * blanks
        file = FilePatch(
            path="/f", before=text,
            changes=(
                Change(line=1, before=b"/dev/vdb1 /a ext4", after=b"UUID=1 /a ext4", reasons=()),
                Change(line=blanks + 2, before=b"x:/ /n nfs", after=b"# no server\nx:/ /n nfs", reasons=()),
            ),
        )  # fmt: skip
        begin = time.process_time()
        assert b"".join(diff_lines(file)) == (
            b"--- a/f\n+++ b/f\n@@ -1,4 +1,4 @@\n-/dev/vdb1 /a ext4\n+UUID=1 /a ext4\n \n \n \n"
            + b"@@ -%d,6 +%d,7 @@\n \n \n \n+# no server\n x:/ /n nfs\n \n \n" % (blanks - 1, blanks - 1)
        )
        assert time.process_time() - begin < 5


def test_guest_that_needs_nothing_gets_nothing() -> None:
    patch = plan_repair(make_guest(layout=replace(LAYOUT)))
    assert (patch.files, patch.left) == ((), ())
