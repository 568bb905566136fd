"""The page in Chromium, opened from the disk with every other request cut off."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.report.visit import MARKS, Visit

from saltus.report.run.page import write_report
from saltus.train.records import RunRecords

if TYPE_CHECKING:
    from playwright.sync_api import Browser

Build = Callable[..., RunRecords]

pytestmark = MARKS


@pytest.fixture(scope="module")
def visit(browser: "Browser", three_seeds: RunRecords, tmp_path_factory: pytest.TempPathFactory) -> Visit:
    """One visit for the tests that look at the same report: loading it is what takes the time."""
    path = tmp_path_factory.mktemp("visit") / "report.html"
    write_report([three_seeds], path)
    return Visit(browser, path, 1280)


def test_a_visit_is_quiet_and_offline(visit: Visit) -> None:
    assert visit.page.locator(".plot .main-svg .legend").count() >= 4
    assert visit.problems == []


def test_the_slider_moves_the_pattern(visit: Visit) -> None:
    slider = visit.page.locator(".snapshot")
    assert slider.get_attribute("aria-valuetext") == "step 80"
    before = visit.pixels(1)
    slider.focus()
    visit.page.keyboard.press("Home")
    assert slider.get_attribute("aria-valuetext") == "step 0"
    assert visit.page.locator(".step").inner_text() == "step 0"
    assert visit.pixels(1) != before
    visit.page.keyboard.press("End")
    assert visit.pixels(1) == before
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
    before, raster = [visit.pixels(1), *map(visit.figure, names)], visit.figure("raster")
    visit.page.locator("select").select_option("1")
    for name, old in zip(names, before[1:], strict=True):
        visit.wait_until(lambda name=name, old=old: visit.figure(name) != old)
    assert visit.pixels(1) != before[0]
    assert visit.figure("raster") == raster
    assert visit.page.locator("[data-caption=unit-losses]").inner_text().startswith("Seed 1 learned 1 of 2 rows")
    assert visit.problems == []


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


def test_no_width_overflows(browser: "Browser", build: Build, tmp_path: Path) -> None:
    many = build(np.zeros((2, 3, 16)), needed=3, names=["a very long name of a unit without an end" * 3] * 16)
    write_report([many, many], tmp_path / "report.html")
    visit = Visit(browser, tmp_path / "report.html", 375)
    visit.page.locator("summary").first.click()
    for width in (375, 1280):
        visit.page.set_viewport_size({"width": width, "height": 800})
        visit.page.wait_for_timeout(200)
        shown, given = visit.widths()
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
    name, lines = visit.download(0)
    assert name == "small.csv"
    assert lines[0].startswith("seed,unit,last_step_without,first_step_with,lost_at,loss,accuracy,head,truth_mass")
    assert lines[1].startswith("0,whole task,30,,,")
    quoted = hostile.replace('"', '""')
    assert lines[2].startswith(f'0,"{quoted}",0,10,,0.0000,1.000,0.1,1.000,1.000,')
    assert lines[3].startswith("0,b,30,,,0.6931,0.500,0.0,0.000,0.000,")
    assert len(lines) == 4
    assert visit.problems == []
