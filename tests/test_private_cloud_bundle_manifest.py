"""A manifest is the word of whoever made the medium: nothing in it leads the verifier astray, or makes it crash."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from private_cloud.bundle.far_side.look import Look
from private_cloud.bundle.far_side.manifest import Manifest, read_manifest
from private_cloud.bundle.far_side.names import BadManifest, check_path, shown
from private_cloud.bundle.far_side.prove import examine
from tests.bundle_fixtures import bundle_of, sha256, verify

DIGEST = "a" * 64
CHUNK = 4096


def document(**changes: Any) -> dict[str, Any]:
    files = [
        {"path": "images/a.raw", "size": 5000, "sha256": DIGEST, "chunks": [DIGEST, DIGEST],
         "pieces": [{"volume": 1, "size": 4096, "sha256": DIGEST}, {"volume": 2, "size": 904, "sha256": DIGEST}]},
        {"path": "b.txt", "size": 0, "sha256": DIGEST, "chunks": [],
         "pieces": [{"volume": 1, "size": 0, "sha256": DIGEST}]},
    ]  # fmt: skip
    return {
        "format": "ferry-bundle", "version": 1, "name": "web1", "chunk_size": CHUNK, "volumes": 2, "signature": None,
        "head": [{"name": "verify.py", "size": 1, "sha256": DIGEST}], "files": files, "provenance": {}, **changes,
    }  # fmt: skip


def read(value: object) -> Manifest:
    return read_manifest(json.dumps(value).encode())


def test_good_manifest_is_read() -> None:
    manifest = read(document())
    assert [piece.path for piece in manifest.files[0].pieces] == ["images/a.raw.part-0001", "images/a.raw.part-0002"]
    assert [(piece.start, piece.size) for piece in manifest.files[0].pieces] == [(0, 4096), (4096, 904)]


BAD_PATHS = [
    "../etc/passwd", "/etc/passwd", "a/../../b", "a/./b", "a//b", "", ".", "..", "a/", "~/x", "a\\b", "C:\\x", "c:x",
    "a\0b",
    "a\nb", "a\x1b[2Jb", "\u202egnp.exe", "\ud800", "é", "CON", "images/aux.txt", "nul", "-rf", ".ssh/authorized_keys",
    "verify.py", "Verify.PY", "manifest.json", "SHA256SUMS", "sha256sums.volume-001", "volume-002/x", "chunks/a",
    "a.", "a/b.", "x.partial", "a" * 500, "/".join("a" * 11), "a;b", "$(x)", "a'b", "images", "IMAGES/A.RAW", "b.txt/c",
]  # fmt: skip


@pytest.mark.parametrize("path", BAD_PATHS)
def test_path_that_leads_elsewhere_is_refused(path: str) -> None:
    value = document()
    value["files"].append({**value["files"][1], "path": path})
    with pytest.raises(BadManifest) as caught:
        read(value)
    assert str(caught.value).isprintable()


def change(**changes: Any) -> dict[str, Any]:
    value = document()
    value["files"][0].update(changes)
    return value


BAD = {
    "no object": [],
    "another format": document(format="tar"),
    "a newer version": document(version=2),
    "a version that is true": document(version=True),
    "no chunk size": document(chunk_size=0),
    "an odd chunk size": document(chunk_size=5000),
    "a vast chunk size": document(chunk_size=1 << 40),
    "no volumes": document(volumes=0),
    "a number that is none": document(volumes=1.5),
    "an unknown signature": document(signature="rot13"),
    "a name with a slash": document(name="../x"),
    "files that are none": document(files={"a": 1}),
    "a file that is none": document(files=[1]),
    "a head of another name": document(head=[{"name": "/bin/sh", "size": 1, "sha256": DIGEST}]),
    "a head twice": document(head=document()["head"] * 2),
    "a file twice": document(files=document()["files"] * 2),
    "too few chunks": change(chunks=[DIGEST]),
    "too many chunks": change(chunks=[DIGEST] * 3),
    "a chunk that is none": change(chunks=[DIGEST, "A" * 64]),
    "a chunk that is a number": change(chunks=[DIGEST, 5]),
    "no pieces": change(pieces=[]),
    "pieces too small": change(pieces=[{"volume": 1, "size": 4096, "sha256": DIGEST}]),
    "pieces too large": change(pieces=[{"volume": 1, "size": 9000, "sha256": DIGEST}]),
    "a cut within a chunk": change(
        pieces=[{"volume": 1, "size": 5, "sha256": DIGEST}, {"volume": 2, "size": 4995, "sha256": DIGEST}]
    ),
    "a volume there is not": change(pieces=[{"volume": 3, "size": 5000, "sha256": DIGEST}]),
    "a size below nothing": change(size=-1),
    "a size beyond all disks": change(size=1 << 70),
    "a size in words": change(size="5000"),
    "a digest cut off": change(sha256="a" * 63),
    "a digest of other digits": change(sha256="\u0661" * 64),
    "a digest and a line": change(sha256="a" * 64 + "\n"),
}


@pytest.mark.parametrize("what", BAD)
def test_manifest_that_nobody_honest_wrote_is_refused(what: str) -> None:
    with pytest.raises(BadManifest):
        read(BAD[what])


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xfe", b"{", b"[" * 100_000, b'{"a":' * 50_000, b'{"a": NaN}', b'{"size": 1' + b"0" * 10_000 + b"}",
     b'{"version": 1, "version": 1}', b'{"format": "ferry-bundle", "version": Infinity}', b"null", b'"x"', b"1e999"],
)  # fmt: skip
def test_bytes_that_are_no_manifest_are_refused(data: bytes) -> None:
    with pytest.raises(BadManifest):
        read_manifest(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(DIGEST),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def places_in(value: object, here: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [here] if here else []
    if isinstance(value, dict):
        for key in value:
            found += places_in(value[key], (*here, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += places_in(item, (*here, index))
    return found


def is_harmless(manifest: Manifest) -> bool:
    names = [piece.path for entry in manifest.files for piece in entry.pieces]
    return all(
        name and not name.startswith("/") and ".." not in name.split("/") and name.isascii() and name.isprintable()
        for name in [manifest.name, *names, *(entry.path for entry in manifest.files)]
    ) and all(sum(piece.size for piece in entry.pieces) == entry.size for entry in manifest.files)


@given(place=st.sampled_from(places_in(document())), value=JSON)
@hypothesis_settings(max_examples=400, deadline=None)
def test_changed_manifest_is_harmless_or_refused(place: tuple[str | int, ...], value: object) -> None:
    whole: Any = copy.deepcopy(document())
    parent = whole
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = value
    try:
        manifest = read(whole)
    except BadManifest:
        return
    assert is_harmless(manifest)


@given(data=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
@hypothesis_settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_manifest_or_refused(data: bytes) -> None:
    try:
        manifest = read_manifest(data)
    except BadManifest:
        return
    assert is_harmless(manifest)


@given(path=st.text(max_size=30) | st.from_regex(r"[a-zA-Z./_-]{0,20}", fullmatch=True))
@hypothesis_settings(max_examples=400, deadline=None)
def test_path_stays_below_the_bundle_whatever_it_is(path: str) -> None:
    try:
        check_path(path)
    except BadManifest:
        return
    assert Path("/bundle", path).resolve().is_relative_to("/bundle")
    assert path == str(Path(path))


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    return bundle_of(folder / "workspace", folder).path


@pytest.mark.parametrize("path", ["../victim", "/etc/hostname", "images/../../victim", "volume-001/x"])
@pytest.mark.parametrize("way", ["verify", "assemble"])
def test_hostile_medium_reads_and_writes_nothing_outside(path: str, way: str, pristine: Path, tmp_path: Path) -> None:
    medium, far, victim = tmp_path / "medium", tmp_path / "far", tmp_path / "victim"
    shutil.copytree(pristine, medium)
    victim.write_text("precious")
    value = json.loads((medium / "manifest.json").read_text())
    value["files"][0]["path"] = path
    (medium / "manifest.json").write_text(json.dumps(value))
    digest = sha256(medium / "manifest.json")  # whoever writes the manifest writes its digests too
    (medium / "manifest.sha256").write_text(f"{digest}  manifest.json\n")
    (medium / "SHA256SUMS").write_text(f"{digest}  manifest.json\n")
    argv = [medium] if way == "verify" else ["--assemble", far, medium]
    answer = verify(pristine / "verify.py", *argv, where=tmp_path)
    assert answer.code == 1
    assert victim.read_text() == "precious"
    assert {one.name for one in tmp_path.iterdir()} <= {"medium", "far", "victim", "resend-request.txt"}
    assert not list(far.rglob("*")) if far.exists() else True


def test_names_on_a_medium_cannot_steer_the_terminal(pristine: Path, tmp_path: Path) -> None:
    medium = tmp_path / "medium"
    shutil.copytree(pristine, medium)
    (medium / "\x1b]0;evil\x07\n\u202e").write_text("x")
    (tmp_path / "request").mkdir()
    answer = verify(pristine / "verify.py", medium, where=tmp_path / "request")
    assert answer.code == 1
    look = Look(str(medium), quiet=True, jobs=1)
    examine(look, None)
    [problem] = look.problems
    assert shown(problem.path).isprintable()
