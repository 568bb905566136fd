"""The page of scans and patch studies: what its figures, sentences and tables say is what the records say."""

import json
import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from saltus.errors import SaltusError
from saltus.lm.records import PATCH_TABLES, PatchRecords, ScanRecords
from saltus.report import patch_figures, scan_captions, scan_figures
from saltus.report.checkpoints_page import write_checkpoint_report
from saltus.report.labels import shorten, shorten_prompt, show_token
from saltus.report.patch_captions import (
    caption_jump,
    caption_recipient_maps,
    caption_screen,
    caption_shares,
)
from saltus.report.patch_maps import pack_maps
from saltus.report.patch_summary import describe_verdict, summarise_patch
from saltus.report.scan_summary import list_missing, list_unit_numbers, summarise_scan
from saltus.report.size_figure import draw_sizes

Scan = Callable[..., ScanRecords]
Patch = Callable[..., PatchRecords]
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
STEPS = (0, 1, 10, 100, 1000, 2000, 4000)
TWO_SIZES = {("14m", "0"): [None] * 4, ("14m", "1"): [1000, 1000, 1000, None], ("70m", "0"): [10] * 4}
"""Of the set (3 of 4 prompts): 14m never and in (100, 1000], 70m in (1, 10]."""


class Page(HTMLParser):
    """What a browser would make of the file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._text: list[str] = []
        self._inside = ""
        self.feed(path.read_text())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self._text.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self._text))

    @property
    def sections(self) -> list[dict[str, Any]]:
        return json.loads(self.scripts[1])["sections"]


def render(path: Path, *records: ScanRecords | PatchRecords, audit: pa.Table | None = None) -> Page:
    scans = [item for item in records if isinstance(item, ScanRecords)]
    patches = [item for item in records if isinstance(item, PatchRecords)]
    write_checkpoint_report(scans, patches, audit, path / "report.html")
    return Page(path / "report.html")


def find_trace(figure: go.Figure, name: str) -> Any:
    (trace,) = [trace for trace in cast("Any", figure).data if trace.name == name]
    return trace


def place(step: float) -> float:
    return float(np.log10(1.0 + step))


# The scan.


def test_each_seed_is_a_dot_with_its_interval_or_a_triangle(scan: Scan) -> None:
    summary = summarise_scan(scan(TWO_SIZES, steps=STEPS))
    figure = draw_sizes(summary, summary.capabilities[0])
    dots, triangles = find_trace(figure, "a seed"), find_trace(figure, "a seed without it")
    np.testing.assert_allclose(dots.x, [0.24, 1.0])
    np.testing.assert_allclose(dots.y, [place(1000), place(10)])
    assert list(dots.text) == ["seed 1: (100, 1,000]", "seed 0: (1, 10]"]
    bars = find_trace(figure, "last step without to first step with")
    np.testing.assert_allclose([y for y in bars.y if y is not None], [place(s) for s in (100, 1000, 1, 10)])
    np.testing.assert_allclose(triangles.x, [-0.24])
    assert triangles.y[0] > place(4000)
    assert list(triangles.text) == ["seed 0: not by 4,000"]
    labels = dict(zip(*(cast("Any", figure).layout.yaxis[key] for key in ("tickvals", "ticktext")), strict=True))
    assert labels[triangles.y[0]] == "not yet"
    assert labels[0.0] == "0"


def test_the_papers_mean_counts_the_last_step_and_the_median_does_not(scan: Scan) -> None:
    summary = summarise_scan(scan(TWO_SIZES, steps=STEPS))
    figure = draw_sizes(summary, summary.capabilities[0])
    mean = find_trace(figure, "mean as in the paper")
    np.testing.assert_allclose(mean.y, [place((4000 + 550) / 2), place(5.5)])
    assert list(mean.text) == [
        "mean as in the paper: 2,275, 1 of 2 counted as 4,000",
        "mean as in the paper: 6",
    ]
    median = find_trace(figure, "median (Kaplan-Meier)")
    np.testing.assert_allclose(median.y, [place(1000), place(10)])


def test_a_median_that_is_not_reached_is_no_number(scan: Scan) -> None:
    summary = summarise_scan(scan({("14m", str(seed)): [None] * 4 for seed in range(3)}, steps=STEPS))
    figure = draw_sizes(summary, summary.capabilities[0])
    median = find_trace(figure, "median (Kaplan-Meier)")
    assert list(median.text) == ["median not reached [not reached, not reached]"]
    assert median.y[0] > place(4000)
    assert median.marker.symbol == ("square-open",)


def test_trajectories_are_the_measured_means_with_a_ring_at_the_set(scan: Scan) -> None:
    summary = summarise_scan(scan(TWO_SIZES, steps=STEPS))
    figure = scan_figures.draw_trajectories(summary, summary.capabilities[0], 0)
    line = find_trace(figure, "seed 1")
    np.testing.assert_allclose(line.x, [place(step) for step in STEPS])
    np.testing.assert_array_equal(line.customdata, STEPS)
    np.testing.assert_allclose(line.y, [0.1] * 4 + [0.7] * 3, atol=1e-6)
    ring = find_trace(figure, "emerged")
    assert (list(ring.x), list(np.round(ring.y, 6))) == ([place(1000)], [0.7])
    caption = scan_captions.caption_trajectories(summary, summary.capabilities[0], 0)
    assert "seed 1, from 0.10 at step 100 to 0.70 at 1,000" in caption


def test_a_dip_below_chance_is_seen_and_said(scan: Scan) -> None:
    summary = summarise_scan(scan(TWO_SIZES, steps=STEPS, capabilities=["copying", "ioi"], foils=["ioi"]))
    without, ioi = summary.capabilities
    assert not without.has_margin(0)
    assert ioi.has_margin(0)
    line = find_trace(scan_figures.draw_margins(summary, ioi, 1), "seed 0")
    np.testing.assert_allclose(line.y, [0.1, -1.0, 3.0, 3.0, 3.0, 3.0, 3.0], atol=1e-6)
    caption = scan_captions.caption_margins(summary, ioi, 1)
    assert "1 of 1 seed prefer the foil" in caption
    assert "-1.00 nats, seed 0 at step 1." in caption


def test_margins_leave_out_prompts_without_a_foil(scan: Scan) -> None:
    records = scan({("14m", "0"): [10] * 4}, steps=STEPS, foils=["copying"])
    margin = records.probes["margin"].to_numpy().copy()
    margin[records.probes["prompt"].to_numpy() > 0] = np.nan
    column = records.probes.schema.get_field_index("margin")
    summary = summarise_scan(replace(records, probes=records.probes.set_column(column, "margin", pa.array(margin))))
    np.testing.assert_allclose(summary.capabilities[0].traces[0][0].margin, [0.1, -1.0, 3.0, 3.0, 3.0, 3.0, 3.0])


def test_survival_has_a_curve_a_band_and_a_count_for_each_size(scan: Scan) -> None:
    summary = summarise_scan(scan(TWO_SIZES, steps=STEPS))
    figure = scan_figures.draw_size_survival(summary, summary.capabilities[0])
    curve = find_trace(figure, "14m")
    np.testing.assert_allclose(curve.y, [1.0, 0.5, 0.5, 0.5])
    np.testing.assert_array_equal(curve.customdata, [0, 1000, 4000, 4000])
    traces = cast("Any", figure).data
    assert [trace.legendgroup for trace in traces if trace.fill == "tonexty"] == ["14m", "70m"]
    counts = [list(trace.text) for trace in traces if trace.name == "at risk"]
    assert counts == [["2", "2", "2", "2"], ["1", "1", "0", "0"]]


def test_the_raster_holds_prompts_and_the_set(scan: Scan) -> None:
    summary = summarise_scan(scan(TWO_SIZES, steps=STEPS))
    figure = scan_figures.draw_prompts(summary, summary.capabilities[0], 0)
    z = find_trace(figure, "units").z
    np.testing.assert_allclose(z, [[np.nan] * 4, [place(1000)] * 3 + [np.nan]])
    np.testing.assert_allclose(find_trace(figure, "task").z, [[np.nan], [place(1000)]])
    colours = cast("Any", figure).layout.coloraxis
    np.testing.assert_allclose((colours.cmin, colours.cmax), (place(10), place(1000)))  # of all sizes
    caption = scan_captions.caption_prompts(summary, summary.capabilities[0], 0)
    assert "3 of 8 cells emerged (2 seeds, 4 prompts)" in caption
    assert "1 prompt emerged in no seed" in caption


def test_many_prompts_are_thinned_and_it_is_said(scan: Scan) -> None:
    records = scan({("14m", "0"): [10] * 200}, steps=STEPS, prompts=200)
    summary = summarise_scan(records)
    shown = scan_figures.choose_prompts(summary.capabilities[0])
    assert (len(shown), shown[0], shown[-1]) == (64, 0, 199)
    assert "64 of 200 prompts are drawn" in scan_captions.caption_prompts(summary, summary.capabilities[0], 0)


def test_the_headline_counts_runs_and_names_the_widest_disagreement(scan: Scan) -> None:
    emerges = {("14m", str(seed)): [step] * 4 for seed, step in enumerate((10, 1000, None))}
    emerges |= {("70m", "0"): [10] * 4, ("70m", "1"): [100] * 4}
    text = scan_captions.describe_scan(summarise_scan(scan(emerges, steps=STEPS)))
    assert text == (
        "Of 5 runs, copying emerged in 4. Seeds disagree most on copying in 14m: 2 of 3 had it between step 10 and "
        "1,000, 1 not by the last checkpoint measured."
    )
    agreeing = scan_captions.describe_scan(summarise_scan(scan({("14m", "0"): [10] * 4}, steps=STEPS, finished=False)))
    assert agreeing == "Of 1 run, copying emerged in 1 so far."


def test_the_mean_is_called_too_small_only_where_every_censored_seed_was_seen_to_the_end(scan: Scan) -> None:
    full = scan(TWO_SIZES, steps=STEPS)
    partial = scan(TWO_SIZES, steps=STEPS, missing=[("14m", "0", 4000, "gone")], finished=False)
    captions = [
        scan_captions.caption_sizes(summary, summary.capabilities[0])
        for summary in map(summarise_scan, (full, partial))
    ]
    assert ["can only make it too small" in caption for caption in captions] == [True, False]
    assert all("seeds without it count as step 4,000" in caption for caption in captions)
    assert "1 of 2 in 14m and 1 of 1 in 70m" in captions[0]


def test_missing_checkpoints_say_what_they_make_less_certain(scan: Scan) -> None:
    missing = [("14m", "1", 100, "the revision is missing"), ("14m", "1", 4000, "damaged")]
    records = scan(TWO_SIZES, steps=STEPS, missing=missing)
    first, second = list_missing(records, summarise_scan(records))
    assert (first.reason, first.widened) == ("the revision is missing", "copying and 3 prompts of it")
    assert (second.step, second.widened) == (4000, "1 prompt of copying")


def test_every_number_of_a_run_is_in_the_table(scan: Scan, tmp_path: Path) -> None:
    records = scan(TWO_SIZES, steps=STEPS, missing=[("14m", "1", 4000, "damaged")])
    numbers = list_unit_numbers(records, summarise_scan(records))
    assert len(numbers) == 3 * 5
    the_set = next(row for row in numbers if (row.found.seed, row.found.unit.prompt) == ("1", None))
    assert (the_set.first, the_set.last, the_set.measured) == (pytest.approx(0.1), pytest.approx(0.7), 6)
    page = render(tmp_path, records)
    assert "14m 1 copying the set 100 1000 0.1000 0.7000 6" in page.text
    assert "14m 0 copying the set 4000 > 4000 0.1000 0.1000 7" in page.text
    assert "14m 1 copying 3 2000 > 2000 4000 0.1000 0.1000 6" in page.text
    assert "1 capability · 2 sizes, 3 runs · 20 of 21 listed checkpoints measured, 1 missing" in page.text
    assert "14m 1 4000 damaged 1 prompt of copying" in page.text


# The patches.


def test_the_verdict_names_the_smallest_set_and_its_rival(patch: Patch) -> None:
    study = summarise_patch(patch([[0.3, 0.0], [0.0, 0.2]]))
    assert describe_verdict(study) == (
        "The patterns of the best 2 heads bring back 85% [85%, 85%] of the gain (from 0.100 to 0.700). 2 random heads "
        "bring back 5% on average over 5 draws and 10% at most."
    )


def test_the_verdict_is_honest_about_failure(patch: Patch) -> None:
    failed = describe_verdict(summarise_patch(patch([[0.1, 0.0]], greedy=[0.2, 0.3], everything=0.4)))
    assert failed.startswith(
        "Patching did not recover the gain (from 0.100 to 0.700): the patterns of the best 2 heads"
    )
    assert "30% [30%, 30%] of it, where 80% was asked for" in failed
    assert failed.endswith("all 2 heads together 40% [40%, 40%], so the patterns alone do not bring it.")
    lucky = describe_verdict(summarise_patch(patch([[0.3, 0.2, 0.0]], random=0.9)))
    assert "180% at most, so this set stands out little." in lucky
    nothing = describe_verdict(summarise_patch(patch([[0.0, 0.0]], gain=-0.05, greedy=[])))
    assert "no gain that patterns could bring" in nothing


def test_the_jump_marks_recipient_and_donor_among_all_steps(patch: Patch) -> None:
    study = summarise_patch(patch([[0.3, 0.0]], trajectory=(3000, 6000)))
    figure = patch_figures.draw_jump(study)
    assert list(cast("Any", figure).layout.xaxis.ticktext) == ["3,000", "4,000", "5,000", "6,000"]
    np.testing.assert_allclose(find_trace(figure, "mean over the prompts").y, [0.1, 0.1, 0.7, 0.7])
    recipient, donor = find_trace(figure, "recipient"), find_trace(figure, "donor")
    assert (recipient.x, donor.x) == ((1,), (2,))
    np.testing.assert_allclose([recipient.y[0], donor.y[0]], [0.1, 0.7])
    assert "Before the two it is at most 0.100, after them at least 0.700." in caption_jump(study)


def test_a_donor_of_another_seed_is_a_level(patch: Patch) -> None:
    study = summarise_patch(patch([[0.3, 0.0]], trajectory=(), donor_seed="<b>7"))
    figure = patch_figures.draw_jump(study)
    np.testing.assert_allclose(find_trace(figure, "donor: seed &lt;b&gt;7, step 5,000").y, [0.7, 0.7])
    assert list(cast("Any", figure).layout.xaxis.ticktext) == ["4,000"]


def test_maps_share_colours_that_are_symmetric_about_nothing(patch: Patch) -> None:
    study = summarise_patch(patch([[0.3, -0.1], [0.0, 0.05]]))
    limit = patch_figures.find_limit(study, ("patch", "self", "shuffled"))
    assert limit == pytest.approx(0.3)
    figure = patch_figures.draw_map(study, "shuffled", limit)
    colours = cast("Any", figure).layout.coloraxis
    assert (colours.cmin, colours.cmax) == (-limit, limit)
    assert colours.colorscale[2][0] == 0.5
    np.testing.assert_allclose(cast("Any", figure).data[0].z, 0.05 * np.array([[0.3, -0.1], [0.0, 0.05]]), atol=1e-12)
    own = patch_figures.draw_map(study, "self", limit)
    np.testing.assert_array_equal(cast("Any", own).data[0].z, np.zeros((2, 2)))


def test_the_caption_says_whether_self_is_exactly_nothing(patch: Patch) -> None:
    records = patch([[0.3, 0.0]])
    assert "changes exactly 0, as it must" in caption_recipient_maps(summarise_patch(records), 0.3)
    kinds = np.array(records.effects["kind"].to_pylist())
    values = records.effects["probability"].to_numpy() + np.where(kinds == "self", 1e-3, 0.0)
    column = records.effects.schema.get_field_index("probability")
    wrong = replace(records, effects=records.effects.set_column(column, "probability", pa.array(values)))
    assert "changes up to 1.0e-03: a fault" in caption_recipient_maps(summarise_patch(wrong), 0.3)


def test_shares_stand_beside_random_heads(patch: Patch) -> None:
    study = summarise_patch(patch([[0.3, 0.2, 0.0]], swing=0.1, prompts=8))
    figure = patch_figures.draw_shares(study)
    np.testing.assert_allclose(find_trace(figure, "best set found").y, [0.5, 0.85], atol=0.01)
    np.testing.assert_allclose(find_trace(figure, "all heads").y, [0.95], atol=0.01)
    np.testing.assert_allclose(
        find_trace(figure, "random heads, a dot for each draw").y, 0.05 * np.arange(5) / 2, atol=0.01
    )
    whiskers = next(trace for trace in cast("Any", figure).data if trace.name == "interval")
    low, high = whiskers.y[:2]
    assert 0.4 < low < 0.5 < high < 0.6
    assert "2 heads 85%" in caption_shares(study)


def test_the_screen_lies_at_its_estimates(patch: Patch) -> None:
    study = summarise_patch(patch([[0.3, 0.2], [0.1, -0.1]]))
    dots = find_trace(patch_figures.draw_screen(study), "a head")
    np.testing.assert_allclose(dots.x, 0.8 * np.asarray(dots.y))
    assert list(dots.customdata[:2]) == ["layer 0, head 0", "layer 0, head 1"]
    assert list(dots.text) == ["0.0", "0.1", "1.0", "1.1"]
    assert "rank correlation over 4 heads is 1.00; 4 of the 4 heads" in caption_screen(study)


def test_attention_is_packed_by_head_and_model(patch: Patch) -> None:
    maps = pack_maps(summarise_patch(patch([[0.3, 0.2], [0.1, -0.1]])))
    assert maps is not None
    assert maps.heads == ["layer 0, head 0: alone +0.300 [+0.284, +0.316]", maps.heads[1]]
    assert maps.prompts[0].tokens == ["When", "␣Mary", "␣and", "␣John", "⏎", "␣to"]
    donor = np.frombuffer(b64decode(maps.prompts[1].donor[0]), dtype=np.uint8).reshape(6, 6)
    np.testing.assert_array_equal(donor, 255 * np.eye(6))
    recipient = np.frombuffer(b64decode(maps.prompts[0].recipient[0]), dtype=np.uint8).reshape(6, 6)
    np.testing.assert_array_equal(recipient[3], [128, 128, 128, 128, 0, 0])  # 255 times the root of a quarter


def test_long_prompts_are_cropped_to_their_end(patch: Patch) -> None:
    tokens = [f" {number}" for number in range(200)]
    maps = pack_maps(summarise_patch(patch([[0.3, 0.2]], tokens=tokens)))
    assert maps is not None
    assert maps.cropped
    assert (len(maps.prompts[0].tokens), maps.prompts[0].tokens[-1]) == (96, "␣199")
    donor = np.frombuffer(b64decode(maps.prompts[0].donor[0]), dtype=np.uint8).reshape(96, 96)
    np.testing.assert_array_equal(donor, 255 * np.eye(96))


# The page.


def test_a_page_of_everything(scan: Scan, patch: Patch, findings: pa.Table, tmp_path: Path) -> None:
    scanned = scan(TWO_SIZES, steps=STEPS, capabilities=["copying", "ioi"], foils=["ioi"])
    page = render(tmp_path, scanned, patch([[0.3, 0.0], [0.0, 0.2]]), audit=findings)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    plots = [attributes for _, attributes in page.elements if attributes.get("class") == "plot"]
    assert len(plots) == 5 + 3 + 8
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in plots)
    for attributes in plots:
        figures = page.sections[int(attributes["data-section"] or "")]["figures"]
        assert attributes["data-figure"] in figures
    figures = page.sections[0]["figures"]
    assert set(figures["sizes"]["views"]) == {"0", "1"}
    assert set(figures["trajectories"]["views"]) == {"0,0", "0,1", "1,0", "1,1"}
    assert set(figures["margins"]["views"]) == {"1,0", "1,1"}  # copying has no foil
    assert "The audit found 1 fault and 1 note." in page.text
    assert "410m 1 96000 fault identical step 143,000 the weights are those of another step" in page.text
    assert page.text.index("those of another step") < page.text.index("was another model once")
    assert "greedy 0.0 1.1 0 2 0.610" in page.text
    assert "0 0 0.300 0.284 0.316 0.240 0.000 0.015 -0.300 -0.300" in page.text


def test_nothing_is_loaded_from_anywhere(scan: Scan, patch: Patch, tmp_path: Path) -> None:
    page = render(tmp_path, scan(TWO_SIZES, steps=STEPS), patch([[0.3]]))
    for tag, attributes in page.elements:
        assert not {"src", "srcset", "action", "data", "poster"} & set(attributes), tag
        assert (attributes.get("href") or "#").startswith("#")
        assert tag not in {"link", "iframe", "object", "embed", "base"}
    policies = [attributes for tag, attributes in page.elements if tag == "meta" and "http-equiv" in attributes]
    assert "default-src 'none'" in (policies[0]["content"] or "")
    assert not re.search(r"https?:|\bfetch\b|XMLHttpRequest|\bimport\b|WebSocket", page.scripts[1] + page.scripts[2])


def test_hostile_text_stays_text(scan: Scan, patch: Patch, findings: pa.Table, tmp_path: Path) -> None:
    def build(text: str) -> Page:
        scanned = scan(
            {(text, text): [10] * 4, (text, "b"): [None] * 4},
            steps=STEPS,
            capabilities=[text],
            foils=[text],
            texts=[(text, text)] * 4,
            missing=[(text, text, 1000, text)],
            suite=text,
        )
        column = findings.schema.get_field_index("detail")
        audit = findings.set_column(column, "detail", pa.array([text, text]))
        patched = patch(
            [[0.3, 0.2]], tokens=[text] * 3, texts=[text], size=text, seed=text, suite=text, donor_seed=text
        )
        return render(tmp_path, scanned, patched, audit=audit)

    expected, page = build("harmless"), build(HOSTILE)
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in expected.elements]
    assert len(page.scripts) == 3
    assert "<" not in page.scripts[1]
    assert HOSTILE in page.text
    for section in page.sections:
        for figure in section["figures"].values():
            for view in figure["views"].values():
                assert "<script" not in json.dumps(view["figure"])
    assert page.sections[1]["maps"]["prompts"][0]["tokens"][0] == shorten(HOSTILE, 12)


@pytest.mark.parametrize(
    ("emerges", "said"),
    [
        ({("14m", "0"): [None] * 4}, "copying emerged in none"),
        ({("14m", "0"): [10] * 4}, "copying emerged in 1"),
        ({("14m", "0"): None}, "No checkpoint of the 1 run could be measured"),
        ({("14m", "0"): None, ("70m", "0"): [10] * 4}, "Of 1 run, copying emerged in 1"),
        ({("14m", "0"): [0] * 4}, "copying emerged in 1"),
        ({}, "No checkpoint of the 0 runs could be measured"),
    ],
)
def test_scans_with_little_in_them(
    scan: Scan, tmp_path: Path, emerges: dict[tuple[str, str], list[int | None] | None], said: str
) -> None:
    page = render(tmp_path, scan(emerges, steps=STEPS, finished=False))
    assert said in page.text
    assert "This scan is not finished" in page.text
    assert len([tag for tag, _ in page.elements if tag == "select"]) == (len(emerges) > 1)  # of sizes alone


def test_patches_with_little_in_them(patch: Patch, tmp_path: Path) -> None:
    bare = patch([[0.3]], greedy=[0.9], prompts=1, trajectory=())
    kept = bare.effects.filter(pc.field("kind") != "mean")
    empty = PATCH_TABLES["patterns"].empty_table()
    page = render(tmp_path, replace(bare, effects=kept, patterns=empty))
    assert "The pattern of the best head brings back 90%" in page.text
    assert "1 random head brings back" in page.text
    assert "ranks cannot be compared" in page.text
    assert page.sections[0]["maps"] is None
    assert "map-mean" not in page.sections[0]["figures"]
    assert "What these heads attend to" not in page.text


def test_effects_that_could_not_be_measured(patch: Patch, tmp_path: Path) -> None:
    records = patch([[0.3, 0.0]])
    kinds = np.array(records.effects["kind"].to_pylist())
    values = np.where(kinds == "resample", np.nan, records.effects["probability"].to_numpy())
    column = records.effects.schema.get_field_index("probability")
    page = render(
        tmp_path, replace(records, effects=records.effects.set_column(column, "probability", pa.array(values)))
    )
    assert "map-resample" not in page.sections[0]["figures"]
    assert "0 0 0.300 0.284 0.316 0.240 0.000 0.015 -0.300 -0.300 -0.300 \N{EN DASH} -0.300" in page.text


def test_a_long_table_leaves_prompts_out_and_says_so(scan: Scan, tmp_path: Path) -> None:
    emerges = {("14m", str(seed)): [10] * 1100 for seed in range(10)}
    page = render(tmp_path, scan(emerges, steps=(0, 10), prompts=1100))
    assert "Single prompts (11,000 rows) are left out here; they are in scan-0123456789/probes.parquet." in page.text
    assert page.text.count("copying the set") == 10


def test_a_report_needs_something(tmp_path: Path) -> None:
    with pytest.raises(SaltusError, match="at least one scan or patch study"):
        write_checkpoint_report([], [], None, tmp_path / "report.html")


def test_a_report_appears_whole_or_not_at_all(patch: Patch, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(SaltusError, match="taken cannot be written"):
        write_checkpoint_report([], [patch([[0.3]])], None, tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_labels_show_what_cannot_be_seen() -> None:
    assert show_token(" Mary") == "␣Mary"
    assert show_token("  ") == "␣␣"
    assert show_token("\n") == "⏎"
    assert shorten("a\u202eb\x00c") == "a·b·c"
    assert shorten("abcdef", 4) == "abc…"
    assert shorten_prompt("abcdef", 4) == "…def"
