"""What was migrated is what the workspaces hold now, not what somebody noted down once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from migration.artifact import Artifact
from migration.catalogue import (
    Standing,
    accept_links,
    find_migrations,
    image_claimed,
    is_in_use,
    read_migration,
    record_migrated,
)
from migration.disk import DiskFormat, DiskRole
from migration.errors import WorkspaceInUse
from migration.storage import fingerprint_of
from migration.workspace import open_workspace
from tests.migration_fixtures import make_migration


def standing(path: Path) -> Standing:
    found = read_migration(path)
    assert found is not None
    return found.standing


def test_migration_that_went_through_is_found_where_it_lies_now(tmp_path: Path) -> None:
    make_migration(tmp_path / "a" / "one", "m-one")
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "one").rename(tmp_path / "b" / "moved")
    assert find_migrations(tmp_path / "a") == ()
    [found] = find_migrations(tmp_path / "b")
    assert (found.image_id, found.standing, found.path) == ("m-one", Standing.PROVEN, tmp_path / "b" / "moved")


def test_standing_follows_the_files(tmp_path: Path) -> None:
    path = make_migration(tmp_path / "w", "m-one")
    assert standing(path) is Standing.PROVEN
    image = path / "images" / "system.qcow2"
    image.write_bytes(image.read_bytes())  # the same bytes, but nobody can know without reading them
    assert standing(path) is Standing.TOUCHED
    image.unlink()
    assert standing(path) is Standing.TOUCHED


def test_nothing_is_taken_for_proven_that_is_not(tmp_path: Path) -> None:
    assert standing(make_migration(tmp_path / "a", "m-one", complete=False)) is Standing.UNFINISHED
    assert standing(make_migration(tmp_path / "b", "m-two", crc64=None)) is Standing.UNPROVEN


def test_formats_and_boot_test_that_are_missing_make_it_no_cover(tmp_path: Path) -> None:
    found = read_migration(make_migration(tmp_path / "a", "m-one"))
    assert found is not None
    assert found.covers(["qcow2"])
    assert not found.covers(["qcow2", "vmdk"])
    assert not found.covers(["qcow2"], boot_test=True)
    assert not found.covers(["qcow2"], bundle=True)
    booted = read_migration(make_migration(tmp_path / "b", "m-one", booted=True))
    assert booted is not None
    assert booted.covers(["qcow2"], boot_test=True)


def test_what_is_no_workspace_is_passed_over(tmp_path: Path) -> None:
    make_migration(tmp_path / "good", "m-one")
    (tmp_path / "notes").mkdir()
    (tmp_path / "file").write_text("x")
    broken = make_migration(tmp_path / "broken", "m-two")
    (broken / "journal.json").write_text("{")
    with open_workspace(tmp_path / "offline"):
        pass
    (tmp_path / "link").symlink_to(tmp_path / "good")
    shutil.copytree(tmp_path / "good", tmp_path / ".hidden")
    assert [one.path.name for one in find_migrations(tmp_path)] == ["good"]
    assert find_migrations(tmp_path / "missing") == ()


def test_workspaces_are_found_further_down_where_the_template_puts_them(tmp_path: Path) -> None:
    make_migration(tmp_path / "m-one" / "2026-11", "m-one")
    assert find_migrations(tmp_path) == ()
    assert len(find_migrations(tmp_path, depth=2)) == 1


def test_run_that_finds_all_done_makes_nothing_newer(tmp_path: Path) -> None:
    path = make_migration(tmp_path / "w", "m-one")
    before = read_migration(path)
    assert before is not None
    assert before.recorded is not None
    [made] = before.recorded.made
    with open_workspace(path) as space:
        artifact = Artifact(
            device="xvda", role=DiskRole.SYSTEM, path=space.images / made.name, format=DiskFormat.QCOW2,
            virtual_size=1, file_size=made.fingerprint.size, sha256=made.sha256, proof="compared",
        )  # fmt: skip
        record_migrated(space, before.recorded.image, before.recorded.objects, [artifact], booted=False)
        assert read_migration(path) == before
        record_migrated(space, before.recorded.image, before.recorded.objects, [artifact], booted=True)
    after = read_migration(path)
    assert after is not None
    assert after.recorded != before.recorded


def test_link_to_an_image_leaves_it_proven_and_a_change_does_not(tmp_path: Path) -> None:
    path = make_migration(tmp_path / "w", "m-one")
    image = path / "images" / "system.qcow2"
    (tmp_path / "bundled.qcow2").hardlink_to(image)
    assert standing(path) is Standing.TOUCHED
    with open_workspace(path) as space:
        accept_links(space, {image: fingerprint_of(image)})
    assert standing(path) is Standing.PROVEN
    image.write_bytes(b"else")
    with open_workspace(path) as space:
        accept_links(space, {image: fingerprint_of(image)})
    assert standing(path) is Standing.TOUCHED


def test_owner_of_a_workspace_is_seen_from_outside(tmp_path: Path) -> None:
    path = make_migration(tmp_path / "w", "m-one")
    assert not is_in_use(path)
    with open_workspace(path):
        assert is_in_use(path)
    assert not is_in_use(tmp_path / "missing")


def test_image_is_claimed_by_one_run_at_a_time(tmp_path: Path) -> None:
    with image_claimed(tmp_path, "m-one"):
        with pytest.raises(WorkspaceInUse, match="m-one"), image_claimed(tmp_path, "m-one"):
            pass
        with image_claimed(tmp_path, "m-two"):
            pass
    with image_claimed(tmp_path, "m-one"):
        pass
