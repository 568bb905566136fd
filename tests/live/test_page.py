"""The live page in Chromium: what it shows follows what is chosen."""

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.live.test_watch import serving, wait
from tests.report.visit import ARGUMENTS, CHROMIUM, MARKS

from saltus.live.shelf import Glimpse, Shelf
from saltus.report.html.blocks import Column, Row, Section, Table

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = MARKS


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


class Growing:
    """A folder whose table has a row more at each version, and another that appears with the second one."""

    def __init__(self) -> None:
        self.version = 1

    def look(self) -> Sequence[Glimpse]:
        names = ["grows"] if self.version == 1 else ["another", "grows"]
        return [Glimpse(name, name, "run", "", "", str(self.version)) for name in names]

    def describe(self, key: str) -> Sequence[Section]:
        rows = [Row((f"row {number}",)) for number in range(self.version)]
        return [
            Section(
                key, "What has come?", "", [Table("Every number", [Column("row", style="name")], rows, file="rows.csv")]
            )
        ]


@contextmanager
def visiting(shelf: Shelf) -> Generator["Page", None, None]:
    """The live page about a shelf."""
    api_of_browser = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with serving(shelf) as port, api_of_browser.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        yield page
        browser.close()


def test_a_folder_that_is_chosen_while_another_loads_is_shown() -> None:
    shelf = Pair()
    with visiting(shelf) as page:
        wait(page, shelf.asked.is_set)
        page.locator("#folders button", has_text="quick").click()
        shelf.let_go.set()
        wait(page, lambda: "This is quick." in page.inner_text("#shown"))
        assert "This is slow." not in page.inner_text("#shown")


@pytest.mark.parametrize("selector", ["#folders button", "#shown .download"])
def test_the_keyboard_stays_where_it_is_when_the_page_changes(selector: str) -> None:
    shelf = Growing()
    with visiting(shelf) as page:
        page.locator("#shown .download").wait_for()
        page.locator(selector).focus()
        reached = "document.activeElement.textContent"
        before = page.evaluate(reached)
        shelf.version = 2
        wait(page, lambda: "row 1" in page.inner_text("#shown"))
        assert page.locator("#folders button").count() == 2
        assert page.evaluate(reached) == before
        assert page.locator(selector).evaluate_all("all => all.includes(document.activeElement)")
