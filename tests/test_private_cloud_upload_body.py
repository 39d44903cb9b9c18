"""The body of an upload: all of the file, or an error before its last byte."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from migration.errors import Interrupted, SourceChanged
from private_cloud.upload_body import CHUNK, UploadBody, digest_of


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.write_bytes(bytes(range(256)) * 4096 * 3 + b"the end")
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_body_is_the_file_and_knows_its_digest(file: Path) -> None:
    seen: list[tuple[int, int]] = []
    body = UploadBody(file, sha256=sha256(file), progress=lambda done, total: seen.append((done, total)))
    chunks = list(body)
    assert b"".join(chunks) == file.read_bytes()
    assert max(map(len, chunks)) == CHUNK
    assert body.sha512 == hashlib.sha512(file.read_bytes()).hexdigest()
    assert len(body) == file.stat().st_size
    assert seen[-1] == (len(body), len(body))


def test_body_that_is_asked_for_again_starts_again(file: Path) -> None:
    body = UploadBody(file, sha256=sha256(file))
    next(iter(body))
    assert body.sha512 == ""
    assert b"".join(body) == file.read_bytes()
    assert body.sha512 == hashlib.sha512(file.read_bytes()).hexdigest()


def test_wrong_file_never_gets_out_whole(file: Path) -> None:
    body, sent = UploadBody(file, sha256="00" * 32), 0
    with pytest.raises(SourceChanged):  # noqa: PT012  # what got out before it counts
        for chunk in body:
            sent += len(chunk)
    assert sent < file.stat().st_size
    assert body.sha512 == ""


@pytest.mark.parametrize("how", ["written", "touched", "cut"])
def test_file_that_changes_while_it_is_sent_is_noticed(file: Path, how: str) -> None:
    body, sent = UploadBody(file, sha256=sha256(file)), 0
    with pytest.raises(SourceChanged):  # noqa: PT012  # the change comes between two chunks
        for chunk in body:
            if sent == 0 and how == "written":
                with file.open("r+b") as other:
                    other.seek(2 * CHUNK)
                    other.write(b"!")
            elif sent == 0 and how == "touched":
                file.touch()
            elif sent == 0:
                with file.open("r+b") as other:
                    other.truncate(CHUNK)
            sent += len(chunk)
    assert sent < 3 * CHUNK + len(b"the end")


def test_stop_ends_it_at_the_next_chunk(file: Path) -> None:
    stop = threading.Event()
    chunks = iter(UploadBody(file, sha256=sha256(file), stop=stop))
    next(chunks)
    stop.set()
    with pytest.raises(Interrupted):
        next(chunks)


def test_digest_is_of_the_whole_file(file: Path) -> None:
    assert digest_of(file, "sha384") == hashlib.sha384(file.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match="unsupported"):
        digest_of(file, "sha9")
