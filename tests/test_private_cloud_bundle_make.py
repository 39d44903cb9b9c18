"""A bundle is made whole or not at all, of proven files, the same every time, and goes on where it was killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from migration.errors import Interrupted, InvalidInput, NoSpace, SourceChanged
from migration.workspace import open_workspace
from private_cloud.bundle.contents import Contents, Item
from private_cloud.bundle.make import make_bundle
from tests.bundle_fixtures import (
    CONSOLE,
    DATA,
    SYSTEM,
    bundle_of,
    fill_workspace,
    mounted,
    settings,
    sha256,
    verify,
    workspace_with_contents,
    write_image,
)

PROJECT = Path(__file__).parent.parent


def sums(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("split", [None, 1_500_000, 2_000_000, 10_000_000])
def test_same_contents_make_the_same_bundle(split: int | None, tmp_path: Path) -> None:
    first = bundle_of(tmp_path / "one", tmp_path / "a", split=split)
    second = bundle_of(tmp_path / "two", tmp_path / "b", split=split)
    assert sums(first.path) == sums(second.path)
    assert first.fingerprint == second.fingerprint
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("split", [1_000_000, 1_500_000, 2_000_000])
def test_no_volume_is_larger_than_the_medium(split: int, tmp_path: Path) -> None:
    made = bundle_of(tmp_path / "workspace", tmp_path / "near", split=split)
    sizes = [sum(p.stat().st_size for p in volume.rglob("*") if p.is_file()) for volume in made.path.iterdir()]
    assert len(sizes) == made.volumes > 1
    assert max(sizes) <= split
    answer = verify(made.path / "volume-001/verify.py", made.path, where=tmp_path)
    assert (answer.code, answer.problems) == (0, set())


def test_bundle_that_fits_one_volume_is_proven_from_in_there_and_from_above(tmp_path: Path) -> None:
    made = bundle_of(tmp_path / "workspace", tmp_path / "near", split=10_000_000)
    assert made.volumes == 1
    verifier = made.path / "volume-001/verify.py"
    for argv in ([], [made.path], ["--volume", "1"], ["--assemble", tmp_path / "far"]):
        answer = verify(verifier, *argv, where=tmp_path)
        assert (answer.code, answer.problems) == (0, set())


def test_medium_too_small_for_a_chunk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no room for a chunk"):
        bundle_of(tmp_path / "workspace", tmp_path / "near", split=100_000)
    assert not (tmp_path / "near/web1").exists()


def test_second_run_finds_the_bundle_and_leaves_it_alone(tmp_path: Path) -> None:
    first = bundle_of(tmp_path / "workspace", tmp_path / "near")
    before = {path: path.stat().st_mtime_ns for path in first.path.rglob("*")}
    assert bundle_of(tmp_path / "workspace", tmp_path / "near") == first
    assert {path: path.stat().st_mtime_ns for path in first.path.rglob("*")} == before


def test_bundle_inside_its_own_workspace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="would lie in the workspace"):
        bundle_of(tmp_path / "workspace", tmp_path / "workspace" / "bundles")


def test_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "near/web1").mkdir(parents=True)
    (tmp_path / "near/web1/mine").write_text("mine")
    with pytest.raises(InvalidInput, match="is there already, and is no bundle of this workspace"):
        bundle_of(tmp_path / "workspace", tmp_path / "near")
    assert sums(tmp_path / "near") == {"web1/mine": sha256(tmp_path / "near/web1/mine")}


def test_bundle_with_other_contents_is_left_alone(tmp_path: Path) -> None:
    made = bundle_of(tmp_path / "workspace", tmp_path / "near")
    before = sums(made.path)
    with workspace_with_contents(tmp_path / "workspace") as (workspace, contents):
        (workspace.path / "report.md").write_text("another report\n")
        with pytest.raises(InvalidInput, match="with other contents"):
            make_bundle(workspace, contents, settings(), tmp_path / "near")
    assert sums(made.path) == before


def test_file_that_changed_since_it_was_made_is_not_bundled(tmp_path: Path) -> None:
    with workspace_with_contents(tmp_path / "workspace") as (workspace, contents):
        image = workspace.images / "system.qcow2"
        image.write_bytes(image.read_bytes()[:-1] + b"x")
        with pytest.raises(SourceChanged, match=r"system\.qcow2: it is not the file that it was"):
            make_bundle(workspace, contents, settings(), tmp_path / "near")
    assert not (tmp_path / "near/web1").exists()
    assert not (tmp_path / "near/web1.partial" / SYSTEM).exists()


@pytest.mark.parametrize(
    "path",
    ["../up", "/abs", "a/../b", "a//b", "", "a/", "a\nb", "-x", ".hidden", "manifest.json", "SHA256SUMS.x", "con", "ü",
     "verify.py", "chunks/x", "volume-001/x", "a b", "x.partial", "a" * 200, "\u202ex", "$(id)", "images"],
)  # fmt: skip
def test_name_that_no_far_side_should_meet_is_refused(path: str, tmp_path: Path) -> None:
    with workspace_with_contents(tmp_path / "workspace") as (workspace, contents):
        more = Item(path=path, source=workspace.path / "report.md")
        with pytest.raises(InvalidInput):
            make_bundle(workspace, replace(contents, items=(*contents.items, more)), settings(), tmp_path / "near")
    assert not (tmp_path / "near/web1").exists()


def test_image_is_shared_with_the_workspace_where_it_can_be(tmp_path: Path) -> None:
    image = write_image(tmp_path / "workspace/images/large.raw", 40, 3)  # more than a MiB
    contents = Contents(items=(Item(path="images/large.raw", source=image, sha256=sha256(image)),))
    with open_workspace(tmp_path / "workspace") as workspace:
        made = make_bundle(workspace, contents, settings(link=True), tmp_path / "near")
        copied = make_bundle(workspace, contents, settings(link=False, name="copy"), tmp_path / "near")
    there = made.path / "images/large.raw"
    if there.samefile(image):  # a file system without reflinks
        [(path, fingerprint)] = made.linked
        assert (path, fingerprint.ctime_ns) == (image, image.stat().st_ctime_ns)
    else:
        assert not made.linked
    assert not (copied.path / "images/large.raw").samefile(image)
    assert not copied.linked
    assert verify(made.path / "verify.py", where=tmp_path).code == 0


def test_holes_stay_holes(tmp_path: Path) -> None:
    image = tmp_path / "workspace/images/sparse.raw"
    image.parent.mkdir(parents=True)
    with image.open("wb") as file:
        file.truncate(300 << 20)
        file.seek(100 << 20)
        file.write(b"data")
    contents = Contents(items=(Item(path="images/sparse.raw", source=image, sha256=sha256(image)),))
    with open_workspace(tmp_path / "workspace") as workspace:
        made = make_bundle(workspace, contents, settings(chunk_size=16 << 20), tmp_path / "near")
    assert (made.path / "images/sparse.raw").stat().st_blocks * 512 < 1 << 20
    far = tmp_path / "far"
    assert verify(made.path / "verify.py", "--assemble", far, where=tmp_path).code == 0
    assert (far / "images/sparse.raw").stat().st_blocks * 512 < 1 << 20
    assert (far / "images/sparse.raw").stat().st_size == 300 << 20


def test_stopped_attempt_keeps_what_is_finished(tmp_path: Path) -> None:
    stop = threading.Event()
    with workspace_with_contents(tmp_path / "workspace") as (workspace, contents):

        def stop_late(done: int, total: int) -> None:
            if done > total // 2:
                stop.set()

        with pytest.raises(Interrupted):
            make_bundle(workspace, contents, settings(), tmp_path / "near", progress=stop_late, stop=stop)
        kept = tmp_path / "near/web1.partial" / DATA
        before = kept.stat().st_ino
        made = make_bundle(workspace, contents, settings(), tmp_path / "near")
    assert (made.path / DATA).stat().st_ino == before
    assert verify(made.path / "verify.py", where=tmp_path).code == 0


@pytest.mark.parametrize("damage", ["changed", "other-split", "stranger"])
def test_leftovers_that_do_not_prove_are_made_anew(damage: str, tmp_path: Path) -> None:
    partial = tmp_path / "near/web1.partial"
    with workspace_with_contents(tmp_path / "workspace") as (workspace, contents):
        stop = threading.Event()
        with pytest.raises(Interrupted):
            make_bundle(
                workspace, contents, settings(), tmp_path / "near", stop=stop,
                progress=lambda done, total: stop.set() if done > total // 2 else None,
            )  # fmt: skip
        if damage == "changed":
            (partial / DATA).write_bytes(bytes((partial / DATA).stat().st_size))
        elif damage == "stranger":
            (partial / "deep/down").mkdir(parents=True)
            (partial / "deep/down/link").symlink_to("/etc/passwd")
        changed = settings(split=1_500_000) if damage == "other-split" else settings()
        made = make_bundle(workspace, contents, changed, tmp_path / "near")
    root = made.path / "volume-001" if damage == "other-split" else made.path
    assert verify(root / "verify.py", made.path, where=tmp_path).code == 0


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.bundle_fixtures import settings, workspace_with_contents
from private_cloud.bundle.make import make_bundle
def die(done, total):
    if done >= int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
with workspace_with_contents(Path(sys.argv[1])) as (workspace, contents):
    make_bundle(workspace, contents, settings(split=1_500_000), Path(sys.argv[2]), progress=die)
"""


@pytest.mark.parametrize("after", [0, 1, 200_000, 500_000, 900_000])
def test_killed_attempt_is_gone_on_with(after: int, tmp_path: Path) -> None:
    argv: list[str | Path] = [sys.executable, "-c", KILLED, tmp_path / "workspace", tmp_path / "near", str(after)]
    done = subprocess.run(argv, check=False, cwd=PROJECT)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "near/web1").exists()
    made = bundle_of(tmp_path / "workspace", tmp_path / "near", split=1_500_000)
    again = bundle_of(tmp_path / "elsewhere", tmp_path / "far", split=1_500_000)
    assert sums(made.path) == sums(again.path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
@pytest.mark.parametrize("split", [None, 1_500_000])
def test_full_disk_is_an_error_and_then_it_goes_on(split: int | None, tmp_path: Path) -> None:
    with (
        mounted(tmp_path / "stick", "4m") as stick,
        workspace_with_contents(tmp_path / "workspace") as (space, contents),
    ):
        filler = stick / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(stick).free - 300_000))
        with pytest.raises(NoSpace, match="the bundle needs"):
            make_bundle(space, contents, settings(split=split), stick)
        filler.unlink()

        def fill_up(done: int, _: int) -> None:
            if done and not filler.exists():
                filler.write_bytes(bytes(shutil.disk_usage(stick).free - 200_000))

        with pytest.raises(NoSpace):
            make_bundle(space, contents, settings(split=split), stick, progress=fill_up)
        assert not (stick / "web1").exists()
        filler.unlink()
        made = make_bundle(space, contents, settings(split=split), stick)
        root = made.path if split is None else made.path / "volume-001"
        assert verify(root / "verify.py", made.path, where=tmp_path).code == 0


def test_small_files_are_taken_as_they_are_at_the_beginning(tmp_path: Path) -> None:
    made = bundle_of(tmp_path / "workspace", tmp_path / "near")
    assert (made.path / CONSOLE).read_text() == "login:\n"
    assert (made.path / "report/verdict.json").read_text() == "{}\n"
    assert (made.path / "definitions/empty.txt").read_text() == ""


def test_missing_file_is_named(tmp_path: Path) -> None:
    with open_workspace(tmp_path / "workspace") as workspace:
        contents = fill_workspace(workspace.path)
        (workspace.path / "console.log").unlink()
        with pytest.raises(InvalidInput, match=r"console\.log: there is no such file"):
            make_bundle(workspace, contents, settings(), tmp_path / "near")
