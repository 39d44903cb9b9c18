"""The metrics are text that Prometheus and OpenMetrics read, and say what lies in the workspaces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_prometheus

from ferry.commands.metrics import command
from migration.errors import InvalidInput
from migration.storage import write_atomically
from report.document import render_document
from report.metrics import find_workspaces, render_metrics
from report.report import Report
from tests.report_fixtures import finished_report

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def lay_down(root: Path, name: str, report: Report) -> Path:
    workspace = root / name
    workspace.mkdir(parents=True)
    write_atomically(workspace / "report.json", render_document(report))
    return workspace


def read(text: str) -> Samples:
    """Return all samples; the two formats must agree on every one."""
    both = [
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in parser(text)
            for sample in family.samples
        }
        for parser in (read_openmetrics, read_prometheus)
    ]
    assert both[0] == both[1]
    return both[0]


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


def test_metrics_tell_bytes_times_failures_and_the_last_success(tmp_path: Path) -> None:
    done = finished_report()
    assert done.image is not None
    assert done.ended is not None
    image = done.image.image_id
    lay_down(tmp_path, "web1", done)
    lay_down(tmp_path, "web1-old", replace(done, ended=done.ended - 1000))
    lay_down(tmp_path, "web2", replace(done, stopped="no room\n  (make some)", failure="NoSpace", ended=done.ended + 9))
    lay_down(tmp_path, "web3", replace(done, ended=None))
    found = read(render_metrics(find_workspaces(tmp_path)))
    web1 = {"workspace": "web1", "image": image}
    assert value(found, "ferry_migration_state", **web1, state="completed") == 1
    assert value(found, "ferry_migration_state", workspace="web2", image=image, state="failed") == 1
    assert value(found, "ferry_migration_state", workspace="web3", image=image, state="open") == 1
    assert value(found, "ferry_migration_failure", workspace="web2", image=image, failure="NoSpace") == 1
    assert [name for name, _ in found].count("ferry_migration_failure") == 1
    assert value(found, "ferry_migration_last_success_timestamp_seconds", image=image) == done.ended
    assert value(found, "ferry_exported_bytes", **web1) == sum(one.size for one in done.objects) > 0
    assert value(found, "ferry_image_bytes", **web1) == sum(one.file_size for one in done.artifacts) > 0
    converting = sum(one.seconds for one in done.stages if one.stage == "convert")
    assert value(found, "ferry_stage_seconds", **web1, stage="convert") == converting > 0
    retries = sum(one.tries - 1 for one in done.stages if one.stage == "download")
    assert value(found, "ferry_stage_retries", **web1, stage="download") == retries
    assert value(found, "ferry_workspaces") == 4
    assert value(found, "ferry_unreadable_reports") == 0


def test_report_that_cannot_be_read_is_counted_and_hides_no_other(tmp_path: Path) -> None:
    lay_down(tmp_path, "good", finished_report())
    lay_down(tmp_path, "bad", finished_report()).joinpath("report.json").write_text("{")
    found = read(render_metrics(find_workspaces(tmp_path)))
    assert value(found, "ferry_workspaces") == 1
    assert value(found, "ferry_unreadable_reports") == 1


@pytest.mark.parametrize(
    "name", ['a"b', "back\\slash", "line\nbreak", 'x"} 1\nferry_workspaces{y="', "网站", "half\udc80"]
)
def test_folder_may_be_called_anything(tmp_path: Path, name: str) -> None:
    lay_down(tmp_path, name, finished_report())
    found = read(render_metrics(find_workspaces(tmp_path)))
    shown = {dict(labels)["workspace"] for sample, labels in found if sample == "ferry_migration_state"}
    assert shown == {name.replace("\udc80", "?")}
    assert value(found, "ferry_workspaces") == 1


def test_command_writes_what_it_would_print_and_one_workspace_will_do(tmp_path: Path) -> None:
    workspace = lay_down(tmp_path, "web1", finished_report())
    printed = CliRunner().invoke(command, ["--root", str(workspace)], catch_exceptions=False)
    assert read(printed.output)
    written = tmp_path / "ferry.prom"
    CliRunner().invoke(command, ["--root", str(tmp_path), "--output", str(written)], catch_exceptions=False)
    assert written.read_text() == printed.output
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["ferry.prom"]


def test_folder_that_is_not_there_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is no folder"):
        CliRunner().invoke(command, ["--root", str(tmp_path / "no")], catch_exceptions=False)
    with pytest.raises(InvalidInput, match="there is no such folder"):
        CliRunner().invoke(
            command, ["--root", str(tmp_path), "--output", str(tmp_path / "no" / "x")], catch_exceptions=False
        )
    assert read(render_metrics(find_workspaces(tmp_path))) == {
        ("ferry_workspaces", frozenset()): 0.0, ("ferry_unreadable_reports", frozenset()): 0.0,
    }  # fmt: skip
