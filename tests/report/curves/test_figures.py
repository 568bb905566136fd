"""What rasters, survival curves, lines and their captions show of curves, whatever they were read from."""

from dataclasses import replace

import numpy as np
import pytest
from tests.report.traces import find_trace, layout_of, names_of, traces_of

from saltus.curves import Curves, Emergence, Key, Rule, gather_curves
from saltus.report.curves.lines import choose_scale, draw_lines
from saltus.report.curves.raster import draw_raster, find_span
from saltus.report.curves.survival import Group, caption_survival, draw_survival, list_groups
from saltus.report.curves.words import caption_raster, describe_emergence, format_interval, tell_limits
from saltus.report.html.palette import LINES
from saltus.report.html.step_scale import StepScale

EVEN = StepScale(80)


def find(seed: str, unit: str, by: int | None, lost: int | None = None, group: str = "g") -> Emergence:
    """At an evaluation every 10 steps until 80; what has not emerged is censored there."""
    return Emergence(80 if by is None else by - 10, by, lost, (), Key(group, seed, unit))


THREE_SEEDS = [
    *(find("0", "a", 20), find("0", "b", 40), find("0", "whole", 40)),
    *(find("1", "a", 30, 50), find("1", "b", None), find("1", "whole", None)),
    *(find("2", "a", None), find("2", "b", None), find("2", "whole", None)),
]
PARTS = [emergence for emergence in THREE_SEEDS if emergence.key.unit != "whole"]


def test_a_raster_places_each_emergence() -> None:
    figure = draw_raster(THREE_SEEDS, EVEN, whole="whole")
    units, whole = (np.asarray(find_trace(figure, name).z) for name in ("units", "whole"))
    np.testing.assert_array_equal(units[:, 0::3], [[10, 30], [20, np.nan], [np.nan, np.nan]])  # last step without
    np.testing.assert_array_equal(units[:, 1::3], [[20, 40], [30, np.nan], [np.nan, np.nan]])  # first step with
    assert np.isnan(units[:, 2::3]).all()  # between two tiles
    np.testing.assert_array_equal(whole[:, :2], [[30, 40], [np.nan, np.nan], [np.nan, np.nan]])
    np.testing.assert_allclose(find_trace(figure, "units").x, [-0.46, 0, 0.46, 0.54, 1, 1.46, 1.54])
    assert (layout_of(figure).coloraxis.cmin, layout_of(figure).coloraxis.cmax) == (10, 40)
    assert list(layout_of(figure).xaxis.ticktext) == ["a", "b", "whole"]
    assert list(layout_of(figure).yaxis.ticktext) == ["0", "1", "2"]


def test_a_raster_hatches_exactly_the_censored_tiles_and_marks_the_lost() -> None:
    figure = draw_raster(THREE_SEEDS, EVEN, whole="whole")
    hatched = find_trace(figure, "not by step 80")
    middle = np.asarray(hatched.base) + np.asarray(hatched.y) / 2
    whole = find_trace(figure, "whole").x[1]
    tiles = {(round(row), float(column)) for row, column in zip(middle, hatched.x, strict=True)}
    assert tiles == {(1, 1), (1, whole), (2, 0), (2, 1), (2, whole)}
    assert hatched.marker.pattern.shape == "/"
    assert set(hatched.hovertext) >= {"seed 2, b: not by 80", "seed 1, whole: not by 80"}
    lost = find_trace(figure, "lost")
    assert (list(lost.x), list(lost.y), list(lost.hovertext)) == ([0], [1], ["seed 1, a: (20, 30], lost at 50"])


def test_a_raster_of_what_all_emerged_has_no_hatching() -> None:
    figure = draw_raster([find("0", "a", 20), find("0", "b", 30)], EVEN)
    assert names_of(figure) == ["units"]


def test_a_tile_of_which_nothing_is_known_is_empty() -> None:
    figure = draw_raster([find("0", "a", 20), find("0", "b", 30), find("1", "b", None)], EVEN)
    np.testing.assert_array_equal(np.asarray(find_trace(figure, "units").z)[:, 1::3], [[20, 30], [np.nan, np.nan]])
    hatched = find_trace(figure, "not by step 80")
    assert list(hatched.x) == [1]
    assert list(find_trace(figure, "units").text[1]) == [*[""] * 3, *["seed 1, b: not by 80"] * 2, ""]


def test_censoring_at_different_steps_is_said_so() -> None:
    early = replace(THREE_SEEDS[-1], after=40)
    figure = draw_raster([*THREE_SEEDS[:-1], early], EVEN)
    assert any(name == "not by their last step (censored)" for name in names_of(figure))


def test_rows_of_several_groups_name_their_group() -> None:
    figure = draw_raster([find("0", "a", 20), find("0", "a", 30, group="<b>h")], EVEN)
    assert list(layout_of(figure).yaxis.ticktext) == ["g, seed 0", "&lt;b&gt;h, seed 0"]


def test_the_span_is_from_the_first_emergence_to_the_last() -> None:
    assert find_span(THREE_SEEDS) == (10, 40)
    assert find_span([find("0", "a", None)]) == (0, 0)


def test_the_caption_counts_tiles_and_names_what_all_or_none_learned() -> None:
    text = caption_raster(PARTS, "row")
    assert text == (
        "3 of 6 rows emerged (3 seeds, 2 rows each); hatched tiles had not by step 80, which is all that is known of "
        "them. The left half of a tile is the last step without, the right half the first step with. "
        "A cross marks 1 tile lost at least once after."
    )
    everywhere = caption_raster([find("0", "a", 20), find("0", "b", None)], "row", {"a": "the first"})
    assert "Every seed learned the first. No seed learned b." in everywhere
    assert caption_raster([find("0", "a", 20)]) == (
        "1 of 1 unit emerged (1 seed, 1 unit each). "
        "The left half of a tile is the last step without, the right half the first step with."
    )


def test_survival_falls_where_seeds_finish() -> None:
    whole = [emergence for emergence in THREE_SEEDS if emergence.key.unit == "whole"]
    groups = [Group("whole", whole, LINES[0]), Group("pooled", PARTS, LINES[1])]
    figure = draw_survival(groups, EVEN)
    task, pooled = find_trace(figure, "whole"), find_trace(figure, "pooled")
    assert dict(zip(task.x, np.round(task.y, 6), strict=True)) == {0: 1.0, 30: 1.0, 40: 0.666667, 80: 0.666667}
    falling = {0: 1, 10: 1, 20: 0.833333, 30: 0.666667, 40: 0.5, 80: 0.5}
    assert dict(zip(pooled.x, np.round(pooled.y, 6), strict=True)) == falling
    seeds, units = (trace for trace in traces_of(figure) if trace.name == "at risk")
    assert list(seeds.x) == [0, 20, 40, 60, 80]
    assert list(seeds.text) == ["3", "3", "3", "2", "2"]
    assert list(units.text) == ["6", "6", "4", "3", "3"]
    assert [trace.legendgroup for trace in traces_of(figure) if trace.fill == "tonexty"] == ["whole", "pooled"]
    text = caption_survival(groups)
    assert "Half were there by step 40 [0, ∞] (pooled, 3 seeds). " in text
    assert "Fewer than half were there in the end: whole (3 seeds, median after step 0)." in text
    assert "3 seeds cannot bound a median on both sides (6 can), and what happens in fewer than 63% of seeds" in text


def test_a_band_is_the_exact_one_of_seeds_and_the_same_for_rows_that_repeat_them() -> None:
    """Eight seeds, half of them at 20: by Clopper and Pearson between 16% and 84% are there. Rows add nothing."""
    steps = [20, 20, 20, 20, None, None, None, None]
    seeds = [find(str(seed), "a", step) for seed, step in enumerate(steps)]
    rows = [find(e.key.seed, unit, e.by) for e in seeds for unit in "abcdefgh"]
    for found in (seeds, rows):
        figure = draw_survival([Group("g", found, LINES[0])], EVEN)
        upper, lower = find_trace(figure, "upper end"), find_trace(figure, "95% band")
        assert (upper.line.shape, lower.line.shape) == ("hv", "vh")
        at = list(upper.x).index(20)
        assert upper.y[at] == pytest.approx(0.843, abs=0.02)
        assert lower.y[at] == pytest.approx(0.157, abs=0.02)
        assert upper.y[0] == pytest.approx(1.0)


def test_what_seeds_cannot_tell_in_words() -> None:
    assert tell_limits(1) == "One seed cannot tell how much seeds differ."
    assert tell_limits(10) == "What happens in fewer than 26% of seeds may well not show among 10."
    assert [tell_limits(n).count("bound a median") for n in (2, 5, 6, 29)] == [1, 1, 0, 0]


def test_each_group_has_a_curve_a_band_and_a_count() -> None:
    found = [find("0", "a", None, group="14m"), find("1", "a", 40, group="14m"), find("0", "a", 10, group="<b>70m")]
    groups = list_groups(found)
    figure = draw_survival(groups, EVEN)
    bands = [trace.legendgroup for trace in traces_of(figure) if trace.fill == "tonexty"]
    assert bands == ["14m", "&lt;b&gt;70m"]
    counts = [list(trace.text) for trace in traces_of(figure) if trace.name == "at risk"]
    assert counts == [["2", "2", "2", "1", "1"], ["1", "0", "0", "0", "0"]]
    assert "One seed cannot tell" in caption_survival(groups)
    assert [group.dash for group in groups] == ["solid", "dash"]  # colour is not the only key


@pytest.mark.parametrize("count", [1, 2, 3, 40, 60])
def test_each_group_has_a_row_of_counts_and_the_curves_keep_their_height(count: int) -> None:
    layout = layout_of(draw_survival(list_groups([find("0", "a", 10, group=str(n)) for n in range(count)]), EVEN))
    curves, counts = (np.diff(axis.domain)[0] * layout.height for axis in (layout.yaxis, layout.yaxis2))
    assert counts == pytest.approx(34.4 * count)
    assert curves >= 313
    assert layout.yaxis.domain[0] > layout.yaxis2.domain[1]


def test_long_names_of_columns_have_room() -> None:
    heights = [layout_of(draw_raster([find("0", name, 10)], EVEN)).height for name in ("a", "n" * 60)]
    assert heights[1] >= heights[0] + 80  # 28 slanted characters


@pytest.mark.parametrize(("dots", "log"), [("lines", False), ("lines+markers", True)])
def test_lines_are_the_values_with_a_ring_at_the_emergence(dots: str, log: bool) -> None:
    steps = np.array([0, 10, 20, 30])
    curves = gather_curves("g", ["0", "1"], ["a"], steps, [[[0.1], [0.2], [0.9], [0.9]], [[0.1]] * 4])
    found = Curves(curves, "share", Rule(above=0.5)).emergences()
    scale = StepScale(30, log=log)
    figure = draw_lines(curves, ["seed 0", "seed 1"], scale, "share", found=found, levels=[("chance 0.1", 0.1)])
    line, ring = find_trace(figure, "seed 0"), find_trace(figure, "emerged")
    np.testing.assert_allclose(line.x, scale.place(steps))
    np.testing.assert_allclose(line.y, [0.1, 0.2, 0.9, 0.9], rtol=1e-6)
    assert line.mode == dots
    assert (list(ring.x), list(ring.y), list(ring.text)) == ([scale.place(20)], [0.9], ["seed 0: (10, 20]"])
    assert list(find_trace(figure, "chance 0.1").y) == [0.1, 0.1]


@pytest.mark.parametrize("log", [False, True])
def test_steps_beyond_32_bits_and_values_beyond_float32_are_drawn_as_they_are(log: bool) -> None:
    """Tokens as steps reach 2**31 soon."""
    steps = np.array([0, 10**9, 3 * 10**9, 2**40])
    curves = gather_curves("g", ["0"], ["a"], steps, [[[1e300], [0.1], [0.9], [np.nan]]])
    scale = StepScale(2**40, log=log)
    line = find_trace(draw_lines(curves, ["seed 0"], scale, "share"), "seed 0")
    np.testing.assert_array_equal(line.customdata if log else line.x, steps)
    np.testing.assert_array_equal(line.x, scale.place(steps))
    np.testing.assert_array_equal(line.y, [1e300, 0.1, 0.9, np.nan])
    found = Curves(curves, "share", Rule(below=0.5)).emergences()
    survival = find_trace(draw_survival(list_groups(found), scale), "g")
    np.testing.assert_array_equal(survival.customdata, [0, 0, 10**9, 2**40])
    np.testing.assert_array_equal(survival.x, scale.place(survival.customdata))


def test_the_scale_follows_the_evaluations() -> None:
    def make(*steps: int) -> Curves:
        return Curves(gather_curves("g", ["0"], ["a"], np.array(steps), [[[0.0]] * len(steps)]), "a", Rule(above=1.0))

    assert choose_scale(make(0, 10, 20, 30)) == StepScale(30)
    assert choose_scale(make(0, 1, 2, 4, 8, 1000)) == StepScale(1000, log=True)


def test_an_emergence_in_words() -> None:
    words = [(format_interval(e), describe_emergence(e)) for e in (find("0", "a", 2000, 5000), find("0", "a", None))]
    assert words == [("(1,990, 2,000]", "(1,990, 2,000], lost at 5,000"), ("> 80", "not by 80")]
    assert format_interval(Emergence(-1, 0, None)) == "at 0"
    assert format_interval(Emergence(-1, None, None)) == "> 0"
