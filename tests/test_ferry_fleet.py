"""`ferry fleet`, `images` and `prune` as their users meet them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.account import change_image
from emulator.server import EmulatedCloud
from tests.conftest import BUCKET
from tests.fleet_fixtures import NO_APPLIANCE, image_id, small_cloud
from tests.migration_fixtures import make_migration
from tests.test_ferry import ferry


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[EmulatedCloud]:
    with small_cloud(tmp_path / "cloud", 3) as running:
        yield running


def cloud_words(cloud: EmulatedCloud) -> list[str | Path]:
    return ["--region", cloud.region_id, "--ecs-endpoint", cloud.ecs_endpoint, "--oss-endpoint", cloud.oss_endpoint]


def test_images_are_listed_with_what_was_migrated_and_what_cannot_be(cloud: EmulatedCloud, tmp_path: Path) -> None:
    change_image(tmp_path / "cloud", image_id(1), product_code="market-1", name="bad\x1b[2Jname")
    make_migration(tmp_path / "r" / "some", image_id(0))
    words: list[str | Path] = ["images", "--root", tmp_path / "r", *cloud_words(cloud)]
    done = ferry(*words, "--which", "newest", "--json", cloud=cloud)
    assert done.returncode == 0, done.stderr
    newest, market, home = json.loads(done.stdout)["images"]
    assert [one["image_id"] for one in (newest, market, home)] == [image_id(2), image_id(1), image_id(0)]
    assert newest["left_out"] == ""
    assert "marketplace" in market["not_exportable"]
    assert "proven" in home["migrated"]
    assert str(tmp_path / "r" / "some") in home["migrated"]
    shown = ferry(*words, cloud=cloud).stdout
    assert "\x1b" not in shown
    assert "cannot be exported" in shown
    assert cloud.count("ExportImage") == 0


def test_selector_that_matches_nothing_is_an_error_with_a_next_step(cloud: EmulatedCloud, tmp_path: Path) -> None:
    done = ferry("images", "--root", tmp_path, "--family", "nope", *cloud_words(cloud), cloud=cloud)
    assert done.returncode == 2
    assert "family nope" in done.stderr
    wrong = ferry("images", "--root", tmp_path, "--tag", "novalue", *cloud_words(cloud), cloud=cloud)
    assert wrong.returncode == 2
    assert "KEY=VALUE" in wrong.stderr


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(3):
        make_migration(tmp_path / "r" / f"w{number}", f"m-w{number}", created=number, family="web")
    make_migration(tmp_path / "r" / "open", "m-open", complete=False)
    return tmp_path / "r"


def test_prune_shows_first_and_deletes_only_when_told(root: Path) -> None:
    shown = ferry("prune", root, "--keep", "2")
    assert shown.returncode == 0, shown.stderr
    assert "1 of 4 workspaces would go" in shown.stdout
    assert "nothing was deleted" in shown.stdout
    assert len(list(root.iterdir())) == 4

    done = ferry("prune", root, "--keep", "2", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [one["path"] for one in document["workspaces"] if one["goes"]] == [str(root / "w0")]
    assert sorted(path.name for path in root.iterdir()) == ["open", "w1", "w2"]


def test_prune_keeps_at_least_one(root: Path) -> None:
    assert ferry("prune", root, "--keep", "0", "--yes").returncode == 2
    assert len(list(root.iterdir())) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["m-bp1fleet0000", "--bandwidth-window", "22-06=1"], "no bandwidth window", id="window"),
        pytest.param(["--family", "web", "--tag", "x"], "KEY=VALUE", id="tag"),
        pytest.param(["m-bp1fleet0000", "--target", "floppy"], "floppy", id="target"),
    ],
)
def test_wrong_words_are_refused_before_a_server_is_started(words: list[str], said: str, tmp_path: Path) -> None:
    done = ferry("fleet", *words, "--bucket", BUCKET, "--region", "cn-hangzhou", "--root", tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Prefect" not in done.stderr


@pytest.mark.slow
def test_fleet_ends_with_a_code_of_its_own_when_one_image_failed(cloud: EmulatedCloud, tmp_path: Path) -> None:
    change_image(tmp_path / "cloud", image_id(1), product_code="market-1")
    words: list[str | Path] = [
        "fleet", image_id(0), image_id(1), "--bucket", BUCKET, "--root", tmp_path / "r{}", *cloud_words(cloud),
        "--on-fstab-mismatch", "warn", "--no-shrink", "--accept-other-size", "--json",
    ]  # fmt: skip
    env = {**NO_APPLIANCE, "PREFECT_HOME": str(tmp_path / "prefect"), "HOME": str(tmp_path)}
    done = ferry(*words, cloud=cloud, **env)
    assert done.returncode == 9, done.stderr
    assert "2 images: 1 done, 1 failed" in json.loads(done.stdout)["error"]["message"]
    assert f"[{image_id(0)}] Converting system.raw" in done.stderr, "lines of many images say whose they are"
    assert "Traceback" not in done.stderr
    [table] = (tmp_path / "r{}" / "fleet-reports").glob("*/fleet.json")
    rows = {row["image_id"]: row["outcome"] for row in json.loads(table.read_text())["rows"]}
    assert rows == {image_id(0): "done", image_id(1): "failed"}
    assert (tmp_path / "r{}" / image_id(0) / "images" / "system.qcow2").exists()
