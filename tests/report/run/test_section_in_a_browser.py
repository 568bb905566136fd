"""A page about a run in Chromium, opened from the disk with every other request cut off."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.report.visit import MARKS, Visit

from saltus.report.html.page import write_report
from saltus.report.sections import describe
from saltus.train.records import RunRecords

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = MARKS


@pytest.fixture(scope="module")
def visit(browser: "Browser", three_seeds: RunRecords, tmp_path_factory: pytest.TempPathFactory) -> Visit:
    """One visit for the tests that look at the same report: loading it is what takes the time."""
    path = tmp_path_factory.mktemp("visit") / "report.html"
    write_report(describe([three_seeds]), path)
    return Visit(browser, path, 1280)


def test_a_visit_is_quiet_and_offline(visit: Visit) -> None:
    assert visit.page.locator(".plot .main-svg .legend").count() >= 4
    assert visit.problems == []


def test_the_slider_moves_the_pattern(visit: Visit) -> None:
    slider = visit.page.locator(".frame")
    assert slider.get_attribute("aria-valuetext") == "step 80"
    before = visit.pixels(1)
    slider.focus()
    visit.page.keyboard.press("ArrowLeft")
    assert visit.pixels(1) != before  # the labels of step 70 are the same: what differs is the map
    visit.page.keyboard.press("Home")
    assert slider.get_attribute("aria-valuetext") == "step 0"
    assert visit.page.locator(".step").inner_text() == "step 0"
    assert visit.pixels(1) != before
    visit.page.keyboard.press("End")
    assert visit.pixels(1) == before
    canvas = visit.page.locator(".panel canvas").nth(1)
    assert canvas.get_attribute("aria-label") == "head 0 at step 80"
    assert visit.problems == []


def test_a_map_is_read_where_it_is_pointed_at(visit: Visit) -> None:
    readout, truth = visit.page.locator(".readout"), visit.page.locator(".panel canvas").first
    assert readout.inner_text() == "Point at a cell to read it."
    box = truth.bounding_box()
    assert box is not None
    truth.hover(position={"x": box["width"] / 2, "y": 8})
    assert readout.inner_text() == "true keys: row 0, key 1, one of the true keys"
    visit.page.locator(".panel canvas").nth(2).hover(position={"x": box["width"] - 5, "y": 8})
    assert readout.inner_text() == "true keys: row 0, key 1, one of the true keys"  # the query does not see key 2
    visit.page.locator(".panel canvas").nth(2).hover(position={"x": box["width"] - 5, "y": 24})
    assert readout.inner_text().startswith("head 1: row 1, key 2: 0.")
    assert readout.inner_text().endswith(", not one of the true keys")
    assert visit.problems == []


def test_playing_runs_to_the_end_and_stops(visit: Visit) -> None:
    play, slider = visit.page.locator(".play"), visit.page.locator(".frame")
    play.click()
    assert play.inner_text() == "Pause"
    assert slider.input_value() != "8"
    visit.wait_until(lambda: play.inner_text() == "Play")
    assert slider.input_value() == "8"
    assert visit.problems == []


def test_another_seed_changes_what_is_shown(visit: Visit) -> None:
    names = ("unit-losses", "jumps", "losses")
    before, raster = [visit.pixels(1), *map(visit.figure, names)], visit.figure("raster")
    visit.page.locator("select").select_option("1")
    for name, old in zip(names, before[1:], strict=True):
        visit.wait_until(lambda name=name, old=old: visit.figure(name) != old)
    assert visit.pixels(1) != before[0]
    assert visit.figure("raster") == raster
    assert (
        visit.page.locator("figcaption[data-figure=unit-losses]").inner_text().startswith("Seed 1 learned 1 of 2 rows")
    )
    assert visit.problems == []


def test_on_a_phone_no_buttons_lie_over_a_figure(
    browser: "Browser", three_seeds: RunRecords, tmp_path: Path, visit: Visit
) -> None:
    write_report(describe([three_seeds]), tmp_path / "report.html")
    phone = Visit(browser, tmp_path / "report.html", 390, touch=True)
    assert phone.page.locator(".plot .main-svg .legend").count() >= 4
    assert [each.page.locator(".modebar-btn").count() > 0 for each in (visit, phone)] == [True, False]
    assert phone.problems == []


def test_dark_pages_have_dark_plots(visit: Visit) -> None:
    tick, tools = "[data-figure=losses] .xtick text", "[data-figure=losses] .modebar-group"
    assert visit.colour_of(tools, "background-color") == "rgb(255, 255, 255)"
    light = (visit.colour_of("body", "background-color"), visit.colour_of(tick, "fill"))
    assert light == ("rgb(250, 250, 248)", "rgb(29, 35, 41)")
    losses, pixels = visit.figure("losses"), visit.pixels(1)
    visit.page.emulate_media(color_scheme="dark")
    visit.wait_until(lambda: visit.colour_of(tick, "fill") == "rgb(228, 231, 234)")
    assert visit.colour_of("body", "background-color") == "rgb(18, 21, 25)"
    assert visit.colour_of(tools, "background-color") == "rgb(26, 30, 36)"
    assert visit.figure("losses") != losses
    assert visit.pixels(1) != pixels
    assert visit.problems == []
