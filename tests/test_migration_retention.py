"""Older copies go, and never the one that somebody will need: in use, newest, or the only one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.pruning import plan_pruning, prune, selected_group
from image_export.selection import Selector
from migration.catalogue import Migrated, Migration, Standing, find_migrations
from migration.errors import InvalidInput
from migration.retention import LEFT_ALONE, Fate, judge_retention, remove_workspace, sweep_removed
from migration.workspace import open_workspace
from tests.image_export_fixtures import make_image
from tests.migration_fixtures import make_migration

NOW = 1_800_000_000.0


def migration(
    name: str, image_id: str, standing: Standing = Standing.PROVEN, *, created: int = 0, family: str = "web",
    touched: float = 0,
) -> Migration:  # fmt: skip
    recorded = None
    if standing is not Standing.UNFINISHED:
        image = make_image(image_id=image_id, created=created, family=family)
        recorded = Migrated(image=image, objects=(), made=(), booted=False, finished=touched)
    return Migration(
        path=Path("/root") / name, image_id=image_id, region_id="", bucket="", standing=standing, recorded=recorded,
        touched=touched,
    )  # fmt: skip


def going(fates: tuple[Fate, ...]) -> set[str]:
    return {fate.migration.path.name for fate in fates if fate.goes}


def test_newest_images_of_each_family_stay() -> None:
    web = [migration(f"w{number}", f"m-w{number}", created=number) for number in range(4)]
    db = [migration("d0", "m-d0", family="db"), migration("n0", "m-n0", family=""), migration("n1", "m-n1", family="")]
    assert going(judge_retention([*web, *db], 2, now=NOW)) == {"w0", "w1"}


def test_newest_is_by_the_image_not_by_when_it_was_brought_home() -> None:
    late = migration("old-image", "m-1", created=1, touched=NOW)
    early = migration("new-image", "m-2", created=2, touched=NOW - 9)
    assert going(judge_retention([late, early], 1, now=NOW)) == {"old-image"}


@pytest.mark.parametrize("standing", [Standing.UNPROVEN, Standing.TOUCHED, Standing.UNFINISHED])
def test_what_is_not_proven_is_no_reason_for_a_proven_one_to_go_nor_goes_itself(standing: Standing) -> None:
    proven, doubtful = migration("proven", "m-1", created=1), migration("doubtful", "m-2", standing, created=2)
    assert going(judge_retention([proven, doubtful], 1, now=NOW)) == set()


def test_unproven_copy_goes_where_a_proven_one_of_the_same_image_stays_and_nobody_works_at_it() -> None:
    proven = migration("proven", "m-1")
    for age, goes in ((LEFT_ALONE + 1, {"copy"}), (LEFT_ALONE - 1, set[str]())):
        copy = migration("copy", "m-1", Standing.UNFINISHED, touched=NOW - age)
        assert going(judge_retention([proven, copy], 1, now=NOW)) == goes


def test_selector_makes_one_group_of_what_it_means() -> None:
    both = [migration("a", "m-1", created=1, family="a"), migration("b", "m-2", created=2, family="b")]
    assert going(judge_retention(both, 1, now=NOW)) == set()
    assert going(judge_retention(both, 1, group=selected_group(Selector(name="*")), now=NOW)) == {"a"}


def test_to_keep_none_is_refused() -> None:
    with pytest.raises(InvalidInput, match="newest proven"):
        judge_retention([], 0)


def kind(one: Migration) -> str:
    assert one.recorded is not None
    return one.recorded.image.family or one.image_id


facts = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(list(Standing)), st.integers(0, 5), st.sampled_from(["", "a", "b"]),
              st.floats(0, NOW)),
    max_size=10,
)  # fmt: skip


@given(facts, st.integers(1, 3))
def test_no_image_loses_its_only_copy_and_no_family_its_newest(
    rows: list[tuple[int, Standing, int, str, float]], keep: int
) -> None:
    family_of = {number: family for number, _, _, family, _ in rows}  # an image has one family and one age
    created_of = {number: created for number, _, created, _, _ in rows}
    migrations = [
        migration(
            str(place), f"m-{number}", standing,
            created=created_of[number], family=family_of[number], touched=touched,
        )
        for place, (number, standing, _, _, touched) in enumerate(rows)
    ]  # fmt: skip
    fates = judge_retention(migrations, keep, now=NOW)
    assert [fate.migration for fate in fates] == migrations
    gone = {fate.migration.path for fate in fates if fate.goes}
    for one in migrations:
        if one.path not in gone:
            continue
        stays = [other for other in migrations if other.path not in gone and other.standing is Standing.PROVEN]
        if one.standing is Standing.PROVEN:
            same = [other for other in stays if kind(other) == kind(one)]
            assert len(same) >= keep
            age = one.recorded.image.created if one.recorded else None
            assert all(other.recorded and (other.recorded.image.created or 0) >= (age or 0) for other in same)
        else:
            assert one.image_id in {other.image_id for other in stays}
    left = [one for one in migrations if one.path not in gone]
    assert going(judge_retention(left, keep, now=NOW)) == set(), "to prune again takes nothing more"


def test_workspace_goes_whole_and_what_is_beside_it_stays(tmp_path: Path) -> None:
    for number in range(3):
        make_migration(tmp_path / f"w{number}", f"m-w{number}", created=number, family="web")
    (tmp_path / "notes.txt").write_text("mine")
    done = prune(plan_pruning(tmp_path, 1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "w2"]
    assert {one.path.name: one.failed for one in done} == {"w0": False, "w1": False}
    assert all(one.freed >= 4096 for one in done)
    assert all("left in OSS: oss://exports/ferry_m-w" in one.line for one in done), "nobody else knows of them now"


def test_workspace_in_use_stays_and_does_not_keep_the_others(tmp_path: Path) -> None:
    for number in range(3):
        make_migration(tmp_path / f"w{number}", f"m-w{number}", created=number, family="web")
    with open_workspace(tmp_path / "w0"):
        done = prune(plan_pruning(tmp_path, 1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w0", "w2"]
    assert {one.path.name: one.failed for one in done} == {"w0": True, "w1": False}


def test_workspace_that_changed_since_it_was_judged_stays(tmp_path: Path) -> None:
    for number in range(2):
        make_migration(tmp_path / f"w{number}", f"m-w{number}", created=number, family="web")
    [fate] = [fate for fate in plan_pruning(tmp_path, 1) if fate.goes]
    (tmp_path / "w0" / "images" / "system.qcow2").write_bytes(b"other")
    with pytest.raises(InvalidInput, match="has changed"):
        remove_workspace(fate)
    assert (tmp_path / "w0" / "images" / "system.qcow2").exists()
    [kept] = [fate for fate in plan_pruning(tmp_path, 1) if not fate.goes and fate.migration.path.name == "w1"]
    with pytest.raises(InvalidInput, match="is to stay"):
        remove_workspace(kept)


def test_removal_that_was_interrupted_is_completed_and_seen_by_nobody(tmp_path: Path) -> None:
    make_migration(tmp_path / "w0", "m-w0")
    (tmp_path / "w0").rename(tmp_path / ".ferry-deleted-w0")  # killed behind the rename
    assert find_migrations(tmp_path) == ()
    sweep_removed([tmp_path])
    assert list(tmp_path.iterdir()) == []


def test_selector_leaves_all_others_alone(tmp_path: Path) -> None:
    for number, family in enumerate(["web", "web", "db", "db"]):
        make_migration(tmp_path / f"w{number}", f"m-w{number}", created=number, family=family)
    make_migration(tmp_path / "open", "m-open", complete=False)
    assert going(plan_pruning(tmp_path, 1, selector=Selector(family="web"))) == {"w0"}
    assert len(plan_pruning(tmp_path, 1, selector=Selector(family="web"))) == 2
