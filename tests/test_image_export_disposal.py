"""Only the object that was downloaded and proven is deleted, and what became of each is remembered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from emulator.folder import write_model
from emulator.object_store import add_bucket
from emulator.server import EmulatedCloud, Variants
from flows.pruning import dispose_of_objects
from image_export.disposal import STEP, Disposal, delete_objects
from migration.exported_object import ExportedObject
from migration.journal import Journal
from migration.oss import OssRefused
from tests.conftest import BUCKET
from tests.migration_fixtures import exported, make_migration


def put(cloud: EmulatedCloud, key: str, content: bytes = b"disk") -> ExportedObject:
    found = cloud.put_object(BUCKET, key, content)
    return exported("m-one", bucket=BUCKET, key=key, size=found.size, etag=found.etag, crc64=found.crc64)


def keys(cloud: EmulatedCloud) -> list[str]:
    return [found.key for found in cloud.objects(BUCKET)]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    (tmp_path / "w").mkdir()
    return Journal(tmp_path / "w" / "journal.json")


def test_very_objects_are_deleted_and_no_others(emulated_cloud: EmulatedCloud, journal: Journal) -> None:
    mine, other = put(emulated_cloud, "a_m-one_system.raw"), put(emulated_cloud, "a_m-one_system.raw.bak")
    done = delete_objects(journal, emulated_cloud.cloud, emulated_cloud.credentials, [mine])
    assert keys(emulated_cloud) == [other.key]
    assert done.kept == ()
    assert Journal(journal.path).get(STEP, Disposal) == done


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"etag": "OTHER"}, id="etag"),
        pytest.param({"size": 5}, id="size"),
        pytest.param({"crc64": 12}, id="crc"),
        pytest.param({"crc64": None}, id="never-proven"),
    ],
)
def test_object_that_is_not_the_one_that_was_proven_stays(
    emulated_cloud: EmulatedCloud, journal: Journal, changes: dict[str, object]
) -> None:
    mine = put(emulated_cloud, "a_m-one_system.raw")
    [kept] = delete_objects(
        journal, emulated_cloud.cloud, emulated_cloud.credentials, [replace(mine, **changes)]  # type: ignore[arg-type]
    ).kept  # fmt: skip
    assert kept.kept
    assert keys(emulated_cloud) == [mine.key]


def test_deleted_object_is_not_asked_for_again_and_one_that_is_gone_is_no_error(
    emulated_cloud: EmulatedCloud, journal: Journal
) -> None:
    mine = put(emulated_cloud, "a_m-one_system.raw")
    gone = replace(mine, key="a_m-one_data_xvdb.raw")
    for _ in range(2):
        assert not delete_objects(journal, emulated_cloud.cloud, emulated_cloud.credentials, [mine, gone]).kept
    assert emulated_cloud.count(f"HEAD /{BUCKET}/{mine.key}") == 1
    put(emulated_cloud, mine.key)  # somebody's new object of the same name
    delete_objects(journal, emulated_cloud.cloud, emulated_cloud.credentials, [mine])
    assert keys(emulated_cloud) == [mine.key]


def test_keys_that_may_not_delete_are_told_which_right_is_missing(
    emulated_cloud: EmulatedCloud, journal: Journal
) -> None:
    mine = put(emulated_cloud, "a_m-one_system.raw")
    emulated_cloud.variants = Variants(denied_actions=frozenset({"oss:DeleteObject"}))
    with pytest.raises(OssRefused) as refused:
        delete_objects(journal, emulated_cloud.cloud, emulated_cloud.credentials, [mine])
    assert "oss:DeleteObject" in refused.value.remedy
    assert keys(emulated_cloud) == [mine.key]


def test_bucket_with_versions_keeps_nothing_hidden_that_would_be_billed_on(
    emulated_cloud: EmulatedCloud, journal: Journal
) -> None:
    bucket = add_bucket(emulated_cloud.folder, BUCKET)
    write_model(bucket.folder / "bucket.json", bucket.settings.model_copy(update={"versioning": True}))
    mine, theirs = put(emulated_cloud, "a_m-one_system.raw"), put(emulated_cloud, "other")
    [done] = delete_objects(journal, emulated_cloud.cloud, emulated_cloud.credentials, [mine]).deletions
    assert done.version_id
    assert keys(emulated_cloud) == [theirs.key]
    assert not (bucket.folder / "hidden").exists()


def test_objects_of_a_migration_that_is_not_proven_any_more_stay(emulated_cloud: EmulatedCloud, tmp_path: Path) -> None:
    path = make_migration(tmp_path / "w", "m-one")
    (path / "images" / "system.qcow2").unlink()
    [said] = dispose_of_objects(path, lambda _: (emulated_cloud.cloud, emulated_cloud.credentials))
    assert said.failed
    assert "not proven" in said.line
    assert not emulated_cloud.requests
