"""The page of scans and patch studies in Chromium, opened from the disk with every other request cut off."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from saltus.lm.records import PatchRecords, ScanRecords
from tests.report.visit import MARKS, Visit

from saltus.report.checkpoints import write_checkpoint_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser

Scan = Callable[..., ScanRecords]
Patch = Callable[..., PatchRecords]
HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2), alert(3)">'
PATCHES = "[data-section='1']"
STEPS = (0, 1, 10, 100, 1000, 2000, 4000)

pytestmark = MARKS


@pytest.fixture(scope="module")
def visit(
    browser: "Browser", scan: Scan, patch: Patch, findings: pa.Table, tmp_path_factory: pytest.TempPathFactory
) -> Visit:
    """One visit for the tests that look at the same report: loading it is what takes the time."""
    emerges = {(size, seed): [step] * 4 for size, seed, step in (("14m", "0", 1000), ("14m", "1", None))}
    emerges |= {("70m", "0"): [10] * 4, ("70m", "1"): [100] * 4}
    scanned = scan(emerges, steps=STEPS, capabilities=["copying", "ioi"], foils=["ioi"])
    texts = [f"When Mary and John went to the store, John gave a drink to ({prompt})" for prompt in range(6)]
    path = tmp_path_factory.mktemp("visit") / "report.html"
    write_checkpoint_report([scanned], [patch([[0.3, 0.0], [0.0, 0.2]], texts=texts)], findings, path)
    return Visit(browser, path, 1280)


def test_a_visit_is_quiet_and_draws_everything(visit: Visit) -> None:
    assert visit.problems == []
    plots = visit.page.locator(".plot:visible")
    assert plots.count() == 5 - 1 + 3 + 8  # the capability that is shown first has no margin
    assert visit.page.locator(".plot:visible .main-svg").count() >= plots.count()
    shown = visit.page.evaluate("[...document.querySelectorAll('.grid .plot')].map(div => div.clientHeight)")
    assert min(shown) >= 120
    colours = {visit.pixels(number) for number in range(2)}
    assert len(colours) == 2  # recipient and donor


def test_another_capability_changes_its_figures_and_shows_its_margin(visit: Visit) -> None:
    before, patched = visit.figure("sizes"), visit.figure("shares", PATCHES)
    assert visit.page.locator(".block").is_hidden()
    visit.page.locator("select[data-key=capability]").select_option("1")
    visit.wait_until(lambda: visit.page.locator(".block .main-svg").count() > 0)
    assert visit.page.locator(".block").is_visible()
    caption = visit.page.locator("figcaption[data-figure=sizes]").inner_text()
    assert caption.startswith("ioi is there")
    assert visit.figure("sizes") == before  # emergence is the same for both in this scan
    assert visit.figure("shares", PATCHES) == patched
    visit.page.locator("select[data-key=capability]").select_option("0")
    visit.wait_until(lambda: visit.page.locator(".block").is_hidden())
    assert visit.problems == []


def test_another_size_changes_its_figures_alone(visit: Visit) -> None:
    sizes, trajectories = visit.figure("sizes"), visit.figure("trajectories")
    select = visit.page.locator("select[data-key=size]")
    assert select.input_value() == "0"  # the seeds of 14m disagree most
    select.select_option("1")
    visit.wait_until(lambda: visit.figure("trajectories") != trajectories)
    assert visit.figure("sizes") == sizes
    assert visit.page.locator("figcaption[data-figure=prompts]").inner_text().startswith("copying in 70m: 8 of 8 cells")
    select.select_option("0")
    visit.wait_until(lambda: visit.figure("trajectories") == trajectories)
    assert visit.problems == []


def test_a_map_is_read_where_it_is_pointed_at(visit: Visit) -> None:
    canvas = visit.page.locator(".panel canvas").nth(1)
    box = canvas.bounding_box()
    assert box is not None
    canvas.hover(position={"x": box["width"] - 3, "y": 6 * 16 - 3})
    assert visit.page.locator(".readout").inner_text() == "donor: ␣to (5) looks at ␣to (5) with 1.00"
    select = visit.page.locator("select[data-key=prompt]")
    assert select.locator("option").first.inner_text().startswith("0: …")
    select.select_option("1")
    assert visit.page.locator(".panel canvas").count() == 4
    assert visit.problems == []


def test_tables_reach_the_disk(visit: Visit) -> None:
    name, lines = visit.download(0)
    assert name == "scan-0123456789.csv"
    assert lines[0].startswith("size,seed,capability,prompt,last_step_without,first_step_with,lost_at,missing_inside,")
    assert lines[1] == "14m,0,copying,the set,100,1000,,,0.1000,0.9000,7"
    assert lines[6] == "14m,1,copying,the set,4000,,,,0.1000,0.1000,7"
    assert len(lines) == 1 + 4 * 2 * 5
    _, faults = visit.download(1)
    assert faults[1] == '410m,1,96000,fault,identical,"step 143,000",the weights are those of another step,0.000'
    name, sets = visit.download(2)
    assert name == "patch-0123456789-sets.csv"
    assert sets[2].startswith("greedy,0.0 1.1,0,2,0.610,")
    _, heads = visit.download(3)
    assert heads[1].startswith("0,0,0.300,0.284,0.316,0.240,0.000,0.015,-0.300")
    assert visit.problems == []


def test_dark_pages_have_dark_plots_and_maps(visit: Visit) -> None:
    tick = "[data-figure=sizes] .xtick text"
    light, maps = visit.figure("map-patch", PATCHES), visit.pixels(0)
    colours = "() => document.querySelector('[data-figure=map-patch]').layout.coloraxis.colorscale[2][1]"
    assert visit.page.evaluate(colours) == "#F3F3F1"
    assert visit.colour_of(tick, "fill") == "rgb(29, 35, 41)"
    scale = visit.colour_of(".scale i", "background-image")
    visit.page.emulate_media(color_scheme="dark")
    visit.wait_until(lambda: visit.colour_of(tick, "fill") == "rgb(228, 231, 234)")
    visit.wait_until(lambda: visit.page.evaluate(colours) == "#262C34")
    assert visit.figure("map-patch", PATCHES) == light  # the same numbers
    assert visit.colour_of(".scale i", "background-image") != scale
    assert visit.pixels(0) != maps
    visit.page.emulate_media(color_scheme="light")
    assert visit.problems == []


def test_no_width_overflows(browser: "Browser", scan: Scan, patch: Patch, findings: pa.Table, tmp_path: Path) -> None:
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
    write_checkpoint_report([scanned], [patched], findings, tmp_path / "report.html")
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
    browser: "Browser", scan: Scan, patch: Patch, findings: pa.Table, tmp_path: Path
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
    write_checkpoint_report([scanned], [patched], findings, tmp_path / "report.html")
    visit = Visit(browser, tmp_path / "report.html", 1280)
    assert visit.page.evaluate("document.querySelectorAll('main img, main script, svg a').length") == 0
    assert visit.page.locator("h2").first.inner_text() == f"When it emerged: {HOSTILE}"
    ticks = visit.page.locator("[data-figure=sizes] .xtick text").all_text_contents()
    assert ticks[0] == HOSTILE[:13] + "…"
    visit.page.locator("select[data-key=capability]").select_option("1")
    visit.wait_until(lambda: "ioi is there" in visit.page.locator("figcaption[data-figure=sizes]").inner_text())
    _, lines = visit.download(0)
    quoted = HOSTILE.replace('"', '""')
    assert lines[1].startswith(f'"{quoted}","{quoted}","{quoted}",the set,1,10,')
    assert visit.problems == []
