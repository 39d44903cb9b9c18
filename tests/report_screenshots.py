"""Makes the pictures of the report in docs/: `python -m tests.report_screenshots docs`.

Needs Chromium as the tests do, and pngquant, which makes them a third of the size.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from migration.run import run
from report.page import render_page
from tests.browser import Browser, browser_is_missing, open_browser
from tests.report_fixtures import finished_report

WIDTH = 1180
LARGEST = 300_000  # bytes of one picture


def main(folder: Path) -> None:
    """Write `report-light.png` and `report-dark.png` into `folder`."""
    if browser_is_missing():
        raise SystemExit(f"missing: {browser_is_missing()}; install the packages chromium and chromium-driver")
    with tempfile.TemporaryDirectory() as scratch:
        page = Path(scratch) / "report.html"
        page.write_text(render_page(finished_report()), encoding="utf-8")
        with open_browser(Path(scratch) / "profile") as browser:
            browser.open(page)
            for scheme in ("light", "dark"):
                picture = folder / f"report-{scheme}.png"
                _take(browser, scheme, picture)
                sys.stdout.write(f"{picture}: {picture.stat().st_size} bytes\n")


def _take(browser: Browser, scheme: str, picture: Path) -> None:
    browser.prefer(scheme)
    picture.write_bytes(browser.screenshot(WIDTH))
    run(["pngquant", "--force", "--strip", "--speed", "1", "--output", picture, "64", picture])
    if picture.stat().st_size > LARGEST:
        raise SystemExit(f"{picture} has {picture.stat().st_size} bytes, more than {LARGEST}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
