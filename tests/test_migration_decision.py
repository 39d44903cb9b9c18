from __future__ import annotations

from pathlib import Path

from migration.decision import Choice, Decision, find_decision, is_asked, record_decision, record_question
from migration.disk import Disk, DiskFormat, DiskRole
from migration.workspace import open_workspace


def make_disk(folder: Path) -> Disk:
    path = folder / "system.raw"
    path.write_bytes(b"x" * 512)
    return Disk(device="xvda", role=DiskRole.SYSTEM, path=path, format=DiskFormat.RAW, virtual_size=512)


def test_decision_holds_for_the_disks_it_was_made_about_and_no_others(tmp_path: Path) -> None:
    disk = make_disk(tmp_path)
    decision = Decision(choice=Choice.REPAIR, decided_by="Ada", note="why", when=1.5, asked="flow run 1")
    with open_workspace(tmp_path / "w") as space:
        assert find_decision(space, [disk]) is None
        record_question(space, [disk], "flow run 1")
        assert is_asked(space, [disk], "flow run 1")
        assert not is_asked(space, [disk], "flow run 2"), "another run asks for itself"
        record_decision(space, [disk], decision)
        assert not is_asked(space, [disk], "flow run 1"), "it is answered"
    with open_workspace(tmp_path / "w") as space:
        assert find_decision(space, [disk]) == decision
        disk.path.write_bytes(b"y" * 1024)
        assert find_decision(space, [disk]) is None
