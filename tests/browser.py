"""A real headless Chromium for tests: what it shows, what it says on its console, and what it asks the network for.

Debian's `chromium` and the `chromium-driver` of the same version, driven by selenium; no other browser is fetched.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service


def browser_is_missing() -> str:
    """Return what is missing to run a browser, "" where nothing is."""
    return ", ".join(name for name in ("chromium", "chromedriver") if shutil.which(name) is None)


needs_browser = pytest.mark.skipif(bool(browser_is_missing()), reason="needs the packages chromium and chromium-driver")


class Browser:
    """One window of a running Chromium."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, page: Path) -> None:
        """Show a file; what was said and asked for before is forgotten."""
        self.driver.get("about:blank")
        self.complaints()
        self.requests()
        self.driver.get(page.as_uri())

    def ask(self, script: str, *arguments: Any) -> Any:
        """Return what a script of the test's own returns, which no page policy keeps from running."""
        return self.driver.execute_script(script, *arguments)

    def command(self, name: str, **parameters: Any) -> Any:
        """Return the answer to a command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(name, parameters)

    def resize(self, width: int, height: int = 900) -> None:
        """Make the window's inside so large, as narrow as a telephone's too."""
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    def prefer(self, scheme: str, media: str = "screen") -> None:
        """Show pages as whoever prefers `scheme` ("light", "dark") sees them, or as they are printed."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.command("Emulation.setEmulatedMedia", media=media, features=features)

    def complaints(self) -> list[str]:
        """Return what the console said since it was last asked: errors of scripts, refusals of a policy."""
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]

    def requests(self) -> list[str]:
        """Return the addresses that were asked for since the last time, but for data in the page itself."""
        found = []
        for entry in self.driver.get_log("performance"):  # type: ignore[no-untyped-call]
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.append(message["params"]["request"]["url"])
        return [url for url in found if not url.startswith(("data:", "about:"))]

    def pdf(self) -> bytes:
        """Return the page as it is printed on A4."""
        self.prefer("light", "print")
        answer = self.command("Page.printToPDF", printBackground=True, paperWidth=8.27, paperHeight=11.69)
        return base64.b64decode(answer["data"])

    def screenshot(self, width: int) -> bytes:
        """Return the whole page as a PNG, `width` pixels wide."""
        self.resize(width)
        height = self.ask("return Math.ceil(document.documentElement.getBoundingClientRect().height)")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        answer = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(answer["data"])


@contextmanager
def open_browser(profile: Path) -> Iterator[Browser]:
    """Run a Chromium whose traces are all in the folder `profile`, for the length of the block."""
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    words = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions"]
    # Its own errands (updates, variations) are not the page's requests, and there is nobody to answer them.
    words += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    if os.geteuid() == 0:
        words.append("--no-sandbox")  # Chromium does not start as root with it
    for word in (*words, f"--user-data-dir={profile}"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One Chromium for all tests of a process: to start takes it seconds."""
    with open_browser(tmp_path_factory.mktemp("chromium")) as running:
        yield running
