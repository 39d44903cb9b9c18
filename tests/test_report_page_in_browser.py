"""The page in a real browser: nothing runs, nothing is fetched, all is seen, on any screen and on paper."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migration.errors import ToolMissing
from migration.run import run
from report.page import render_page
from report.report import Report
from tests.browser import Browser, browser, needs_browser
from tests.fstab_check_fixtures import ROOT_LINE, judge
from tests.report_fixtures import finished_report
from tests.report_hostile import ATTACKS, hostile_report

__all__ = ["browser"]

pytestmark = [pytest.mark.slow, needs_browser]

SECTIONS = ("disks", "findings", "changes", "boot", "times", "sizes", "digests", "provenance")
NAMES = [f"xvd{letter}" for letter in "abc"]

# Of every text that is seen: its colour and that of what is under it, as the browser paints them.
PAINTED = """
const seen = new Map();
const opaque = colour => !/^rgba\\(.*, 0\\)$/.test(colour) && colour !== 'transparent';
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest('title, desc')) continue;
  const style = getComputedStyle(element);
  const inPicture = element.closest('svg');
  let ground = null;
  if (inPicture) {
    const box = element.parentElement.querySelector(':scope > rect');
    if (box) ground = getComputedStyle(box).fill;
  }
  for (let under = element; !ground && under; under = under.parentElement) {
    const colour = getComputedStyle(under).backgroundColor;
    if (opaque(colour)) ground = colour;
  }
  const ink = inPicture ? style.fill : style.color;
  seen.set(ink + ' on ' + ground, [ink, ground, walker.currentNode.data.trim().slice(0, 40)]);
}
return [...seen.values()];
"""

# The ways that the lines of the picture make between its boxes, each as the texts of its boxes.
JOINED = """
const picture = document.querySelector(arguments[0]);
const boxes = [...picture.querySelectorAll('g')].map(group => {
  const rect = group.querySelector('rect').getBBox();
  return {words: group.querySelector('title').textContent, x: rect.x, y: rect.y, r: rect.x + rect.width,
          b: rect.y + rect.height};
});
const at = point => boxes.filter(box =>
  point.x >= box.x - 0.6 && point.x <= box.r + 0.6 && point.y >= box.y - 0.6 && point.y <= box.b + 0.6);
return [...picture.querySelectorAll('path')].map(path => {
  const ends = [path.getPointAtLength(0), path.getPointAtLength(path.getTotalLength())].map(at);
  return ends.map(found => found.length === 1 ? found[0].words : 'touches ' + found.length + ' boxes');
});
"""


def luminance(colour: str) -> float:
    """Return the relative luminance of `rgb(…)`, as WCAG 2 defines it."""
    channels = [int(number) / 255 for number in re.findall(r"\d+", colour)[:3]]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Callable[[Report], Path]:
    """Return a function that opens the page of a report, on a wide screen and by day."""

    def open_page(report: Report) -> Path:
        page = tmp_path / "report.html"
        page.write_text(render_page(report), encoding="utf-8")
        browser.resize(1280)
        browser.prefer("light")
        browser.open(page)
        return page

    return open_page


def bad_report() -> Report:
    """Return a report in which red and yellow are seen as well: errors, a wait, a line that leads nowhere."""
    text = ROOT_LINE + "/dev/vdb1 /data ext4 defaults 0 0\n/dev/vdd1 /x ext4 nofail\n/dev/vde1 /y ext4 defaults\n"
    return replace(finished_report(), verdict=judge(text), boot=None, stopped="as things are, it does not boot")


def test_nothing_that_a_guest_says_runs_or_is_fetched(browser: Browser, show: Callable[[Report], Path]) -> None:
    page = show(hostile_report())
    assert browser.ask("return typeof window.hacked") == "undefined"
    assert browser.complaints() == [], "the policy had nothing to refuse: nothing was even tried"
    assert browser.requests() == [page.as_uri()]
    assert browser.ask("return document.querySelectorAll('script, img, [onerror], [onload], base').length") == 0
    assert ATTACKS[0] in browser.ask("return document.querySelector('h1').textContent")
    assert browser.ask("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_browser_of_these_tests_would_run_and_fetch_it(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "naive.html"
    page.write_text(f"<!DOCTYPE html><title>x</title><p>{ATTACKS[0]}{ATTACKS[1]}", encoding="utf-8")
    browser.open(page)
    assert browser.ask("return window.hacked") == 1
    assert len(browser.requests()) > 1
    assert browser.complaints() != []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_parts_are_seen(browser: Browser, show: Callable[[Report], Path], scheme: str) -> None:
    page = show(finished_report())
    browser.prefer(scheme)
    seen = browser.ask(
        "return [...document.querySelectorAll('section')]"
        ".filter(one => one.checkVisibility() && one.getBoundingClientRect().height > 40).map(one => one.id)"
    )
    assert seen == list(SECTIONS)
    paper = browser.ask("return getComputedStyle(document.body).backgroundColor")
    assert (luminance(paper) > 0.5) == (scheme == "light")
    assert browser.complaints() == []
    assert browser.requests() == [page.as_uri()]


@pytest.mark.parametrize("report", [finished_report, bad_report])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_every_text_stands_out_from_what_is_under_it(
    browser: Browser, show: Callable[[Report], Path], report: Callable[[], Report], scheme: str, width: int
) -> None:
    show(report())
    browser.resize(width)
    browser.prefer(scheme)
    painted: Sequence[Sequence[str]] = browser.ask(PAINTED)
    assert len(painted) >= 6
    weak = {text: round(contrast(ink, ground), 2) for ink, ground, text in painted if contrast(ink, ground) < 4.5}
    assert weak == {}


@pytest.mark.parametrize("report", [finished_report, bad_report])
@pytest.mark.parametrize(("width", "picture"), [(375, "narrow"), (760, "narrow"), (761, "wide"), (1280, "wide")])
def test_page_fits_the_screen(
    browser: Browser, show: Callable[[Report], Path], report: Callable[[], Report], width: int, picture: str
) -> None:
    show(report())
    browser.resize(width)
    assert browser.ask("return innerWidth") == width
    # Of that, a scroll bar at the side takes its part.
    assert browser.ask("const page = document.documentElement; return page.scrollWidth - page.clientWidth") == 0
    shown = browser.ask(
        "return [...document.querySelectorAll('svg.picture')].filter(one => one.checkVisibility())"
        ".map(one => one.classList[1])"
    )
    assert shown == [picture]


def ways(joined: Sequence[Sequence[str]]) -> dict[str, list[list[str]]]:
    """Return every way from a cloud disk to its end, by the words in its boxes."""
    following: dict[str, list[str]] = {}
    for one, other in joined:
        following.setdefault(one, []).append(other)
    starts = [one for one in following if one not in {other for _, other in joined}]

    def walk(box: str) -> list[list[str]]:
        return [[box, *rest] for after in following.get(box, []) for rest in walk(after)] or [[box]]

    return {start: walk(start) for start in starts}


@pytest.mark.parametrize(("width", "picture"), [(1280, ".wide"), (375, ".narrow")])
def test_picture_joins_what_belongs_together(
    browser: Browser, show: Callable[[Report], Path], width: int, picture: str
) -> None:
    report = finished_report()
    show(report)
    browser.resize(width)
    found = ways(browser.ask(JOINED, picture))
    expected = {
        "xvda system · 40.0 GiB": ("system.raw.tar.gz", "system.raw", "xvda1 · ext4", "/ · ", "vda1 on virtio"),
        "xvdb data · 200.0 GiB": ("data_xvdb.raw.tar.gz", "data_xvdb.raw", "xvdb1 · ext4", "/data · ", "vdb1 on "),
        "xvdc data · 500.0 GiB": ("data_xvdc.raw.tar.gz", "data_xvdc.raw", "xvdc · xfs", "/srv · ", "vdc on virtio"),
    }  # fmt: skip
    assert list(found) == list(expected)
    for start, (name, *rest) in expected.items():
        [[_, in_bucket, *stations]] = found[start]
        assert f"_{name} · " in in_bucket
        assert [station.startswith(words) for station, words in zip(stations, rest, strict=True)] == [True] * 4, (
            stations
        )
    [[*_, there]] = found["xvdc data · 500.0 GiB"]
    assert there == "vdc on virtio · sdc on scsi, sata, ide, vmware · nvme2n1 on nvme · xvdc on xen"


def test_line_that_leads_nowhere_is_drawn_as_such(browser: Browser, show: Callable[[Report], Path]) -> None:
    show(bad_report())
    found = ways(browser.ask(JOINED, ".wide"))
    lost = found["no disk · of the export"]
    assert [way[1] for way in lost] == [
        f"/dev/{name} · leads nowhere (device-not-exported)" for name in ("vdd1", "vde1")
    ]
    assert [way[2].partition(" ")[0] for way in lost] == ["/x", "/y"]
    assert lost[1][3].endswith("does not boot")
    assert "does not boot" in found["xvdb data · 200.0 GiB"][0][-1]


def test_print_has_all_parts(browser: Browser, show: Callable[[Report], Path], tmp_path: Path) -> None:
    show(finished_report())
    browser.prefer("dark")
    (tmp_path / "report.pdf").write_bytes(browser.pdf())
    try:
        text = run(["pdftotext", "-layout", tmp_path / "report.pdf", "-"])
    except ToolMissing:
        pytest.skip("needs the package poppler-utils")
    headings: Sequence[Any] = browser.ask("return [...document.querySelectorAll('h2')].map(one => one.textContent)")
    assert len(headings) == len(SECTIONS)
    assert [heading for heading in headings if heading not in text] == []
    for words in ("The guest comes up on virtio", "nvme2n1 on nvme", "-/dev/vdb1", "web1 login:", "data_xvdc.vmdk"):
        assert words in text
