"""A page in Chromium, opened from the disk with every other request cut off."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path; ends where one is installed"),
]


class Visit:
    """One page, with everything it complained of or asked for."""

    def __init__(self, browser: "Browser", path: Path, width: int, *, touch: bool = False) -> None:
        self.problems: list[str] = []
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme="light", has_touch=touch, is_mobile=touch
        )
        context.route("**/*", self._cut_off)
        self.page: Page = context.new_page()
        self.page.on("console", lambda message: self.problems.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("dialog", lambda dialog: self.problems.append(f"dialog: {dialog.message}"))
        self._path = path
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready=yes]", timeout=30_000)

    def _cut_off(self, route: "Route") -> None:
        if route.request.url == self._path.as_uri():
            route.continue_()
        elif route.request.url.startswith("blob:"):  # what the page offers for download
            route.fallback()
        else:
            self.problems.append(route.request.url)
            route.abort()

    def figure(self, name: str) -> str:
        """The data that plotly has drawn."""
        selector = f".plot[data-figure={name}]"
        return self.page.evaluate("selector => JSON.stringify(document.querySelector(selector).data)", selector)

    def pixels(self, number: int, where: str = "") -> str:
        """What a map holds; `where` is the selector of a section."""
        return self.page.locator(f"{where} .panel canvas").nth(number).evaluate("canvas => canvas.toDataURL()")

    def colour_of(self, selector: str, name: str) -> str:
        """A computed style."""
        script = "([selector, name]) => getComputedStyle(document.querySelector(selector)).getPropertyValue(name)"
        return self.page.evaluate(script, [selector, name])

    def widths(self) -> tuple[int, int]:
        """Of what is shown and of the window: on a page that overflows the first is larger."""
        shown, given = self.page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        return shown, given

    def wait_until(self, reached: Callable[[], bool]) -> None:
        """Playwright's own wait evaluates text in the page, which the page's policy forbids."""
        deadline = time.monotonic() + 20.0
        while not reached():
            assert time.monotonic() < deadline, "what was waited for did not happen within 20 seconds"
            self.page.wait_for_timeout(30)

    def download(self, where: str, number: int = 0) -> tuple[str, list[str]]:
        """Name and lines of the file behind a button of the section that a selector finds."""
        with self.page.expect_download() as download:
            self.page.locator(f"{where} .download").nth(number).click()
        return download.value.suggested_filename, Path(download.value.path()).read_text().splitlines()
