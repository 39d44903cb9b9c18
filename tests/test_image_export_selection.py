"""A selector means the images that it says, and never silently others, fewer or more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.account import add_image, change_image
from emulator.server import EmulatedCloud, emulated_cloud
from image_export.selection import Selector, Which, check_count, choose, find_images, why_not_exportable
from migration.disk import Disk
from migration.errors import InvalidInput
from migration.image import Image
from tests.fleet_fixtures import add_small_images, image_id
from tests.image_export_fixtures import HURRIED, make_image


def image(number: int, **changes: Any) -> Image:
    return make_image(image_id=f"m-{number:03}", created=number, **changes)


def meant(images: list[Image], which: Which, migrated: set[str] = frozenset(), **more: Any) -> list[str]:  # type: ignore[assignment]
    return [one.image.image_id for one in choose(images, which, migrated=migrated, **more) if not one.left_out]


@pytest.mark.parametrize(
    ("selector", "fields", "matches"),
    [
        pytest.param({"family": "web"}, {"family": "web"}, True, id="family"),
        pytest.param({"family": "web"}, {"family": "web2"}, False, id="family-is-no-prefix"),
        pytest.param({"name": "web-*"}, {"name": "web-01"}, True, id="glob"),
        pytest.param({"name": "web"}, {"name": "web-01"}, False, id="name-is-compared-whole"),
        pytest.param({"name": "WEB-*"}, {"name": "web-01"}, False, id="case-counts"),
        pytest.param({"name": "web-[0-4]?"}, {"name": "web-51"}, False, id="class"),
        pytest.param({"tags": (("a", "1"),)}, {"tags": (("a", "1"), ("b", "2"))}, True, id="tag"),
        pytest.param({"tags": (("a", "1"), ("b", "2"))}, {"tags": (("a", "1"),)}, False, id="all-tags"),
        pytest.param({"tags": (("a", ""),)}, {"tags": (("a", "1"),)}, False, id="a-tag-without-a-value-is-one"),
        pytest.param({"family": "web", "name": "x*"}, {"family": "web", "name": "y"}, False, id="all-of-it"),
    ],
)
def test_image_matches_all_that_is_asked_for(selector: dict[str, Any], fields: dict[str, Any], matches: bool) -> None:
    assert Selector(**selector).matches(make_image(**fields)) is matches


def test_selector_that_asks_for_nothing_is_refused() -> None:
    with pytest.raises(InvalidInput, match="every image of the account"):
        Selector()


def test_newest_is_the_newest_that_can_be_had() -> None:
    images = [image(1), image(3, status="Creating"), image(2)]
    assert meant(images, Which.NEWEST) == ["m-002"]
    why = {one.image.image_id: one.left_out for one in choose(images, Which.NEWEST)}
    assert why == {"m-003": "it is Creating", "m-002": "", "m-001": "not the newest"}


def test_newer_retries_what_failed_between_and_leaves_out_what_was_there_before_the_first() -> None:
    images = [image(number) for number in range(6)]
    assert meant(images, Which.NEWER) == ["m-005"], "nothing was migrated yet: not all the years before"
    assert meant(images, Which.NEWER, {"m-002", "m-004"}) == ["m-005", "m-004", "m-003", "m-002"]


def test_what_would_be_deleted_again_is_not_fetched() -> None:
    images = [image(number) for number in range(6)]
    assert meant(images, Which.ALL, at_most=2) == ["m-005", "m-004"]
    assert meant(images, Which.NEWER, {"m-001"}, at_most=2) == ["m-005", "m-004"]


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans(), st.booleans()), max_size=12), st.sampled_from(list(Which)))
def test_every_image_is_meant_or_left_out_for_a_reason(facts: list[tuple[int, bool, bool]], which: Which) -> None:
    images = [
        make_image(image_id=f"m-{n:03}", created=created, status="Available" if usable else "Waiting")
        for n, (created, usable, _) in enumerate(facts)
    ]
    migrated = {one.image_id for one, (_, _, done) in zip(images, facts, strict=True) if done}
    choices = choose(images, which, migrated=migrated)
    assert sorted(one.image.image_id for one in choices) == [one.image_id for one in images]
    chosen = [one.image for one in choices if not one.left_out]
    usable = [one for one in images if one.status == "Available"]
    assert bool(chosen) == bool(usable)
    assert all(one.status == "Available" for one in chosen)
    if chosen:
        oldest = min(one.created or 0 for one in chosen)
        assert all(one in chosen for one in usable if (one.created or 0) > oldest), "a newer one was left out"


def test_too_many_are_refused_before_anything_is_exported() -> None:
    check_count(range(3), 3)
    with pytest.raises(InvalidInput, match="4 images are to be migrated"):
        check_count(range(4), 3)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        pytest.param({}, "", id="exportable"),
        pytest.param({"product_code": "x1"}, "marketplace", id="marketplace"),
        pytest.param({"os_type": "windows"}, "Windows", id="windows"),
        pytest.param({"owner_alias": "others"}, "not the account's own", id="shared"),
        pytest.param({"status": "UnAvailable"}, "UnAvailable", id="status"),
    ],
)
def test_what_keeps_an_image_from_being_exported_is_known_without_a_bucket(fields: dict[str, Any], why: str) -> None:
    found = why_not_exportable(make_image(**fields))
    assert why in found
    assert bool(why) == bool(found)


def test_cloud_is_asked_for_all_pages(tmp_path: Path, raw_disks: tuple[Disk, ...]) -> None:
    for number in range(205):
        add_image(tmp_path, image_id(number), raw_disks[:1], family="web", creation_time=f"2026-01-01T{number // 60:02}:{number % 60:02}:00Z")  # fmt: skip  # noqa: E501
    with emulated_cloud(tmp_path) as cloud:
        found = find_images(cloud.cloud, cloud.credentials, Selector(family="web"), policy=HURRIED)
    assert [one.image_id for one in found] == [image_id(number) for number in reversed(range(205))]


@pytest.fixture
def account_folder(tmp_path: Path) -> Path:
    add_small_images(tmp_path, 3)
    change_image(tmp_path, image_id(0), family="db", tags={"purpose": "test", "env": "x y"})
    change_image(tmp_path, image_id(1), status="Creating")
    change_image(tmp_path, image_id(2), owner_alias="others")
    return tmp_path


def find(cloud: EmulatedCloud, **asked: Any) -> list[str]:
    found = find_images(cloud.cloud, cloud.credentials, Selector(**asked), policy=HURRIED)
    return [one.image_id for one in found]


def test_cloud_is_asked_by_family_and_tags_for_images_in_whatever_status(account_folder: Path) -> None:
    with emulated_cloud(account_folder) as cloud:
        assert find(cloud, family="db") == [image_id(0)]
        assert find(cloud, tags=(("env", "x y"), ("purpose", "test"))) == [image_id(0)]
        assert find(cloud, name="*") == [image_id(1), image_id(0)], "another account's image is not ours to export"
        for nothing in ({"family": "nope"}, {"tags": (("purpose", "prod"),)}, {"family": "db", "name": "nope*"}):
            with pytest.raises(InvalidInput, match="no image of the account"):
                find(cloud, **nothing)


def test_image_carries_family_tags_and_age(account_folder: Path) -> None:
    with emulated_cloud(account_folder) as cloud:
        [found] = find_images(cloud.cloud, cloud.credentials, Selector(family="db"), policy=HURRIED)
    assert (found.family, found.tags) == ("db", (("env", "x y"), ("purpose", "test")))
    assert found.created == 1767225600  # 2026-01-01T00:00:00Z
