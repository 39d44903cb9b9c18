"""Whatever ends a fleet ends all of its migrations, also those that begin at that moment; its table hides nothing."""

from __future__ import annotations

import contextvars
import csv
import io
import logging
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.fleet_list import list_of_ids
from flows.fleet_parameters import AtOnce, ImageSelector, check_template, root_of
from flows.fleet_plan import stopped_rows
from flows.fleet_run import FleetRun, current_fleet, in_fleet, name_image
from flows.fleet_table import FleetTable, Outcome, Row, render_csv, render_table
from flows.transfer import Transfer
from image_download.bandwidth import Bandwidth
from migration.errors import InvalidInput


def new_fleet() -> FleetRun:
    return FleetRun(bandwidth=Bandwidth(), bounds={"exports": 1})


def test_stop_reaches_those_that_run_and_those_that_begin_after_it() -> None:
    fleet, running, ended, late = new_fleet(), threading.Event(), threading.Event(), threading.Event()
    fleet.add_stop(running)
    fleet.add_stop(ended)
    fleet.drop_stop(ended)
    fleet.end(cancelled=False)
    fleet.add_stop(late)
    assert (running.is_set(), ended.is_set(), late.is_set()) == (True, False, True)
    assert not fleet.is_cancelled
    fleet.end(cancelled=True)
    fleet.end(cancelled=False)
    assert fleet.is_cancelled, "once cancelled, it stays so"


def test_migration_finds_its_fleet_in_its_own_threads_only() -> None:
    fleet, found = new_fleet(), list[FleetRun | None]()
    with in_fleet(fleet, "m-one"):
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(lambda: found.append(current_fleet()),))
        thread.start()
        thread.join()
        assert Transfer().settings().bandwidth is fleet.bandwidth, "all images share one limit"
    assert found == [fleet]
    assert current_fleet() is None
    assert Transfer().settings().bandwidth is not fleet.bandwidth


def test_line_of_the_log_names_its_image_once_whatever_it_says() -> None:
    record = logging.LogRecord("flows", logging.INFO, "f", 1, "%s is 100 %% done", ("x",), None)
    with in_fleet(new_fleet(), "m-one"):
        assert name_image(record)
        assert name_image(record)
    assert record.getMessage() == "[m-one] x is 100 % done"
    assert name_image(logging.LogRecord("flows", logging.INFO, "f", 1, "alone", (), None))


@pytest.mark.parametrize(
    ("template", "root", "depth"),
    [
        pytest.param("/srv/ferry/{image_id}", "/srv/ferry", 1, id="usual"),
        pytest.param("/srv/ferry/{image_id}-{date}", "/srv/ferry", 1, id="by-month"),
        pytest.param("/srv/{date}/{image_id}", "/srv", 2, id="folders-of-months"),
        pytest.param("/srv/{{x}}/{image_id}", "/srv/{x}", 1, id="braces"),
        pytest.param("/srv/{image_id}/w", "/srv", 2, id="below"),
        pytest.param("~/ferry/{image_id}", str(Path("~/ferry").expanduser()), 1, id="home"),
    ],
)
def test_root_is_the_folder_under_which_all_workspaces_lie(template: str, root: str, depth: int) -> None:
    assert root_of(template) == (Path(root), depth)


@pytest.mark.parametrize(
    "template", ["/srv/ferry", "/srv/{date}", "/srv/{{image_id}}", "/srv/{imageid}", "ferry/{image_id}"]
)
def test_workspace_in_which_images_would_meet_is_refused(template: str) -> None:
    with pytest.raises(InvalidInput):
        check_template(template)


def test_wrong_settings_are_refused_when_the_run_is_created() -> None:
    for model, wrong in (
        (Transfer, {"bandwidth_windows": ["22-06=1"]}), (Transfer, {"bandwidth_timezone": "Mars"}),
        (AtOnce, {"exports": 0}), (AtOnce, {"image": 3}), (ImageSelector, {"which": "oldest"}),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(wrong))):
            model.model_validate(wrong)
    with pytest.raises(InvalidInput, match="every image"):
        ImageSelector().selector()


rows = st.builds(
    Row, image_id=st.from_regex(r"m-[a-z0-9]{3,9}", fullmatch=True), name=st.text(max_size=20),
    outcome=st.sampled_from(list(Outcome)), why=st.text(max_size=40),
)  # fmt: skip


@given(st.lists(rows, max_size=5))
def test_no_name_or_reason_breaks_the_table_or_is_a_formula(found: list[Row]) -> None:
    text = render_table(FleetTable(title="Fleet", rows=tuple(found)))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == len(found) + 2
    assert all(line.replace("\\|", "").count("|") == 7 for line in lines)
    written = list(csv.DictReader(io.StringIO(render_csv(found), newline="")))
    assert [row["image_id"] for row in written] == [row.image_id for row in found]
    assert not any(row[key].startswith(("=", "+", "-", "@")) for row in written for key in ("name", "why"))


def test_what_failed_comes_first_and_all_is_counted() -> None:
    table = FleetTable(title="Fleet", rows=(row("m-aaa", Outcome.DONE), row("m-bbb", Outcome.FAILED, why="why not")))
    text = render_table(table)
    assert text.index("m-bbb") < text.index("m-aaa")
    assert table.summary == "2 images: 1 done, 1 failed"
    assert table.document()["failed"] == 1


def test_fleet_that_was_stopped_has_a_row_for_every_image() -> None:
    images = list_of_ids(["m-aaa", "m-bbb", "m-ccc"])
    told = [row("m-bbb", Outcome.DONE)]
    assert [one.image_id for one in stopped_rows(images, told, {})] == ["m-aaa", "m-ccc"]


def row(image_id: str, outcome: Outcome, **more: Any) -> Row:
    return Row(image_id=image_id, outcome=outcome, **more)
