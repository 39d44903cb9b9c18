"""A folder for temporary files is gone with its block, and one that a kill has left is gone at the next start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from migration import scratch
from migration.appliance import open_guest
from migration.disk import Disk
from migration.errors import GuestError, MigrationError
from migration.scratch import scratch_folder
from private_cloud.boot_test import boot_test
from tests.conftest import MIB, ToolMaker
from tests.fstab_check_disks import disk_of

PREFIX = "ferry-guest-"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def leave_behind(temporary: Path, prefix: str = PREFIX) -> Path:
    """Return the folder of a process that was killed while it had one, with a file and a folder in it."""
    program = (
        "import sys; from migration.scratch import scratch_folder\n"
        "with scratch_folder(sys.argv[1]) as folder:\n"
        "    (folder / 'disk-0.qcow2').write_text('layer'); (folder / 'a').mkdir(); (folder / 'a' / 'b').touch()\n"
        "    print(folder, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, prefix], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    ) as victim:  # fmt: skip
        assert victim.stdout is not None
        folder = Path(victim.stdout.readline().strip())
        with scratch_folder(prefix):
            assert (folder / "disk-0.qcow2").exists(), "it is in use"
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    assert (folder / "disk-0.qcow2").exists()
    return folder


def test_scratch_is_private_and_gone_when_its_block_ends_however_it_ends(temporary: Path) -> None:
    with pytest.raises(KeyboardInterrupt), scratch_folder(PREFIX) as folder:  # noqa: PT012  # what it ends with, however
        assert folder.parent == temporary
        assert folder.name.startswith(PREFIX)
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "layers").mkdir()
        (folder / "layers" / "disk-0.qcow2").write_text("layer")
        (folder / "link").symlink_to(temporary)
        raise KeyboardInterrupt
    assert list(temporary.iterdir()) == []


def test_scratch_of_a_killed_process_goes_at_the_next_start_of_its_kind(temporary: Path) -> None:
    folder = leave_behind(temporary)
    with scratch_folder("ferry-boot-"):
        assert folder.exists()
    with scratch_folder(PREFIX) as mine:
        assert list(temporary.iterdir()) == [mine]


def test_scratch_leaves_alone_what_is_not_its_own(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = leave_behind(temporary, "elsewhere-")
    link = temporary / f"{PREFIX}link"
    link.symlink_to(elsewhere)
    foreign = temporary / f"{PREFIX}foreign"  # of an earlier version, or of another program
    foreign.mkdir()
    file = temporary / f"{PREFIX}file"
    file.touch()
    with scratch_folder(PREFIX):
        pass
    assert (elsewhere / "disk-0.qcow2").exists()
    assert link.is_symlink()
    assert foreign.exists()
    assert file.exists()
    link.unlink()
    others = leave_behind(temporary)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with scratch_folder(PREFIX):
        assert others.exists()


def test_scratch_that_was_taken_for_left_over_before_it_was_locked_is_made_anew(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, robbed = scratch._try_lock, list[Path]()

    def late(lock: int) -> bool | None:
        if not robbed:
            robbed.append(Path(f"/proc/self/fd/{lock}").readlink().parent)
            monkeypatch.setattr(scratch, "_try_lock", real)
            scratch._remove_left_over(PREFIX)  # another process, which starts just now
            assert not robbed[0].exists()
        return real(lock)

    monkeypatch.setattr(scratch, "_try_lock", late)
    with scratch_folder(PREFIX) as folder:
        assert folder not in robbed
        (folder / "disk-0.qcow2").touch()
    assert list(temporary.iterdir()) == []


def test_scratch_of_many_at_once_is_each_one_s_own(temporary: Path) -> None:
    def use(number: int) -> None:
        with scratch_folder(PREFIX) as folder:
            (folder / "mine").write_text(str(number))
            assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == ["mine"]
            assert (folder / "mine").read_text() == str(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(400)))
    assert list(temporary.iterdir()) == []


def test_scratch_says_what_keeps_it_from_being_made(temporary: Path) -> None:
    temporary.rmdir()
    with (
        pytest.raises(MigrationError, match="no folder can be made here for temporary files") as refused,
        scratch_folder(PREFIX),
    ):
        pass
    assert "TMPDIR=" in refused.value.remedy


def look(disk: Disk) -> None:
    pytest.importorskip("guestfs")
    with open_guest([disk]):
        pass


def boot(disk: Disk) -> None:
    boot_test([disk])


@pytest.mark.parametrize(("start", "prefix"), [(look, "ferry-guest-"), (boot, "ferry-boot-")], ids=["look", "boot"])
def test_look_and_boot_remove_what_was_left_of_one_before(
    start: Callable[[Disk], None], prefix: str, temporary: Path, tmp_path: Path, fake_tool: ToolMaker
) -> None:
    leave_behind(temporary, prefix)
    (tmp_path / "system.raw").write_bytes(bytes(MIB))
    for tool in ("qemu-img", "qemu-system-x86_64"):
        fake_tool(tool, "exit 1")
    with pytest.raises(GuestError, match="cannot be opened"):
        start(disk_of(tmp_path / "system.raw", "xvda"))
    assert list(temporary.iterdir()) == []
