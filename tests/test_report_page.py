"""The page as text: what it says, that it names nothing outside itself, and that it stays small."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from migration.disk import DiskFormat
from report.page import render_page
from report.report import Report
from report.stage_times import Ending, Stage, StageTime
from tests.report_fixtures import BEGAN, WORKSPACE, artifact, finished_report
from tests.report_hostile import hostile_report

MIB = 1024**2


class _Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def sections(page: str) -> list[str | None]:
    return [attributes["id"] for tag, attributes in _Tags(page).found if tag == "section"]


def test_page_of_a_finished_run_has_all_its_parts() -> None:
    page = render_page(finished_report())
    assert sections(page) == [
        "disks", "findings", "changes", "boot", "times", "sizes", "digests", "provenance",
    ]  # fmt: skip
    text = _Tags(page).text
    assert "The guest comes up on virtio with all that it mounts" in text
    assert "-/dev/vdb1 /data ext4" in text
    assert "download xvdc 2026-11-27 05:31 UTC 2 1 h 2 min" in text
    assert f"{artifact('xvdb', DiskFormat.VMDK).sha256} data_xvdb.vmdk" in text
    assert "web1 login:" in text
    assert "m-bp1hx7z8qk2mexample web1-2026-11" in text
    assert "qemu-img 7.2.17" in text


@pytest.mark.parametrize("report", [finished_report, hostile_report])
def test_page_names_nothing_outside_itself(report: object) -> None:
    page = render_page(report())  # type: ignore[operator]
    found = _Tags(page).found
    assert not {tag for tag, _ in found} & {"script", "img", "iframe", "object", "base", "form", "a", "video"}
    for tag, attributes in found:
        assert not any(name.startswith("on") or name in {"src", "srcset", "action"} for name in attributes), tag
        assert attributes.get("href", "data:,") == "data:,"
    assert "url(" not in page
    assert "@import" not in page
    policies = [attributes["content"] for _, attributes in found if "http-equiv" in attributes]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_page_stays_small_and_printable_whatever_the_guest_holds() -> None:
    page = render_page(hostile_report())
    assert len(page.encode()) < 2 * MIB
    assert all(character.isprintable() or character == "\n" for character in page)
    text = _Tags(page).text
    assert "more findings, all of them in report.json" in text
    assert "more lines, all of them in report.json" in text
    assert "{{ 7 * 7 }}" in text, "what a guest writes is no template"


def test_run_that_stopped_says_where_and_why_and_what_was_not_reached() -> None:
    failed = StageTime(
        stage=Stage.DOWNLOAD, subject="xvdb", started=BEGAN, ended=BEGAN + 9, seconds=9, ending=Ending.FAILED
    )
    report = Report(
        title="m-1", workspace=WORKSPACE, planned=(Stage.EXPORT, Stage.DOWNLOAD, Stage.CONVERT),
        stages=(StageTime(stage=Stage.EXPORT, started=BEGAN, ended=BEGAN + 1, seconds=1, ending=Ending.DONE), failed),
        started=BEGAN, ended=BEGAN + 9, stopped="/w: no space is left\n  (free some)",
    )  # fmt: skip
    page = render_page(report)
    text = _Tags(page).text
    assert "Whether the guest will come up is unknown: it has not been examined yet." in text
    assert "export: done download: stopped here convert: not reached" in text
    assert "At the stage download . The same command again" in text
    assert "/w: no space is left (free some)" in text
    assert "download xvdb (not done)" in text
    unfinished = render_page(replace(report, stopped="", ended=None))
    assert "which was still going on when this was written, or was killed" in unfinished
    assert sections(unfinished) == ["stopped", "times", "provenance"]


def test_report_without_a_cloud_and_without_anything_is_a_page_too() -> None:
    assert sections(render_page(Report(title="Test image", workspace=WORKSPACE))) == ["provenance"]
    local = replace(finished_report(), image=None, objects=(), repair=None, boot=None)
    assert sections(render_page(local)) == ["disks", "findings", "times", "sizes", "digests", "provenance"]
    assert "OSS object" in render_page(local)


def test_every_heading_follows_the_one_above_it_and_every_id_is_given_once() -> None:
    page = render_page(finished_report())
    levels = [int(tag[1]) for tag, _ in _Tags(page).found if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = [attributes["id"] for _, attributes in _Tags(page).found if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [attributes["aria-labelledby"] for _, attributes in _Tags(page).found if "aria-labelledby" in attributes]
    assert {word for value in named if value for word in value.split()} <= set(ids)
    assert page.count("<table>") == page.count("<caption>")
