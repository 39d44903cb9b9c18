"""What was damaged is asked for, made again on the near side, and put in on the far side; volumes become one folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from migration.errors import InvalidInput, SourceChanged
from migration.workspace import open_workspace
from private_cloud.bundle.resend import Resend, make_resend, read_request
from tests.bundle_fixtures import CHUNK, CONSOLE, DATA, SYSTEM, bundle_of, mounted, sha256, verify


def break_in_many_ways(bundle: Path) -> None:
    data = bytearray((bundle / SYSTEM).read_bytes())
    data[0] ^= 1
    data[5 * CHUNK] ^= 1
    data[6 * CHUNK + 9] ^= 1
    (bundle / SYSTEM).write_bytes(data[:-10])
    (bundle / DATA).unlink()
    (bundle / CONSOLE).write_text("more than there was\n")
    (bundle / "definitions/empty.txt").unlink()
    (bundle / "SHA256SUMS").write_text("")
    (bundle / "README.txt").unlink()


def resend(workspace: Path, request: Path, output: Path) -> Resend:
    with open_workspace(workspace) as space:
        return make_resend(space, read_request(request), output)


@pytest.mark.parametrize("split", [None, 1_500_000])
def test_what_is_asked_for_mends_the_bundle(split: int | None, tmp_path: Path) -> None:
    made = bundle_of(tmp_path / "workspace", tmp_path / "near", split=split)
    far = tmp_path / "far"
    if split is None:
        shutil.copytree(made.path, far)
    else:
        assert verify(made.path / "volume-001/verify.py", "--assemble", far, made.path, where=tmp_path).code == 0
    pristine = {path.relative_to(far): sha256(path) for path in far.rglob("*") if path.is_file()}
    shutil.rmtree(made.path)  # the bundle itself has left the near side
    break_in_many_ways(far)
    broken = verify(far / "verify.py", where=tmp_path)
    assert broken.code == 1
    assert f"{SYSTEM} 1,6-7,10\n" in broken.request.read_text()
    assert f"{DATA} 1-6\n" in broken.request.read_text()
    sent = resend(tmp_path / "workspace", broken.request, tmp_path / "stick")
    assert sent.size < 11 * CHUNK  # and not all of it
    mended = verify(far / "verify.py", "--accept", sent.path, where=tmp_path)
    assert (mended.code, mended.problems) == (0, set())
    assert {path.relative_to(far): sha256(path) for path in far.rglob("*") if path.is_file()} == pristine
    done = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=sent.path, check=False)
    assert done.returncode == 0


def test_request_can_be_typed_by_hand(tmp_path: Path) -> None:
    made = bundle_of(tmp_path / "workspace", tmp_path / "near")
    request = tmp_path / "typed"
    request.write_text(
        f"ferry-resend 1\n\nBundle {made.fingerprint.upper()}\n{SYSTEM} 2, 4-5\n{CONSOLE}\n".replace("Bundle", "bundle")
    )
    sent = resend(tmp_path / "workspace", request, tmp_path)
    assert sorted(path.name for path in (sent.path / "chunks").rglob("*.chunk-*")) == [
        "console.log.chunk-000001", "system.qcow2.chunk-000002", "system.qcow2.chunk-000004",
        "system.qcow2.chunk-000005"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "", "nonsense", "ferry-resend 1\n", "ferry-resend 1\nbundle 12\n", "ferry-resend 1\nbundle ../../etc\n",
        "ferry-resend 1\nbundle {}\nimages/none 1\n", "ferry-resend 1\nbundle {}\n../../etc/passwd 1\n",
        "ferry-resend 1\nbundle {}\nimages/system.qcow2 0\n", "ferry-resend 1\nbundle {}\nimages/system.qcow2 11\n",
        "ferry-resend 1\nbundle {}\nimages/system.qcow2 x\n",
        "ferry-resend 1\nbundle {}\nimages/system.qcow2 1-999999999\n",
        "ferry-resend 1\nbundle {}\n", "ferry-resend 1\nbundle {}\nimages/system.qcow2 7-3\n",
        "ferry-resend 1\nbundle 00000000000000000000000000000000\n", "ferry-resend 1\nbundle {}\n\xff 1\n",
    ],
)  # fmt: skip
def test_request_that_cannot_be_meant_is_refused(text: str, tmp_path: Path) -> None:
    made = bundle_of(tmp_path / "workspace", tmp_path)
    request = tmp_path / "request"
    request.write_text(text.format(made.manifest_sha256), encoding="latin-1")
    with pytest.raises(InvalidInput):
        resend(tmp_path / "workspace", request, tmp_path / "stick")
    assert not (tmp_path / "stick").exists()


def test_image_that_is_another_now_is_not_sent(tmp_path: Path) -> None:
    made = bundle_of(tmp_path / "workspace", tmp_path)
    (tmp_path / "workspace/images/system.qcow2").write_bytes(b"x" * CHUNK * 10)
    request = tmp_path / "request"
    request.write_text(f"ferry-resend 1\nbundle {made.manifest_sha256}\n{SYSTEM} 1\n")
    with pytest.raises(SourceChanged, match="not what was bundled"):
        resend(tmp_path / "workspace", request, tmp_path / "stick")


def test_chunk_that_was_damaged_on_its_way_is_not_put_in(tmp_path: Path) -> None:
    far = bundle_of(tmp_path / "workspace", tmp_path).path
    (far / DATA).write_bytes(bytes([7]) + (far / DATA).read_bytes()[1:])
    sent = resend(tmp_path / "workspace", verify(far / "verify.py", where=tmp_path).request, tmp_path / "stick")
    [chunk] = (sent.path / "chunks").rglob("*.chunk-*")
    chunk.write_bytes(bytes(CHUNK))
    before = sha256(far / DATA)
    answer = verify(far / "verify.py", "--accept", sent.path, where=tmp_path)
    assert (answer.code, answer.problems) == (1, {("DAMAGED", DATA, 1)})
    assert "what was sent of it is not what was asked for" in answer.detail(DATA, 1)
    assert sha256(far / DATA) == before
    assert f"{DATA} 1\n" in answer.request.read_text()


def test_pieces_of_another_bundle_are_refused(tmp_path: Path) -> None:
    far = bundle_of(tmp_path / "workspace", tmp_path).path
    other = bundle_of(tmp_path / "workspace2", tmp_path / "other", name="web2").path
    before = {path: sha256(path) for path in far.rglob("*") if path.is_file()}
    answer = verify(far / "verify.py", "--accept", other, where=tmp_path)
    assert (answer.code, "belongs to another bundle" in answer.said["error"]) == (1, True)
    assert {path: sha256(path) for path in far.rglob("*") if path.is_file()} == before


def test_damaged_manifest_is_put_in_too(tmp_path: Path) -> None:
    far = bundle_of(tmp_path / "workspace", tmp_path).path
    (far / "manifest.json").write_text("{}")
    broken = verify(far / "verify.py", where=tmp_path)
    assert broken.problems == {("MANIFEST", "manifest.json", 0)}
    sent = resend(tmp_path / "workspace", broken.request, tmp_path / "stick")
    assert verify(far / "verify.py", "--accept", sent.path, where=tmp_path).code == 0


def disc_by_disc(made: Path) -> Iterator[Path]:
    yield from sorted(made.iterdir(), reverse=True)


def test_volumes_are_put_together_one_disc_after_the_other(tmp_path: Path) -> None:
    made = bundle_of(tmp_path / "workspace", tmp_path / "near", split=1_500_000)
    far, codes = tmp_path / "far", []
    for disc in disc_by_disc(made.path):
        # Each disc is in the drive alone, read-only, and the verifier on it is the one that runs.
        answer = verify(disc / "verify.py", "--assemble", far, where=tmp_path)
        codes.append(answer.code)
        for path in (SYSTEM, DATA):
            assert not (far / path).exists() or sha256(far / path) == sha256(tmp_path / "workspace" / path)
    assert codes == [1] * (made.volumes - 1) + [0]
    for path in (SYSTEM, DATA):
        assert sha256(far / path) == sha256(tmp_path / "workspace" / path)
    assert not list(far.rglob("*.partial"))
    assert (far / SYSTEM).stat().st_size == 9 * CHUNK + 1000


def test_volumes_that_are_still_to_come_are_no_damage(tmp_path: Path) -> None:
    made = bundle_of(tmp_path / "workspace", tmp_path / "near", split=1_500_000)
    disc = made.path / "volume-001"
    argv: list[str | Path] = [
        sys.executable,
        disc / "verify.py",
        "--request",
        tmp_path / "request",
        "--assemble",
        tmp_path / "far",
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "NOT WHOLE YET" in done.stdout
    assert "go on with the next volume" in done.stdout


def first_disc_of_system(made: Path) -> Path:
    [part] = made.glob("volume-*/images/system.qcow2.part-0001")
    return part.parents[1]


def test_assembling_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    made = bundle_of(tmp_path / "workspace", tmp_path / "near", split=1_500_000)
    far = tmp_path / "far"
    disc = first_disc_of_system(made.path)
    assert verify(disc / "verify.py", "--assemble", far, where=tmp_path).code == 1
    [partial] = far.rglob("system.qcow2.partial")
    with partial.open("r+b") as file:  # a chunk of which only the beginning came
        file.seek(CHUNK // 2)
        file.write(b"half" * 100)
    answer = verify(made.path / "volume-001/verify.py", "--assemble", far, made.path, where=tmp_path)
    assert answer.code == 0
    assert sha256(far / SYSTEM) == sha256(tmp_path / "workspace" / SYSTEM)


def test_damaged_part_leaves_no_image_under_its_name(tmp_path: Path) -> None:
    made = bundle_of(tmp_path / "workspace", tmp_path / "near", split=1_500_000)
    part = next(iter(sorted(made.path.glob("volume-*/images/system.qcow2.part-0001"))))
    part.write_bytes(b"y" + part.read_bytes()[1:])
    far = tmp_path / "far"
    answer = verify(made.path / "volume-001/verify.py", "--assemble", far, made.path, where=tmp_path)
    assert answer.code == 1
    assert ("DAMAGED", SYSTEM, 1) in answer.problems
    assert not (far / SYSTEM).exists()
    assert answer.request.read_text().splitlines()[2:] == [f"{SYSTEM} 1"]
    sent = resend(tmp_path / "workspace", answer.request, tmp_path / "stick")
    assert verify(far / "verify.py", "--accept", sent.path, where=tmp_path).code == 0
    assert sha256(far / SYSTEM) == sha256(tmp_path / "workspace" / SYSTEM)


@pytest.mark.parametrize("what", ["link", "folder", "full", "volumes"])
def test_nothing_is_written_where_something_else_lies(what: str, tmp_path: Path) -> None:
    made = bundle_of(tmp_path / "workspace", tmp_path / "near", split=1_500_000).path
    far, victim = tmp_path / "far", tmp_path / "victim"
    victim.write_text("precious")
    if what == "volumes":
        shutil.copytree(made, far)
    else:
        verify(first_disc_of_system(made) / "verify.py", "--assemble", far, where=tmp_path)
        if what == "link":
            next(far.rglob("system.qcow2.partial")).unlink()
            (far / SYSTEM).symlink_to(victim)
        elif what == "folder":
            shutil.rmtree(far / "images")
            (far / "images").symlink_to(tmp_path)
        else:
            far = tmp_path / "other"
            far.mkdir()
            (far / "mine").write_text("mine")
    answer = verify(made / "volume-001/verify.py", "--assemble", far, made, where=tmp_path)
    assert answer.code in (1, 2)
    assert answer.said["error"]
    assert victim.read_text() == "precious"
    assert not (tmp_path / "system.qcow2").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_full_disk_is_seen_before_anything_is_written(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "4m") as small_disk:
        check_full_disk(small_disk, tmp_path)


def check_full_disk(small_disk: Path, tmp_path: Path) -> None:
    made = bundle_of(tmp_path / "workspace", tmp_path / "near", split=1_500_000)
    (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free - 500_000))
    answer = verify(made.path / "volume-001/verify.py", "--assemble", small_disk / "b", made.path, where=tmp_path)
    assert answer.code == 6
    assert "are needed" in answer.said["error"]
    (small_disk / "filler").unlink()
    assert (
        verify(made.path / "volume-001/verify.py", "--assemble", small_disk / "b", made.path, where=tmp_path).code == 0
    )


def test_unsplit_bundle_can_be_copied_by_the_verifier(tmp_path: Path) -> None:
    made = bundle_of(tmp_path / "workspace", tmp_path / "near").path
    far = tmp_path / "far"
    assert verify(made / "verify.py", "--assemble", far, where=tmp_path).code == 0
    sums = {
        folder: {path.relative_to(folder): sha256(path) for path in folder.rglob("*") if path.is_file()}
        for folder in (made, far)
    }  # fmt: skip
    assert sums[made] == sums[far]
