"""Makes the pictures of Prefect's pages in docs/: `python -m tests.ui_screenshots docs`, four minutes and more.

Needs Chromium as the tests do, and pngquant, which makes them a third of the size.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from pathlib import Path

from demo.guest_image import make_demo_guest
from deployments.serve import serving
from migration.run import run
from tests.browser import browser_is_missing, open_browser
from tests.prefect_fixtures import PrefectServer
from tests.prefect_ui import PrefectPages
from tests.ui_tour import take_tour

LARGEST = 250_000  # bytes of one picture


def main(folder: Path) -> None:
    """Write `ui-form.png`, `ui-question.png`, `ui-run.png` and `ui-report.png` into `folder`."""
    if browser_is_missing():
        raise SystemExit(f"missing: {browser_is_missing()}; install the packages chromium and chromium-driver")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="ferry-") as scratch:
        home = Path(scratch)
        env = {**os.environ, "PREFECT_HOME": str(home / "prefect"), "PREFECT_WORKER_QUERY_SECONDS": "2"}
        # Prefect's own advertisements are not what is shown.
        env["PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT"] = "false"
        disks = make_demo_guest(home / "web1-disks")
        with serving(port, 2, env) as (url, _worker), open_browser(home / "profile") as browser:
            ui = PrefectPages(browser, url.removesuffix("/api") + "/v2")
            server = PrefectServer(url=url, env=env)
            take_tour(ui, server, disks[:2], home / "web1", lambda name: _take(ui, folder / f"ui-{name}.png"))


def _take(ui: PrefectPages, picture: Path) -> None:
    picture.write_bytes(ui.picture())
    run(["pngquant", "--force", "--strip", "--speed", "1", "--output", picture, "128", picture])
    if picture.stat().st_size > LARGEST:
        raise SystemExit(f"{picture} has {picture.stat().st_size} bytes, more than {LARGEST}")
    sys.stdout.write(f"{picture}: {picture.stat().st_size} bytes\n")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
