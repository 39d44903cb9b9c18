from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from migration.disk import Disk, DiskFormat, DiskRole
from migration.errors import NoSpace, WorkspaceMismatch
from migration.journal import Journal

DISK = Disk(
    device="xvdb",
    role=DiskRole.DATA,
    path=Path("/w/data_xvdb.raw"),
    format=DiskFormat.RAW,
    virtual_size=1 << 40,
    crc64=2**64 - 1,
)


def test_recorded_steps_are_there_for_the_next_process(tmp_path: Path) -> None:
    Journal(tmp_path / "journal.json").record("download:data_xvdb", DISK)
    assert Journal(tmp_path / "journal.json").get("download:data_xvdb", Disk) == DISK


def test_forgotten_step_is_gone_for_the_next_process(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.json")
    journal.record("a", {"x": 1})
    journal.record("b", {"x": 2})
    journal.forget("a")
    again = Journal(tmp_path / "journal.json")
    assert again.get("a", dict) is None
    assert again.steps() == ["b"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b'{"version": 1, "steps"', id="cut-short"),
        pytest.param(b"\xff\xfe\x00", id="not-utf-8"),
        pytest.param(b"[]", id="a-list"),
        pytest.param(b'{"version": 2, "steps": {}}', id="from-the-future"),
        pytest.param(b'{"version": 1, "steps": []}', id="steps-a-list"),
    ],
)
def test_unreadable_journal_is_named_and_not_overwritten(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal.json"
    path.write_bytes(content)
    with pytest.raises(WorkspaceMismatch, match=r"journal\.json") as raised:
        Journal(path)
    assert "move the journal away" in raised.value.remedy
    assert path.read_bytes() == content


def test_step_of_another_shape_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    path.write_text(json.dumps({"version": 1, "steps": {"download:system": {"device": 7}}}))
    with pytest.raises(WorkspaceMismatch, match="download:system"):
        Journal(path).get("download:system", Disk)


def test_failed_write_leaves_the_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "journal.json")
    journal.record("a", {"x": 1})

    def fail(_: int) -> None:  # a disk that fills up between write and flush cannot be had on demand
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("migration.storage.os.fsync", fail)
    with pytest.raises(NoSpace, match="No space"):
        journal.record("b", {"x": 2})
    assert Journal(tmp_path / "journal.json").steps() == ["a"]


def test_threads_lose_no_step(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.json")
    threads = [threading.Thread(target=journal.record, args=(f"step-{number}", {"n": number})) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(Journal(tmp_path / "journal.json").steps()) == sorted(f"step-{number}" for number in range(16))
