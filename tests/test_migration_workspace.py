from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from migration.errors import InvalidInput, NoSpace, WorkspaceInUse, WorkspaceMismatch
from migration.storage import check_free_space, format_size
from migration.workspace import open_workspace

OWN = """\
import pathlib, sys, time
from migration.workspace import open_workspace

with open_workspace(pathlib.Path(sys.argv[1])):
    print("mine", flush=True)
    time.sleep(60)
"""


def test_workspace_has_one_owner_and_outlives_its_kill(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", OWN, str(tmp_path / "w")], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"mine\n"
        with pytest.raises(WorkspaceInUse, match=f"process {owner.pid}"), open_workspace(tmp_path / "w"):
            pass
        owner.send_signal(signal.SIGKILL)
    with open_workspace(tmp_path / "w") as workspace:
        assert workspace.disks.is_dir()


def test_workspace_serves_one_migration(tmp_path: Path) -> None:
    with open_workspace(tmp_path / "w") as workspace:
        workspace.claim({"image_id": "m-1", "bucket": "b"})
        workspace.claim({"image_id": "m-1", "bucket": "b"})
        workspace.journal.record("export", "under way")
    with (
        open_workspace(tmp_path / "w") as workspace,
        pytest.raises(WorkspaceMismatch, match="image_id is 'm-1', asked for 'm-2'"),
    ):
        workspace.claim({"image_id": "m-2", "bucket": "b"})


def test_claim_after_which_nothing_was_done_can_be_corrected(tmp_path: Path) -> None:
    with open_workspace(tmp_path / "w") as workspace:
        workspace.claim({"image_id": "m-1", "bucket": "misspelt"})
    with open_workspace(tmp_path / "w") as workspace:
        workspace.claim({"image_id": "m-1", "bucket": "b"})
        workspace.journal.record("export", "under way")
        with pytest.raises(WorkspaceMismatch):
            workspace.claim({"image_id": "m-1", "bucket": "misspelt"})


def test_workspace_is_refused_where_a_file_is_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "w").write_text("")
    with pytest.raises(InvalidInput, match="cannot be a workspace"), open_workspace(tmp_path / "w"):
        pass


def test_free_space_is_checked_with_both_numbers(tmp_path: Path) -> None:
    check_free_space(tmp_path, 1, "a byte")
    with pytest.raises(NoSpace, match=r"the download needs 8\.0 TiB, .* are free"):
        check_free_space(tmp_path, 8 << 40 if os.statvfs(tmp_path) else 0, "the download")


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB"), (3 << 40, "3.0 TiB")]
)
def test_sizes_are_for_people(size: int, text: str) -> None:
    assert format_size(size) == text
