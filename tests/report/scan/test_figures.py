"""What the figures and sentences on a scan say is what its records say."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
from tests.report.traces import find_trace, layout_of

from saltus.curves import Rule
from saltus.lm.scanning.records import ScanRecords
from saltus.report.scan import captions as scan_captions
from saltus.report.scan import figures as scan_figures
from saltus.report.scan.summary import list_missing, summarise_scan
from saltus.specs.criteria import CriterionSpec

Scan = Callable[..., ScanRecords]
STEPS = (0, 1, 10, 100, 1000, 2000, 4000)
TWO_SIZES = {("14m", "0"): [None] * 4, ("14m", "1"): [1000, 1000, 1000, None], ("70m", "0"): [10] * 4}
"""Of the set (3 of 4 prompts): 14m never and in (100, 1000], 70m in (1, 10]."""


def place(step: float) -> float:
    return float(np.log10(1.0 + step))


def test_each_seed_is_a_dot_with_its_interval_or_a_triangle(scan: Scan) -> None:
    summary = summarise_scan(scan(TWO_SIZES, steps=STEPS))
    figure = scan_figures.draw_sizes(summary, summary.capabilities[0])
    dots, triangles = find_trace(figure, "a seed"), find_trace(figure, "a seed without it")
    np.testing.assert_allclose(dots.x, [0.24, 1.0])
    np.testing.assert_allclose(dots.y, [place(1000), place(10)])
    assert list(dots.text) == ["seed 1: (100, 1,000]", "seed 0: (1, 10]"]
    bars = find_trace(figure, "last step without to first step with")
    np.testing.assert_allclose([y for y in bars.y if y is not None], [place(s) for s in (100, 1000, 1, 10)])
    np.testing.assert_allclose(triangles.x, [-0.24])
    assert triangles.y[0] > place(4000)
    assert list(triangles.text) == ["seed 0: not by 4,000"]
    labels = dict(zip(*(layout_of(figure).yaxis[key] for key in ("tickvals", "ticktext")), strict=True))
    assert labels[triangles.y[0]] == "not yet"
    assert labels[0.0] == "0"


def test_the_papers_mean_counts_the_last_step_and_the_median_does_not(scan: Scan) -> None:
    summary = summarise_scan(scan(TWO_SIZES, steps=STEPS))
    figure = scan_figures.draw_sizes(summary, summary.capabilities[0])
    mean = find_trace(figure, "mean as in the paper")
    np.testing.assert_allclose(mean.y, [place((4000 + 550) / 2), place(5.5)])
    assert list(mean.text) == [
        "mean as in the paper: 2,275, 1 of 2 counted as 4,000",
        "mean as in the paper: 6",
    ]
    median = find_trace(figure, "median (Turnbull)")
    # Of two seeds one came in (100, 1000] and one never: the half is complete at the right end. Of one, in the middle.
    np.testing.assert_allclose(median.y, [place(1000), place(5.5)])


def test_a_median_that_is_not_reached_is_no_number(scan: Scan) -> None:
    summary = summarise_scan(scan({("14m", str(seed)): [None] * 4 for seed in range(3)}, steps=STEPS))
    figure = scan_figures.draw_sizes(summary, summary.capabilities[0])
    median = find_trace(figure, "median (Turnbull)")
    assert list(median.text) == ["median not reached [0, ∞]"]
    assert median.y[0] > place(4000)
    assert median.marker.symbol == ("square-open",)


def test_trajectories_are_the_measured_means_with_a_ring_at_the_set(scan: Scan) -> None:
    summary = summarise_scan(scan(TWO_SIZES, steps=STEPS))
    figure = scan_figures.draw_trajectories(summary, summary.capabilities[0], "14m")
    line = find_trace(figure, "seed 1")
    np.testing.assert_allclose(line.x, [place(step) for step in STEPS])
    np.testing.assert_array_equal(line.customdata, STEPS)
    np.testing.assert_allclose(line.y, [0.1] * 4 + [0.7] * 3, atol=1e-6)
    ring = find_trace(figure, "emerged")
    assert (list(ring.x), list(np.round(ring.y, 6))) == ([place(1000)], [0.7])
    caption = scan_captions.caption_trajectories(summary.capabilities[0], "14m")
    assert "seed 1, from 0.10 at step 100 to 0.70 at 1,000" in caption


def test_a_dip_below_chance_is_seen_and_said(scan: Scan) -> None:
    summary = summarise_scan(scan(TWO_SIZES, steps=STEPS, capabilities=["copying", "ioi"], foils=["ioi"]))
    without, ioi = summary.capabilities
    assert np.isnan(without.margin[0].values).all()
    line = find_trace(scan_figures.draw_margins(summary, ioi, "70m"), "seed 0")
    np.testing.assert_allclose(line.y, [0.1, -1.0, 3.0, 3.0, 3.0, 3.0, 3.0], atol=1e-6)
    caption = scan_captions.caption_margins(ioi, "70m")
    assert "1 of 1 seed prefer the foil" in caption
    assert "-1.00 nats, seed 0 at step 1." in caption


def test_a_text_has_a_gain_and_no_foil(scan: Scan) -> None:
    summary = summarise_scan(scan(TWO_SIZES, steps=STEPS, capabilities=["copying", "ioi"], foils=["ioi"]))
    text = replace(summary.capabilities[1], is_text=True, criterion=CriterionSpec(kind="in-context"))
    caption = scan_captions.caption_margins(text, "70m")
    assert "1 of 1 seed predict worse late in a passage at some measured checkpoint; the lowest difference" in caption
    assert "foil" not in caption
    assert layout_of(scan_figures.draw_margins(summary, text, "70m")).yaxis.title.text == "loss early less late (nats)"
    sizes = scan_captions.caption_sizes(summary, text, Rule(above=0.75))
    assert "is there where on the mean over 4 prompts the loss late in a passage is at least 0.2 nats below" in sizes
    assert "75%" not in sizes


def test_margins_leave_out_prompts_without_a_foil(scan: Scan) -> None:
    records = scan({("14m", "0"): [10] * 4}, steps=STEPS, foils=["copying"])
    margin = records.probes["margin"].to_numpy().copy()
    margin[records.probes["prompt"].to_numpy() > 0] = np.nan
    column = records.probes.schema.get_field_index("margin")
    summary = summarise_scan(replace(records, probes=records.probes.set_column(column, "margin", pa.array(margin))))
    np.testing.assert_allclose(summary.capabilities[0].margin[0].values, [0.1, -1.0, 3.0, 3.0, 3.0, 3.0, 3.0])


def test_the_raster_holds_prompts_and_the_set(scan: Scan) -> None:
    summary = summarise_scan(scan(TWO_SIZES, steps=STEPS))
    figure = scan_figures.draw_prompts(summary, summary.capabilities[0], "14m")
    z = np.asarray(find_trace(figure, "units").z)
    np.testing.assert_allclose(z[:, 1::3], [[np.nan] * 4, [place(1000)] * 3 + [np.nan]])
    np.testing.assert_allclose(z[:, 0::3], [[np.nan] * 4, [place(100)] * 3 + [np.nan]])
    np.testing.assert_allclose(np.asarray(find_trace(figure, "whole").z)[:, 1], [np.nan, place(1000)])
    colours = layout_of(figure).coloraxis
    np.testing.assert_allclose((colours.cmin, colours.cmax), (place(10), place(1000)))  # of all sizes
    caption = scan_captions.caption_prompts(summary.capabilities[0], "14m")
    assert "3 of 8 prompts emerged (2 seeds, 4 prompts each); hatched tiles had not by step 2,000" in caption
    assert "No seed learned prompt 3." in caption


def test_a_lucky_prompt_does_not_take_all_colours(scan: Scan) -> None:
    summary = summarise_scan(scan({("14m", "0"): [0, *[1000] * 40, *[2000] * 40]}, steps=STEPS, prompts=81))
    colours = layout_of(scan_figures.draw_prompts(summary, summary.capabilities[0], "14m")).coloraxis
    np.testing.assert_allclose((colours.cmin, colours.cmax), (place(1000), place(2000)))


def test_many_prompts_are_thinned_and_it_is_said(scan: Scan) -> None:
    records = scan({("14m", "0"): [10] * 200}, steps=STEPS, prompts=200)
    summary = summarise_scan(records)
    columns = find_trace(scan_figures.draw_prompts(summary, summary.capabilities[0], "14m"), "units").text[0][0::3]
    assert len(columns) == 64
    assert "prompt 0 (" in columns[0]
    assert "prompt 199 (" in columns[-1]
    assert "64 of 200 prompts are drawn" in scan_captions.caption_prompts(summary.capabilities[0], "14m")


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
        scan_captions.caption_sizes(summary, summary.capabilities[0], full.rule)
        for summary in map(summarise_scan, (full, partial))
    ]
    assert ["can only make it too small" in caption for caption in captions] == [True, False]
    assert all("seeds without it count as step 4,000" in caption for caption in captions)
    assert "1 of 2 in 14m (median step 1,000 [0, ∞]) and 1 of 1 in 70m (median step 6 [0, ∞])" in captions[0]


def test_missing_checkpoints_say_what_they_make_less_certain(scan: Scan) -> None:
    missing = [("14m", "1", 100, "the revision is missing"), ("14m", "1", 4000, "damaged")]
    records = scan(TWO_SIZES, steps=STEPS, missing=missing)
    first, second = list_missing(records)
    assert (first.reason, first.widened) == ("the revision is missing", "copying and 3 prompts of it")
    assert (second.step, second.widened) == (4000, "1 prompt of copying")
