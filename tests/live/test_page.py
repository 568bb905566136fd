"""The live page in Chromium: what it shows follows what is chosen."""

import threading
from collections.abc import Sequence

import pytest
from tests.live.test_watch import serving, wait
from tests.report.visit import ARGUMENTS, CHROMIUM, MARKS

from saltus.live.shelf import Glimpse
from saltus.report.html.blocks import Section


class Pair:
    """Two folders; the first answers when it is let go."""

    def __init__(self) -> None:
        self.asked, self.let_go = threading.Event(), threading.Event()

    def look(self) -> Sequence[Glimpse]:
        return [Glimpse(key, key, "run", "", "", "1") for key in ("slow", "quick")]

    def describe(self, key: str) -> Sequence[Section]:
        if key == "slow":
            self.asked.set()
            assert self.let_go.wait(60.0)
        return [Section(key, "What has come?", f"This is {key}.", [])]


@pytest.mark.parametrize("marked", [pytest.param(None, marks=MARKS)])
def test_a_folder_that_is_chosen_while_another_loads_is_shown(marked: None) -> None:
    del marked
    api_of_browser = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    shelf = Pair()
    with serving(shelf) as port, api_of_browser.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        wait(page, shelf.asked.is_set)
        page.locator("#folders button", has_text="quick").click()
        shelf.let_go.set()
        wait(page, lambda: "This is quick." in page.inner_text("#shown"))
        assert "This is slow." not in page.inner_text("#shown")
        browser.close()
