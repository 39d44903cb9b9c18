"""`ferry bundle` and `ferry verify-bundle` as the operator types them, on a workspace with real conversions."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from converters.convert import convert_disk
from flows.bundle_contents import find_contents, remember_links
from migration.disk import Disk, DiskFormat
from migration.errors import InvalidInput
from migration.workspace import Workspace, open_workspace
from private_cloud.bundle.contents import BundleSettings
from private_cloud.bundle.make import make_bundle
from private_cloud.bundle.medium import parse_medium

REPORT = {"version": 1, "verdict": {"root": "xvda1", "findings": []}}


def ferry(*argv: str | Path, where: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ferry", *map(str, argv)]
    project = str(Path(__file__).parent.parent)
    code = f"import sys, runpy; sys.path.insert(0, {project!r}); runpy.run_module('ferry', run_name='__main__')"
    command = [sys.executable, "-c", code, *map(str, argv)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=where)


def convert_all(workspace: Workspace, disks: tuple[Disk, ...], to: DiskFormat) -> None:
    for disk in disks:
        convert_disk(workspace, disk, to)


@pytest.fixture
def workspace(tmp_path: Path, raw_disks: tuple[Disk, ...]) -> Path:
    """Return a workspace with qcow2 of three disks, vmdk of one, a report, a console, a definition."""
    with open_workspace(tmp_path / "web1") as space:
        convert_all(space, raw_disks, DiskFormat.QCOW2)
        convert_all(space, raw_disks[:1], DiskFormat.VMDK)
        space.report.write_text("# web1\n")
        space.report.with_suffix(".json").write_text(json.dumps(REPORT))
        space.console.write_text("login:\n")
        definition = space.path / "definitions/libvirt/domain.xml"
        definition.parent.mkdir(parents=True)
        definition.write_text("<domain/>\n")
    return tmp_path / "web1"


def test_workspace_becomes_a_bundle_that_proves_itself(workspace: Path, tmp_path: Path) -> None:
    done = ferry("bundle", "-w", workspace, "-o", tmp_path / "out", "--json", where=tmp_path)
    assert done.returncode == 0, done.stderr
    bundle = json.loads(done.stdout)["bundle"]
    found = {str(path.relative_to(bundle["path"])) for path in Path(bundle["path"]).rglob("*") if path.is_file()}
    assert found == {
        "README.txt", "SHA256SUMS", "manifest.json", "manifest.sha256", "verify.py",
        "images/system.qcow2", "images/system.vmdk", "images/data_xvdb.qcow2", "images/data_xvdc.qcow2",
        "report/report.md", "report/report.json", "report/verdict.json", "logs/console.log",
        "definitions/libvirt/domain.xml",
    }  # fmt: skip
    manifest = json.loads(Path(bundle["path"], "manifest.json").read_text())
    assert {"ferry-migration", "python", "qemu-img"} <= set(manifest["provenance"]["versions"])
    assert [image["device"] for image in manifest["provenance"]["images"]] == ["xvdb", "xvdc", "xvda", "xvda"]
    assert str(workspace) not in json.dumps(manifest)
    proven = ferry("verify-bundle", bundle["path"], "--fingerprint", bundle["fingerprint"], where=tmp_path)
    assert (proven.returncode, proven.stdout.splitlines()[-1].split(":")[0]) == (0, "WHOLE"), proven.stdout


def test_broken_image_goes_the_whole_way_round(workspace: Path, tmp_path: Path) -> None:
    made = ferry("bundle", "-w", workspace, "-o", "out", "--name", "b", "--copy", "-t", "qcow2", where=tmp_path)
    assert made.returncode == 0, made.stderr
    fingerprint = made.stdout.split("fingerprint: ")[1].splitlines()[0]
    image = tmp_path / "out/b/images/system.qcow2"
    image.write_bytes(b"x" + image.read_bytes()[1:])
    broken = ferry("verify-bundle", "out/b", where=tmp_path)
    assert broken.returncode == 1
    assert "DAMAGED: images/system.qcow2 chunk 1: bytes 0-" in broken.stdout
    assert fingerprint in broken.stdout
    sent = ferry("bundle", "-w", workspace, "-o", "stick", "--resend", "resend-request.txt", where=tmp_path)
    assert sent.returncode == 0, sent.stderr
    [folder] = (tmp_path / "stick").iterdir()
    mended = ferry("verify-bundle", "out/b", "--accept", folder, where=tmp_path)
    assert mended.returncode == 0, mended.stdout + mended.stderr


def test_sharing_an_image_does_not_have_it_converted_again(
    tmp_path: Path, raw_disks: tuple[Disk, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_workspace(tmp_path / "web1") as space:
        convert_all(space, raw_disks[:1], DiskFormat.RAW)
        image = space.images / "system.raw"
        before = image.stat().st_ino, image.stat().st_ctime_ns
        bundle = make_bundle(space, find_contents(space), BundleSettings(name="b"), tmp_path)
        shared = (bundle.path / "images/system.raw").samefile(image)
        assert shared == (image.stat().st_ctime_ns != before[1])
        remember_links(space, bundle)
        monkeypatch.setattr("converters.convert.convert_file", None)  # a conversion would fail
        assert convert_disk(space, raw_disks[0], DiskFormat.RAW).path.stat().st_ino == before[0]


def test_image_that_was_changed_is_refused_with_the_code_for_wrong_bytes(workspace: Path, tmp_path: Path) -> None:
    image = workspace / "images/system.qcow2"
    image.write_bytes(image.read_bytes() + b"x")
    done = ferry("bundle", "-w", workspace, "-o", tmp_path / "out", where=tmp_path)
    assert (done.returncode, done.stdout) == (5, "")
    assert "it is not the file that it was" in done.stderr


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["-w", "nowhere", "-o", "out"], 2),
        (["-w", "web1"], 2),
        (["-w", "web1", "-o", "out", "--split", "4"], 2),
        (["-w", "web1", "-o", "out", "--split", "1M"], 2),
        (["-w", "web1", "-o", "out", "--name", "../x"], 2),
        (["-w", "web1", "-o", "out", "--formats", "vdi"], 2),
        (["-w", "web1", "-o", "out", "--sign", "nothing"], 2),
        (["-w", "web1", "-o", "out", "--resend", "web1/report.md"], 2),
        (["-w", "web1", "-o", "out", "--resend", "web1/report.md", "--name", "x"], 2),
    ],
)
def test_what_cannot_be_meant_is_a_message(argv: list[str], code: int, workspace: Path, tmp_path: Path) -> None:
    done = ferry("bundle", *argv, where=workspace.parent)
    assert (done.returncode, "Traceback" in done.stderr, done.stdout) == (code, False, "")
    assert done.stderr
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


@pytest.mark.parametrize(("argv", "code"), [(["nowhere"], 2), (["web1"], 2), (["web1", "--jobs", "0"], 2)])
def test_what_is_no_bundle_is_no_verdict(argv: list[str], code: int, workspace: Path) -> None:
    done = ferry("verify-bundle", *argv, where=workspace.parent)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)


def test_workspace_without_images_says_what_to_do(tmp_path: Path) -> None:
    with open_workspace(tmp_path / "web1") as space, pytest.raises(InvalidInput, match="ferry convert"):
        find_contents(space)


def test_moved_workspace_is_bundled_all_the_same(workspace: Path, tmp_path: Path) -> None:
    shutil.move(workspace, tmp_path / "moved")
    done = ferry("bundle", "-w", "moved", "-o", "out", where=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("text", "size"),
    [("4G", 4 * 10**9), ("25GB", 25 * 10**9), ("4GiB", 4 << 30), ("4Gi", 4 << 30), ("700m", 700 * 10**6),
     ("1.5T", 15 * 10**11)],
)  # fmt: skip
def test_size_of_a_medium_counts_as_its_maker_does(text: str, size: int) -> None:
    assert parse_medium(text) == size
