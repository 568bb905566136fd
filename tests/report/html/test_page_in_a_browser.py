"""A page of several kinds in Chromium, opened from the disk with every other request cut off."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.report.page import HOSTILE
from tests.report.visit import MARKS, Visit

from saltus.curves import Curves, Key
from saltus.lm.audit.folder import AuditRecords
from saltus.lm.patching.records import PatchRecords
from saltus.lm.scanning.records import ScanRecords
from saltus.report.html.page import write_report
from saltus.report.sections import describe
from saltus.train.records import RunRecords

if TYPE_CHECKING:
    from playwright.sync_api import Browser

Build = Callable[..., RunRecords]
Scan = Callable[..., ScanRecords]
Patch = Callable[..., PatchRecords]
PATCH = "#section-3"
STEPS = (0, 1, 10, 100, 1000, 2000, 4000)

pytestmark = MARKS


@pytest.fixture(scope="module")
def visit(
    browser: "Browser",
    three_seeds: RunRecords,
    scan: Scan,
    patch: Patch,
    audit: AuditRecords,
    tmp_path_factory: pytest.TempPathFactory,
) -> Visit:
    """One visit for the tests that look at the same report: loading it is what takes the time."""
    emerges = {(size, seed): [step] * 4 for size, seed, step in (("14m", "0", 1000), ("14m", "1", None))}
    emerges |= {("70m", "0"): [10] * 4, ("70m", "1"): [100] * 4}
    scanned = scan(emerges, steps=STEPS, capabilities=["copying", "ioi"], foils=["ioi"])
    texts = [f"When Mary and John went to the store, John gave a drink to ({prompt})" for prompt in range(6)]
    patched = patch([[0.3, 0.0], [0.0, 0.2]], texts=texts)
    path = tmp_path_factory.mktemp("visit") / "report.html"
    write_report(describe([patched, audit, scanned, three_seeds]), path)
    return Visit(browser, path, 1280)


def test_a_visit_is_quiet_and_draws_everything(visit: Visit) -> None:
    assert visit.problems == []
    plots = visit.page.locator(".plot:visible")
    assert plots.count() == 6 + 5 - 1 + 3 + 8  # the capability that is shown first has no margin
    assert visit.page.locator(".plot:visible .main-svg").count() >= plots.count()
    shown = visit.page.evaluate("[...document.querySelectorAll('.grid .plot')].map(div => div.clientHeight)")
    assert min(shown) >= 120
    colours = {visit.pixels(number, PATCH) for number in range(2)}
    assert len(colours) == 2  # recipient and donor


def test_another_capability_changes_its_figures_and_shows_its_margin(visit: Visit) -> None:
    before, patched, run = visit.figure("sizes"), visit.figure("shares"), visit.figure("unit-losses")
    hidden = visit.page.locator(".block:has([data-figure=margins])")
    assert hidden.is_hidden()
    visit.page.locator("select[data-key=capability]").select_option("1")
    visit.wait_until(lambda: hidden.locator(".main-svg").count() > 0)
    assert hidden.is_visible()
    caption = visit.page.locator("figcaption[data-figure=sizes]").inner_text()
    assert caption.startswith("ioi is there")
    assert visit.figure("sizes") == before  # emergence is the same for both in this scan
    assert (visit.figure("shares"), visit.figure("unit-losses")) == (patched, run)
    visit.page.locator("select[data-key=capability]").select_option("0")
    visit.wait_until(lambda: hidden.is_hidden())
    assert visit.problems == []


def test_another_size_changes_its_figures_alone(visit: Visit) -> None:
    sizes, trajectories = visit.figure("sizes"), visit.figure("trajectories")
    select = visit.page.locator("select[data-key=size]")
    assert select.input_value() == "0"  # the seeds of 14m disagree most
    select.select_option("1")
    visit.wait_until(lambda: visit.figure("trajectories") != trajectories)
    assert visit.figure("sizes") == sizes
    caption = visit.page.locator("figcaption[data-figure=prompts]").inner_text()
    assert caption.startswith("copying in 70m: ")
    assert "8 of 8 prompts emerged" in caption
    select.select_option("0")
    visit.wait_until(lambda: visit.figure("trajectories") == trajectories)
    assert visit.problems == []


def test_choices_of_one_section_leave_the_others(visit: Visit) -> None:
    trajectories, losses = visit.figure("trajectories"), visit.figure("unit-losses")
    visit.page.locator("select[data-key=seed]").select_option("1")
    visit.wait_until(lambda: visit.figure("unit-losses") != losses)
    assert visit.figure("trajectories") == trajectories
    visit.page.locator("select[data-key=seed]").select_option("0")
    visit.wait_until(lambda: visit.figure("unit-losses") == losses)
    assert visit.problems == []


def test_a_map_is_read_where_it_is_pointed_at(visit: Visit) -> None:
    canvas = visit.page.locator(f"{PATCH} .panel canvas").nth(1)
    box = canvas.bounding_box()
    assert box is not None
    canvas.hover(position={"x": box["width"] - 3, "y": 6 * 16})
    readout = visit.page.locator(f"{PATCH} .readout")
    assert readout.inner_text() == "donor: query 5 (␣to), key 5 (␣to): 1.00"
    select = visit.page.locator("select[data-key=prompt]")
    assert select.locator("option").first.inner_text().startswith("0: …")
    select.select_option("1")
    assert visit.page.locator(f"{PATCH} .panel canvas").count() == 4
    assert visit.problems == []


def test_tables_reach_the_disk(visit: Visit) -> None:
    name, lines = visit.download("#section-1")
    assert name == "scan-0123456789.csv"
    assert lines[0].startswith("size,seed,capability,prompt,last_step_without,first_step_with,lost_at,missing_inside,")
    assert lines[1] == "14m,0,copying,the set,100,1000,,,0.1000,0.9000,7"
    assert lines[6] == "14m,1,copying,the set,4000,,,,0.1000,0.1000,7"
    assert len(lines) == 1 + 4 * 2 * 5
    _, faults = visit.download("#section-2")
    assert faults[1] == '410m,1,96000,fault,identical,"step 143,000",the weights are those of another step,0.000'
    name, sets = visit.download(PATCH)
    assert name == "patch-0123456789-sets.csv"
    assert sets[2].startswith("greedy,0.0 1.1,0,2,0.610,")
    _, heads = visit.download(PATCH, 1)
    assert heads[1].startswith("0,0,0.300,0.284,0.316,0.240,0.000,0.015,-0.300")
    assert visit.problems == []


def test_dark_pages_have_dark_plots_and_maps(visit: Visit) -> None:
    tick = "[data-figure=sizes] .xtick text"
    light, maps = visit.figure("map-patch"), visit.pixels(0, PATCH)
    colours = "() => document.querySelector('[data-figure=map-patch]').layout.coloraxis.colorscale[2][1]"
    assert visit.page.evaluate(colours) == "#F3F3F1"
    assert visit.colour_of(tick, "fill") == "rgb(29, 35, 41)"
    scale = visit.colour_of(".key i", "background-image")
    visit.page.emulate_media(color_scheme="dark")
    visit.wait_until(lambda: visit.colour_of(tick, "fill") == "rgb(228, 231, 234)")
    visit.wait_until(lambda: visit.page.evaluate(colours) == "#262C34")
    assert visit.figure("map-patch") == light  # the same numbers
    assert visit.colour_of(".key i", "background-image") != scale
    assert visit.pixels(0, PATCH) != maps
    visit.page.emulate_media(color_scheme="light")
    assert visit.problems == []


def test_no_width_overflows(
    browser: "Browser", scan: Scan, patch: Patch, build: Build, audit: AuditRecords, tmp_path: Path
) -> None:
    long = "a-very-long-name-without-an-end" * 5
    scanned = scan(
        {(f"{long}{number}", long): [10] * 16 for number in range(8)},
        steps=STEPS,
        prompts=16,
        capabilities=[long, f"{long}2"],
        suite=f"folder:/{long}",
        texts=[(long, long)] * 16,
        missing=[(f"{long}0", long, 1000, long)],
    )
    patched = patch([[0.1] * 16] * 24, greedy=[0.5] * 8, tokens=[long] * 40, size=long, texts=[long], suite=long)
    run = build(np.zeros((2, 3, 16)), needed=3, names=[f"{long}{number}" for number in range(16)])
    write_report(describe([scanned, patched, run, audit]), tmp_path / "report.html")
    visit = Visit(browser, tmp_path / "report.html", 375)
    for summary in visit.page.locator("summary").all():
        summary.click()
    for width in (375, 1280):
        visit.page.set_viewport_size({"width": width, "height": 800})
        visit.page.wait_for_timeout(300)
        shown, given = visit.widths()
        assert shown <= given == width
        wide = "width => [...document.querySelectorAll('.plot, canvas')].filter(e => e.clientWidth > width - 40).length"
        assert visit.page.evaluate(wide, width) == 0
    assert visit.problems == []


def test_hostile_text_runs_nothing_and_is_shown(
    browser: "Browser", scan: Scan, patch: Patch, build: Build, accuracies: Curves, tmp_path: Path
) -> None:
    scanned = scan(
        {(HOSTILE, HOSTILE): [10] * 4, ("b", HOSTILE): [None] * 4},
        steps=STEPS,
        capabilities=[HOSTILE, "ioi"],
        foils=[HOSTILE],
        texts=[(HOSTILE, HOSTILE)] * 4,
        suite=HOSTILE,
    )
    patched = patch(
        [[0.3, 0.2]], tokens=[HOSTILE] * 3, texts=[HOSTILE], size=HOSTILE, suite=HOSTILE, donor_seed=HOSTILE
    )
    progress = np.zeros((1, 4, 2))
    progress[0, 1:, 0] = 1.0
    run = build(progress, corners=[HOSTILE], names=[HOSTILE, "b"])
    own = replace(accuracies[0], key=Key(HOSTILE, HOSTILE, HOSTILE))
    curves = replace(accuracies, curves=(own,), measure=HOSTILE, unit_of_measure=HOSTILE)
    write_report(describe([run, scanned, patched, curves]), tmp_path / "report.html")
    visit = Visit(browser, tmp_path / "report.html", 1280)
    assert visit.page.evaluate("document.querySelectorAll('main img, main script, svg a').length") == 0
    assert visit.page.locator("h2").nth(1).inner_text() == f"Scan of {HOSTILE}"
    assert HOSTILE in visit.page.locator(".warning").first.inner_text()
    ticks = visit.page.locator("[data-figure=sizes] .xtick text").all_text_contents()
    assert ticks[0] == HOSTILE[:13] + "…"
    visit.page.locator("select[data-key=capability]").select_option("1")
    visit.wait_until(lambda: "ioi is there" in visit.page.locator("figcaption[data-figure=sizes]").inner_text())
    quoted = HOSTILE.replace('"', '""')
    _, lines = visit.download("#section-1")
    assert lines[1].startswith(f'"{quoted}","{quoted}","{quoted}",the set,1,10,')
    name, lines = visit.download("#section-0")
    assert name == "small.csv"
    assert lines[0] == (
        "seed,unit,last_step_without,first_step_with,lost_at,loss,accuracy,target_probability,progress,head,truth_mass,"
        "overlap,chance_overlap"
    )
    assert lines[1] == "0,whole task,20,,,0.3466,0.750,0.750,0.000,,,,"
    assert lines[2].startswith(f'0,"{quoted}",0,10,,0.0000,1.000,1.000,1.000,0.1,1.000,1.000,')
    assert lines[3].startswith("0,b,20,,,0.6931,0.500,0.500,0.000,0.0,0.000,0.000,")
    assert len(lines) == 4
    assert visit.problems == []
