"""Prefect's own pages as a person uses them: what is read there, and what is typed, chosen and clicked.

Written for the V2 pages of Prefect 3.8.8; what a page calls its parts (labels, roles) is all that is relied on.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.remote.webelement import WebElement

from tests.browser import Browser

PATIENCE = 25.0  # seconds; a page's parts come one after another, and the machine may be busy

T = TypeVar("T")


class PrefectPages:
    """The pages of a server in one window of a browser; `base` is where they begin, "http://127.0.0.1:4200/v2"."""

    def __init__(self, browser: Browser, base: str, *, width: int = 1280, height: int = 900) -> None:
        self.browser = browser
        self.base = base
        browser.resize(width, height)

    def open(self, path: str) -> None:
        """Show a page."""
        self.browser.driver.get(f"{self.base}{path}")

    @property
    def text(self) -> str:
        """What is to be read on the page."""
        return str(self.browser.ask("return document.body.innerText"))

    def wait_for(self, text: str, *, seconds: float = PATIENCE) -> str:
        """Return what the page says once `text` is in it."""
        return _until(
            lambda: (said := self.text) if text in self.text else None, seconds, lambda: f"{text!r} in\n{self.text}"
        )

    def find(self, xpath: str, *, within: WebElement | None = None, seconds: float = PATIENCE) -> WebElement:
        """Return the first visible element that the XPath names, once there is one."""

        def look() -> WebElement | None:
            root = within or self.browser.driver
            return next((one for one in root.find_elements("xpath", xpath) if one.is_displayed()), None)

        return _until(look, seconds, lambda: f"{xpath} in\n{self.text}")

    def click(self, xpath: str, *, within: WebElement | None = None) -> None:
        """Click on what the XPath names, as soon as it can be clicked on."""

        def press() -> bool | None:
            element = self.find(xpath, within=within)
            self._bring_into_view(element)
            element.click()
            return True

        _until(press, PATIENCE, lambda: f"a way to click on {xpath} in\n{self.text}")

    def press(self, name: str) -> None:
        """Click on a button or tab by the words on it."""
        self.click(f"(//*[self::button or self::a][normalize-space()={json.dumps(name)}])[last()]")

    def bring_into_view(self, title: str) -> None:
        """Scroll until a field is in the middle."""
        self._bring_into_view(self.field(title))

    def field(self, title: str, *, seconds: float = PATIENCE) -> WebElement:
        """Return the part of a form that a field's label stands for; the first, where several are called so."""
        words = (json.dumps(title), json.dumps(f"{title} (Optional)"))
        names = " or ".join(f"normalize-space()={word}" for word in words)
        label = self.find(f"//label[{names}]", seconds=seconds)
        if self._labels_one(label):
            return self.find(f"//*[@id={json.dumps(label.get_attribute('for'))}]")
        return self.find("./ancestor::div[.//fieldset][1]", within=label)

    def _labels_one(self, label: WebElement) -> bool:
        return bool(self.browser.ask("return !!document.getElementById(arguments[0].htmlFor)", label))

    def type_into(self, title: str, text: str) -> None:
        """Type into a field, which is empty."""
        element = self.field(title)
        self._bring_into_view(element)
        element.send_keys(text)

    def add_to(self, title: str, text: str) -> None:
        """Add an item to a list."""
        whole = self.find("./ancestor-or-self::div[.//fieldset][1]", within=self.field(title))
        self.click(".//button[normalize-space()='Add item']", within=whole)
        boxes = [one for one in whole.find_elements("xpath", ".//textarea | .//input") if one.is_displayed()]
        boxes[-1].send_keys(text)

    def choose(self, title: str, option: str) -> None:
        """Choose from what a field offers."""
        element = self.field(title)
        self._bring_into_view(element)
        element.click()
        self.click(f"//*[@role='option'][normalize-space()={json.dumps(option)}]")

    @property
    def run_id(self) -> str:
        """The run whose page is shown."""
        return self.browser.driver.current_url.partition("/flow-run/")[2].partition("?")[0]

    def opened_run(self) -> str:
        """Return the id of the run whose page is shown, once it is; where only a note on it is shown, open it."""

        def look() -> str | None:
            if self.run_id:
                return self.run_id
            links = self.browser.driver.find_elements(
                "xpath", "//a[contains(@href, '/flow-run/')] | //button[normalize-space()='View run']"
            )
            if links:
                links[-1].click()
            return None

        return _until(look, PATIENCE, lambda: f"run in\n{self.text}")

    def wait_for_state(self, name: str, *, seconds: float) -> None:
        """Wait until the page of a run shows its state as `name`; fails at once where it ends otherwise."""
        ends = {"Completed", "Failed", "Crashed", "Cancelled"} - {name}

        def look() -> bool | None:
            shown = set(self.text.splitlines()[:40])  # above the log, which has such words too
            assert not shown & ends, self.text
            if name in shown:
                return True
            time.sleep(5)
            self.browser.driver.refresh()  # a page that nobody looks at does not renew itself
            time.sleep(3)
            return None

        _until(look, seconds, lambda: f"state {name} in\n{self.text}")

    def open_question(self) -> None:
        """Open the form of a run that waits for an answer, from its page."""
        self.press("Open menu")
        self.click("//*[@role='menuitem'][normalize-space()='Resume']")

    def resume(self) -> None:
        """Send the answer. The form may not have taken the last field in yet: it stays open then."""

        def send() -> bool | None:
            if self.browser.driver.find_elements("xpath", "//*[@role='dialog']"):
                self.click("//*[@role='dialog']//button[normalize-space()='Resume']")
                time.sleep(2)
            return not self.browser.driver.find_elements("xpath", "//*[@role='dialog']") or None

        _until(send, PATIENCE, lambda: f"way to resume in\n{self.text}")

    def open_artifact(self, key: str) -> None:
        """Open an artifact of a run from the list on its page, by way of the page of all that had its key."""
        self.press("Artifacts")
        self.click(f"//a[contains(@href, '/artifacts/')][contains(normalize-space(), {json.dumps(key)})]")
        self.click("(//a[contains(@href, '/artifacts/artifact/')])[1]")

    def switch(self, title: str) -> None:
        """Turn a switch to its other side."""
        element = self.field(title)
        self._bring_into_view(element)
        element.click()

    def picture(self) -> bytes:
        """Return the window's inside as a PNG."""
        answer = self.browser.command("Page.captureScreenshot", format="png")
        return base64.b64decode(answer["data"])

    def _bring_into_view(self, element: WebElement) -> None:
        self.browser.ask("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)


def _until(look: Callable[[], T | None], seconds: float, wanted: Callable[[], str]) -> T:
    """Return what `look` finds, once it finds something; a page that changes meanwhile is looked at again."""
    deadline = time.monotonic() + seconds
    last: Any = None
    while time.monotonic() < deadline:
        try:
            found = look()
        except (StaleElementReferenceException, WebDriverException) as error:
            last = error
        else:
            if found:
                return found
        time.sleep(0.3)
    raise AssertionError(f"after {seconds:g} s there is no {wanted()}\n{last or ''}")
