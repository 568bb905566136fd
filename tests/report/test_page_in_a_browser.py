"""The page in Chromium, opened from the disk with every other request cut off."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from saltus.records import RunRecords
from saltus.report.page import write_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

Build = Callable[..., RunRecords]
CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path; ends where one is installed"),
]


class Visit:
    """One page, with everything it complained of or asked for."""

    def __init__(self, browser: "Browser", path: Path, width: int) -> None:
        self.problems: list[str] = []
        self.requests: list[str] = []
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme="light")
        context.route("**/*", self._cut_off)
        self.page: Page = context.new_page()
        self.page.on("console", lambda message: self.problems.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self._path = path
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready=yes]", timeout=30_000)

    def _cut_off(self, route: "Route") -> None:
        if route.request.url == self._path.as_uri():
            route.continue_()
        else:
            self.requests.append(route.request.url)
            route.abort()

    def pixels(self) -> str:
        """What the canvas of the first head holds."""
        return self.page.evaluate("document.querySelectorAll('.panel canvas')[1].toDataURL()")

    def figure(self, name: str) -> str:
        """The data that plotly has drawn."""
        script = "name => JSON.stringify(document.querySelector(`[data-figure=${name}]`).data)"
        return self.page.evaluate(script, name)

    def colour_of(self, selector: str, name: str) -> str:
        script = "([selector, name]) => getComputedStyle(document.querySelector(selector)).getPropertyValue(name)"
        return self.page.evaluate(script, [selector, name])

    def wait_until(self, reached: Callable[[], bool]) -> None:
        """Playwright's own wait evaluates text in the page, which the page's policy forbids."""
        deadline = time.monotonic() + 20.0
        while not reached():
            assert time.monotonic() < deadline, "what was waited for did not happen within 20 seconds"
            self.page.wait_for_timeout(30)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; ends where it is")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def visit(browser: "Browser", three_seeds: RunRecords, tmp_path_factory: pytest.TempPathFactory) -> Visit:
    """One visit for the tests that look at the same report: loading it is what takes the time."""
    path = tmp_path_factory.mktemp("visit") / "report.html"
    write_report([three_seeds], path)
    return Visit(browser, path, 1280)


def test_a_visit_is_quiet_and_offline(visit: Visit) -> None:
    assert visit.page.locator(".plot .main-svg .legend").count() >= 4
    assert (visit.problems, visit.requests) == ([], [])


def test_the_slider_moves_the_pattern(visit: Visit) -> None:
    slider = visit.page.locator(".snapshot")
    assert slider.get_attribute("aria-valuetext") == "step 80"
    before = visit.pixels()
    slider.focus()
    visit.page.keyboard.press("Home")
    assert slider.get_attribute("aria-valuetext") == "step 0"
    assert visit.page.locator(".step").inner_text() == "step 0"
    assert visit.pixels() != before
    visit.page.keyboard.press("End")
    assert visit.pixels() == before
    assert visit.problems == []


def test_playing_runs_to_the_end_and_stops(visit: Visit) -> None:
    play, slider = visit.page.locator(".play"), visit.page.locator(".snapshot")
    play.click()
    assert play.inner_text() == "Pause"
    assert slider.input_value() != "8"
    visit.wait_until(lambda: play.inner_text() == "Play")
    assert slider.input_value() == "8"
    assert visit.problems == []


def test_another_seed_changes_what_is_shown(visit: Visit) -> None:
    names = ("unit-losses", "jumps", "losses")
    before, raster = [visit.pixels(), *map(visit.figure, names)], visit.figure("raster")
    visit.page.locator("select").select_option("1")
    for name, old in zip(names, before[1:], strict=True):
        visit.wait_until(lambda name=name, old=old: visit.figure(name) != old)
    assert visit.pixels() != before[0]
    assert visit.figure("raster") == raster
    assert visit.page.locator("[data-caption=unit-losses]").inner_text().startswith("Seed 1 learned 1 of 2 rows")
    assert visit.problems == []


def test_dark_pages_have_dark_plots(visit: Visit) -> None:
    tick = "[data-figure=losses] .xtick text"
    light = (visit.colour_of("body", "background-color"), visit.colour_of(tick, "fill"))
    assert light == ("rgb(250, 250, 248)", "rgb(29, 35, 41)")
    losses, pixels = visit.figure("losses"), visit.pixels()
    visit.page.emulate_media(color_scheme="dark")
    visit.wait_until(lambda: visit.colour_of(tick, "fill") == "rgb(228, 231, 234)")
    assert visit.colour_of("body", "background-color") == "rgb(18, 21, 25)"
    assert visit.figure("losses") != losses
    assert visit.pixels() != pixels
    assert visit.problems == []


def test_no_width_overflows(browser: "Browser", build: Build, tmp_path: Path) -> None:
    many = build(np.zeros((2, 3, 16)), needed=3, names=["a very long name of a unit without an end" * 3] * 16)
    write_report([many, many], tmp_path / "report.html")
    visit = Visit(browser, tmp_path / "report.html", 375)
    visit.page.locator("summary").first.click()
    for width in (375, 1280):
        visit.page.set_viewport_size({"width": width, "height": 800})
        visit.page.wait_for_timeout(200)
        shown, given = visit.page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert shown <= given == width
    assert visit.problems == []


def test_hostile_names_run_nothing_and_reach_the_csv(browser: "Browser", build: Build, tmp_path: Path) -> None:
    hostile = '</script><script>alert(1)</script><img src=x onerror="alert(2), alert(3)">'
    progress = np.zeros((1, 4, 2))
    progress[0, 1:, 0] = 1.0
    write_report([build(progress, corners=[hostile], names=[hostile, "b"])], tmp_path / "report.html")
    visit = Visit(browser, tmp_path / "report.html", 1280)
    assert visit.page.evaluate("document.querySelectorAll('main img, main script').length") == 0
    assert hostile in visit.page.locator(".warning").inner_text()
    with visit.page.expect_download() as download:
        visit.page.locator(".download").click()
    assert download.value.suggested_filename == "small.csv"
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0].startswith("seed,unit,last_step_without,first_step_with,lost_at,loss,accuracy,head,truth_mass")
    assert lines[1].startswith("0,whole task,30,,,")
    quoted = hostile.replace('"', '""')
    assert lines[2].startswith(f'0,"{quoted}",0,10,,0.0000,1.000,0.1,1.000,1.000,')
    assert lines[3].startswith("0,b,30,,,0.6931,0.500,0.0,0.000,0.000,")
    assert len(lines) == 4
    assert (visit.problems, [url for url in visit.requests if not url.startswith("blob:")]) == ([], [])
