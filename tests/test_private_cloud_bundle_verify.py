"""A bundle is broken in every way we could think of, and the verifier names what is wrong, and nothing else."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from private_cloud.bundle.far_side import prove
from private_cloud.bundle.far_side.look import Look
from private_cloud.bundle.far_side.names import fingerprint
from private_cloud.bundle.far_side.prove import examine
from private_cloud.bundle.far_side.reading import digest_of
from private_cloud.bundle.joined import join_verifier
from tests.bundle_fixtures import CHUNK, CONSOLE, DATA, SYSTEM, SYSTEM_CHUNKS, bundle_of, sha256, verify

LAST = SYSTEM_CHUNKS
Break = Callable[[Path], object]
Problems = set[tuple[str, str, int]]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the bundle `web1`, and `split/web1` in three volumes. Do not write to them."""
    folder = tmp_path_factory.mktemp("bundles")
    bundle_of(folder / "workspace", folder)
    split = bundle_of(folder / "workspace2", folder / "split", split=1_500_000)
    assert split.volumes >= 3
    return folder


def flip(path: str, place: int) -> Break:
    def act(bundle: Path) -> None:
        with (bundle / path).open("r+b") as file:
            file.seek(place, os.SEEK_END if place < 0 else os.SEEK_SET)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))

    return act


def overwrite(path: str, place: int, data: bytes) -> Break:
    def act(bundle: Path) -> None:
        with (bundle / path).open("r+b") as file:
            file.seek(place)
            file.write(data)

    return act


def append(path: str, text: str) -> Break:
    return lambda bundle: (bundle / path).write_text((bundle / path).read_text() + text)


def truncate(path: str, change: int) -> Break:
    return lambda bundle: os.truncate(bundle / path, (bundle / path).stat().st_size + change)


def remove(path: str) -> Break:
    return lambda bundle: (bundle / path).unlink()


def rename(path: str, to: str) -> Break:
    return lambda bundle: (bundle / path).rename(bundle / to)


def replaced(path: str, make: Callable[[Path], object]) -> Break:
    def act(bundle: Path) -> None:
        (bundle / path).rename(bundle.parent / "away")
        make(bundle / path)

    return act


def swap_files(bundle: Path) -> None:
    (bundle / SYSTEM).rename(bundle / "other")
    (bundle / DATA).rename(bundle / SYSTEM)
    (bundle / "other").rename(bundle / DATA)


def copy_chunk(source: str, number: int, target: str, other: int) -> Break:
    def act(bundle: Path) -> None:
        data = (bundle / source).read_bytes()[(number - 1) * CHUNK : number * CHUNK]
        overwrite(target, (other - 1) * CHUNK, data)(bundle)

    return act


def swap_chunks(bundle: Path) -> None:
    data = (bundle / SYSTEM).read_bytes()
    overwrite(SYSTEM, 0, data[CHUNK : 2 * CHUNK] + data[:CHUNK])(bundle)


def tamper_manifest(bundle: Path) -> None:
    path = bundle / "manifest.json"
    path.write_text(path.read_text().replace('"size": 1000', '"size": 1001').replace("m-bp1", "m-bp2"))


def tamper_manifest_and_its_digest(bundle: Path) -> None:
    tamper_manifest(bundle)
    (bundle / "manifest.sha256").write_text(f"{sha256(bundle / 'manifest.json')}  manifest.json\n")


ALL_OF_SYSTEM = {("DAMAGED", SYSTEM, number) for number in range(1, LAST + 1)}
# What is done to it → what must be named, all of it and nothing else, and words that say why.
BROKEN: dict[str, tuple[Break, Problems, str]] = {
    "first byte": (flip(SYSTEM, 0), {("DAMAGED", SYSTEM, 1)}, "bytes 0-65535"),
    "last byte": (flip(SYSTEM, -1), {("DAMAGED", SYSTEM, LAST)}, "bytes 589824-590823"),
    "a byte in the middle": (flip(DATA, 3 * CHUNK + 7), {("DAMAGED", DATA, 4)}, "bytes 196608-262143"),
    "last byte of a chunk": (flip(DATA, CHUNK - 1), {("DAMAGED", DATA, 1)}, "bytes 0-65535"),
    "first byte of the next": (flip(DATA, CHUNK), {("DAMAGED", DATA, 2)}, "bytes 65536-131071"),
    "a byte in zeros": (flip(SYSTEM, 2 * CHUNK + 9), {("DAMAGED", SYSTEM, 3)}, ""),
    "two chunks of two files": (
        lambda bundle: (flip(SYSTEM, 0)(bundle), flip(DATA, 0)(bundle)),
        {("DAMAGED", SYSTEM, 1), ("DAMAGED", DATA, 1)}, "",
    ),
    "a sector of zeros": (overwrite(SYSTEM, CHUNK + 512, bytes(512)), {("DAMAGED", SYSTEM, 2)}, ""),
    "a chunk of zeros": (overwrite(SYSTEM, CHUNK, bytes(CHUNK)), {("DAMAGED", SYSTEM, 2)}, "all zeros"),
    "a byte short": (
        truncate(SYSTEM, -1), {("TOO SHORT", SYSTEM, 0), ("DAMAGED", SYSTEM, LAST)}, "after 590823 of 590824",
    ),
    "chunks short": (
        truncate(SYSTEM, -1000 - CHUNK),
        {("TOO SHORT", SYSTEM, 0), ("DAMAGED", SYSTEM, LAST), ("DAMAGED", SYSTEM, LAST - 1)}, "it ends after",
    ),
    "nothing left": (truncate(CONSOLE, -7), {("TOO SHORT", CONSOLE, 0), ("DAMAGED", CONSOLE, 1)}, "it ends after 0"),
    "a byte long": (truncate(DATA, 1), {("TOO LONG", DATA, 0)}, "1 bytes too many"),
    "an empty file that is not": (
        lambda bundle: (bundle / "definitions/empty.txt").write_text("x"),
        {("TOO LONG", "definitions/empty.txt", 0)}, "truncate -s 0",
    ),
    "a missing image": (remove(DATA), {("MISSING", DATA, 0)}, "not here"),
    "a missing folder": (lambda bundle: shutil.rmtree(bundle / "logs"), {("MISSING", CONSOLE, 0)}, "not here"),
    "an additional file": (
        lambda bundle: (bundle / "images/evil.sh").write_text("x"), {("EXTRA", "images/evil.sh", 0)}, "not part",
    ),
    "an additional folder": (lambda bundle: (bundle / "more").mkdir(), {("EXTRA", "more", 0)}, "not part"),
    "a hidden file": (
        lambda bundle: (bundle / ".hidden").write_text("x"), {("EXTRA", ".hidden", 0)}, "not part",
    ),
    "a renamed image": (
        rename(DATA, "images/data.qcow2"), {("MISSING", DATA, 0), ("EXTRA", "images/data.qcow2", 0)},
        "it lies here as images/data.qcow2",
    ),
    "another case": (
        rename(DATA, "images/DATA_XVDB.qcow2"), {("MISSING", DATA, 0), ("EXTRA", "images/DATA_XVDB.qcow2", 0)},
        "only its upper and lower case differ",
    ),
    "a link to the image": (
        replaced(DATA, lambda path: path.symlink_to(path.parents[2] / "away")),
        {("NOT A FILE", DATA, 0)}, "symbolic link",
    ),
    "a folder in its place": (replaced(DATA, lambda path: path.mkdir()), {("NOT A FILE", DATA, 0)}, "a folder"),
    "a pipe in its place": (replaced(DATA, os.mkfifo), {("NOT A FILE", DATA, 0)}, "no regular file"),
    "a folder that is a link": (
        replaced("logs", lambda path: path.symlink_to(path.parents[1] / "away")),
        {("MISSING", CONSOLE, 0), ("EXTRA", "logs", 0)}, "symbolic link",
    ),
    "a chunk twice": (
        copy_chunk(SYSTEM, 4, SYSTEM, 5), {("DAMAGED", SYSTEM, 5)}, f"it holds what chunk 4 of {SYSTEM} should hold",
    ),
    "a chunk of the other image": (
        copy_chunk(DATA, 1, SYSTEM, 1), {("DAMAGED", SYSTEM, 1)}, f"it holds what chunk 1 of {DATA} should hold",
    ),
    "two chunks swapped": (
        swap_chunks, {("DAMAGED", SYSTEM, 1), ("DAMAGED", SYSTEM, 2)}, f"what chunk 2 of {SYSTEM} should hold",
    ),
    "two images swapped": (
        swap_files,
        {("TOO SHORT", SYSTEM, 0), ("TOO LONG", DATA, 0)}
        | {problem for problem in ALL_OF_SYSTEM if problem[2] != 3}  # the chunk of zeros is the same in both
        | {("DAMAGED", DATA, number) for number in (1, 2, 4, 5, 6)},
        f"what chunk 1 of {DATA} should hold",
    ),
    "a shift by a byte": (
        lambda bundle: (bundle / DATA).write_bytes(b"x" + (bundle / DATA).read_bytes()[:-1]),
        {("DAMAGED", DATA, number) for number in range(1, 7)}, "",
    ),
    "the manifest tampered with": (tamper_manifest, {("MANIFEST", "manifest.json", 0)}, "not what its digest files"),
    "the manifest and its digest": (tamper_manifest_and_its_digest, {("DAMAGED", "SHA256SUMS", 0)}, "not what"),
    "the manifest cut off": (truncate("manifest.json", -10), {("MANIFEST", "manifest.json", 0)}, "not what"),
    "no manifest": (remove("manifest.json"), {("MISSING", "manifest.json", 0)}, "No such file"),
    "the manifest's digest": (flip("manifest.sha256", 3), {("DAMAGED", "manifest.sha256", 0)}, "not what"),
    "no digest of the manifest": (remove("manifest.sha256"), {("MISSING", "manifest.sha256", 0)}, "not here"),
    "the sums tampered with": (flip("SHA256SUMS", 5), {("DAMAGED", "SHA256SUMS", 0)}, "not what the manifest says"),
    "a line more in the sums": (
        append("SHA256SUMS", "x\n"), {("DAMAGED", "SHA256SUMS", 0)}, "not what",
    ),
    "the text for people": (flip("README.txt", 5), {("DAMAGED", "README.txt", 0)}, "not what"),
    "a report's text": (flip("report/report.md", 2), {("DAMAGED", "report/report.md", 1)}, "bytes 0-6"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_verifier_names_what_is_wrong_and_nothing_else(case: str, pristine: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "web1"
    shutil.copytree(pristine / "web1", bundle)
    act, problems, words = BROKEN[case]
    act(bundle)
    answer = verify(pristine / "web1/verify.py", bundle, where=tmp_path)
    assert answer.problems == problems
    assert answer.code == 1
    assert any(words in one["detail"] for one in answer.said["problems"])


@pytest.mark.parametrize("options", [(), ("--jobs", "1"), ("--jobs", "7")])
def test_whole_bundle_is_whole(options: tuple[str, ...], pristine: Path, tmp_path: Path) -> None:
    answer = verify(pristine / "web1/verify.py", *options, where=tmp_path)
    assert (answer.code, answer.problems) == (0, set())
    assert answer.said["proven_bytes"] == 9 * CHUNK + 1000 + 6 * CHUNK + len("login:\n# web1\n{}\n")
    assert not answer.request.exists()
    assert not answer.said["request"]


def part_of_system(bundle: Path) -> Path:
    return next(iter(sorted(bundle.glob("volume-*/images/system.qcow2.part-0002"))))


def swap_parts(bundle: Path) -> None:
    first, second = sorted(bundle.glob("volume-*/images/system.qcow2.part-*"))[:2]
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)


def break_volumes(bundle: Path, what: str) -> str:
    """Break a bundle in volumes and return the path that has to be named."""
    part = part_of_system(bundle)
    if what == "byte":
        flip(str(part.relative_to(bundle)), 0)(bundle)
    elif what == "missing part":
        part.unlink()
    elif what == "wrong volume":
        target = bundle / "volume-001" / "images" / part.name
        target.parent.mkdir(exist_ok=True)
        part.rename(target)
    elif what == "missing volume":
        shutil.rmtree(bundle / "volume-002")
        return "volume-002"
    elif what == "another manifest on a volume":
        tamper_manifest_and_its_digest(bundle / "volume-002")
        return "volume-002/manifest.json"
    return f"images/{part.name}"


@pytest.mark.parametrize(
    "what", ["byte", "missing part", "wrong volume", "missing volume", "another manifest on a volume"]
)
def test_verifier_says_on_which_volume_and_part_it_is(what: str, pristine: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "web1"
    shutil.copytree(pristine / "split/web1", bundle)
    named = break_volumes(bundle, what)
    answer = verify(bundle / "volume-001/verify.py", bundle, where=tmp_path)
    assert answer.code == 1
    assert named in {path for _, path, _ in answer.problems}
    if what == "byte":
        [problem] = answer.said["problems"]
        assert problem["chunk"] > 1
        assert problem["volume"] == int(part_of_system(bundle).parts[-3].rpartition("-")[2])
        assert "bytes 0-65535 of this part" in problem["detail"]


def test_swapped_parts_are_told_apart(pristine: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "web1"
    shutil.copytree(pristine / "split/web1", bundle)
    swap_parts(bundle)
    answer = verify(bundle / "volume-001/verify.py", bundle, where=tmp_path)
    assert answer.code == 1
    assert "it holds what chunk" in answer.detail("images/system.qcow2.part-0001", 1)


def test_one_volume_can_be_proven_alone(pristine: Path, tmp_path: Path) -> None:
    volume = pristine / "split/web1/volume-002"
    assert verify(volume / "verify.py", "--volume", "2", where=tmp_path).code == 0
    alone = verify(volume / "verify.py", where=tmp_path)
    assert alone.code == 1
    assert ("MISSING", "volume-001", 0) in alone.problems
    beside = verify(volume / "verify.py", "--volume", "2", pristine / "split/web1", where=tmp_path)
    assert (beside.code, beside.problems) == (0, set())


def test_volumes_in_one_folder_are_proven_too(pristine: Path, tmp_path: Path) -> None:
    for volume in sorted((pristine / "split/web1").iterdir()):
        shutil.copytree(volume, tmp_path / "web1", dirs_exist_ok=True)
    answer = verify(tmp_path / "web1/verify.py", where=tmp_path)
    assert (answer.code, answer.problems) == (0, set())


@pytest.mark.parametrize("folder", ["web1", "split/web1/volume-001", "split/web1/volume-002"])
def test_sha256sum_proves_the_same_without_python(folder: str, pristine: Path) -> None:
    [sums] = (pristine / folder).glob("SHA256SUMS*")
    command = ["sha256sum", "-c", "--strict", sums.name]
    done = subprocess.run(command, cwd=pristine / folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    named = {line.rpartition(":")[0] for line in done.stdout.splitlines()}
    here = {str(path.relative_to(pristine / folder)) for path in (pristine / folder).rglob("*") if path.is_file()}
    assert named == here - {sums.name, "manifest.sha256"}


def test_unreadable_chunk_is_named_with_the_systems_own_words(pristine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = digest_of

    def bad_sector(file: object, start: int, length: int) -> tuple[str, int]:
        if start == 4 * CHUNK and str(getattr(file, "name", "")) and length == CHUNK:
            raise OSError(5, os.strerror(5))
        return read(file, start, length)  # type: ignore[arg-type]

    monkeypatch.setattr(prove, "digest_of", bad_sector)
    look = Look(str(pristine / "web1"), quiet=True, jobs=2)
    examine(look, None)
    assert {(one.kind, one.path, one.chunk) for one in look.problems} == {
        ("UNREADABLE", SYSTEM, 5), ("UNREADABLE", DATA, 5)
    }  # fmt: skip
    assert look.code == 1
    assert look.wanted == {SYSTEM: {4}, DATA: {4}}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read")
def test_what_we_may_not_read_is_not_called_damaged(pristine: Path) -> None:
    look = (
        "import os, sys, runpy; os.setgid(65534); os.setuid(65534); sys.argv[0:] = sys.argv[1:];"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to others
        Path(folder).chmod(0o755)
        bundle = Path(folder, "web1")
        shutil.copytree(pristine / "web1", bundle)
        (bundle / DATA).chmod(0)
        done = subprocess.run(
            [sys.executable, "-c", look, bundle / "verify.py", "--request", "/dev/null"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert "UNREADABLE: images/data_xvdb.qcow2: Permission denied" in done.stdout
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("argv", "code"), [(["/nowhere"], 2), (["--volume", "9"], 2), (["--fingerprint", "12"], 2), (["--jobs", "x"], 2)]
)
def test_what_cannot_be_meant_is_no_verdict(argv: list[str], code: int, pristine: Path) -> None:
    command = [sys.executable, "-I", "-S", str(pristine / "web1/verify.py"), *argv]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr


def test_folder_that_is_no_bundle_is_no_verdict(pristine: Path, tmp_path: Path) -> None:
    assert verify(pristine / "web1/verify.py", tmp_path, where=tmp_path).code == 2


def test_fingerprint_that_was_read_aloud_is_compared(pristine: Path, tmp_path: Path) -> None:
    right = fingerprint(sha256(pristine / "web1/manifest.json")).upper()
    assert verify(pristine / "web1/verify.py", "--fingerprint", right, where=tmp_path).code == 0
    answer = verify(pristine / "web1/verify.py", "--fingerprint", "0" * 32, where=tmp_path)
    assert (answer.code, answer.problems) == (1, {("FINGERPRINT", "manifest.json", 0)})


@pytest.mark.parametrize(
    "words", [("--fingerprint", ""), ("--signer", "ada"), ("--signer", "", "--allowed-signers", "/dev/null")],
    ids=["no fingerprint", "nobody to ask", "nobody"],
)  # fmt: skip
def test_demand_that_is_empty_or_cannot_be_met_is_not_passed_over(
    words: tuple[str, ...], pristine: Path, tmp_path: Path
) -> None:
    # As where a script's variable is not set.
    argv = [sys.executable, "-I", "-S", str(pristine / "web1/verify.py"), *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "WHOLE" not in done.stdout


def test_text_names_the_bundle_its_fingerprint_and_that_nobody_signed(pristine: Path, tmp_path: Path) -> None:
    done = subprocess.run([pristine / "web1/verify.py"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert f"fingerprint: {fingerprint(sha256(pristine / 'web1/manifest.json'))}" in done.stdout
    assert "signature: none" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("WHOLE")


def test_joined_verifier_is_what_its_modules_are(pristine: Path) -> None:
    assert (pristine / "web1/verify.py").read_text() == join_verifier()
    tree = ast.parse(join_verifier())
    names = [node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    names += [
        node.id
        for one in tree.body
        if isinstance(one, ast.Assign)
        for node in ast.walk(one.targets[0])
        if isinstance(node, ast.Name)
    ]
    assert len(set(names)) == len(names)  # no module takes the name of another
    assert "private_cloud" not in join_verifier()


def test_verifier_is_python_3_6() -> None:
    source = join_verifier()
    tree = ast.parse(source, feature_version=(3, 6))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names])
    }
    assert imported <= sys.stdlib_module_names - {"dataclasses", "__future__", "importlib"}
    too_young = ("capture_output", "removeprefix", "removesuffix", "missing_ok", ":=", "text=True", "math.prod")
    assert not [word for word in too_young if word in source]
