"""What the figures show is what the records say."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from tests.report.traces import find_trace, layout_of, names_of, traces_of

from saltus.report.html.palette import NEUTRAL, colour_scales, tone
from saltus.report.run.captions import caption_losses, caption_unit_losses
from saltus.report.run.figures import draw_losses, draw_unit_losses
from saltus.report.run.head_figures import draw_jumps, draw_overlap
from saltus.report.run.heads import chance_by_unit
from saltus.report.run.summary import summarise
from saltus.train.records import RunRecords

Build = Callable[..., RunRecords]


def test_losses_lie_between_chance_and_floor_of_the_sequence(three_seeds: RunRecords) -> None:
    figure = draw_losses(three_seeds, summarise(three_seeds), [0, 2])
    assert find_trace(figure, "chance").y[0] == pytest.approx(np.log(2))
    assert find_trace(figure, "floor").y[0] == pytest.approx(np.log(2) / 3)
    assert find_trace(figure, "seed 0").y[-1] == pytest.approx(np.log(2) / 3)
    assert find_trace(figure, "seed 2").y[-1] == pytest.approx(np.log(2))
    np.testing.assert_array_equal(find_trace(figure, "seed 1").x, np.arange(0, 90, 10))


def test_an_unknown_floor_is_not_drawn(build: Build) -> None:
    records = build(np.zeros((2, 4, 3)), floor=np.nan)
    summary = summarise(records)
    assert "(dotted)" not in caption_unit_losses(records, summary, 0) + caption_losses(records, summary)
    for figure in (draw_losses(records, summary, [0]), draw_unit_losses(records, summary, 0)):
        assert any(name.startswith("chance") for name in names_of(figure))
        assert not any(name.startswith("floor") for name in names_of(figure))


def test_a_floor_of_what_is_scored_is_drawn_though_other_queries_have_none(three_seeds: RunRecords) -> None:
    """As of every task of one's own: what is not scored has a floor of NaN."""
    facts = three_seeds.facts
    records = replace(three_seeds, facts=replace(facts, floor_loss=np.where(facts.scored, 0.25, np.nan)))
    summary = summarise(records)
    assert find_trace(draw_unit_losses(records, summary, 0), "floor").y[0] == pytest.approx(0.25)
    assert caption_unit_losses(records, summary, 0).endswith("to floor (dotted); grey lines never did.")
    assert not any(name.startswith("floor") for name in names_of(draw_losses(records, summary, [0])))
    assert "is not known for the whole sequence, so no floor is drawn" in caption_losses(records, summary)


def test_long_lines_are_thinned_to_their_ends(build: Build) -> None:
    records = build(np.zeros((1, 1001, 2)))
    x = find_trace(draw_losses(records, summarise(records), [0]), "seed 0").x
    assert len(x) == 400
    assert (x[0], x[-1]) == (0, 10_000)


def test_a_line_has_the_colour_of_its_tile_in_the_raster(three_seeds: RunRecords) -> None:
    summary = summarise(three_seeds)
    scale = colour_scales()[0]
    learned, losing = (draw_unit_losses(three_seeds, summary, index) for index in (0, 1))
    row_0, row_1 = (next(t for t in traces_of(learned) if t.name == name) for name in ("row 0", "row 1"))
    assert (row_0.line.color, row_1.line.color) == (
        tone(1 / 3)[0],
        scale[-1][1],
    )  # the scale begins at 10, the last step without row 0
    assert (row_1.meta["light"], row_1.meta["dark"]) == tone(1.0)
    assert next(t for t in traces_of(losing) if t.name == "row 1").line.color == NEUTRAL[0]


def test_a_ring_is_where_a_unit_emerged(three_seeds: RunRecords) -> None:
    ring = find_trace(draw_unit_losses(three_seeds, summarise(three_seeds), 1), "emerged")
    assert (list(ring.x), list(ring.y), list(ring.text)) == ([30], [0.0], ["row 0: (20, 30], lost at 50"])


def test_jumps_are_aligned_at_each_units_own_step(build: Build) -> None:
    at = np.arange(40)[:, None]
    records = build((at >= np.array([[12, 16, 25]])).astype(float)[None], heads=3)
    figure = draw_jumps(records, summarise(records), 0)
    entropy, mass = (trace for trace in traces_of(figure) if trace.name == "median")
    offset = np.asarray(mass.x)
    assert offset[0] == -120
    np.testing.assert_array_equal(mass.y, offset >= 0)
    np.testing.assert_array_equal(entropy.y, offset < 0)
    lines = [trace for trace in traces_of(figure) if (trace.name or "").startswith("row") and trace.yaxis == "y2"]
    assert len(lines) == 3
    for trace in lines:
        np.testing.assert_array_equal(trace.y, np.asarray(trace.x) >= 0)


def test_jumps_of_a_seed_that_learned_nothing_say_so(three_seeds: RunRecords) -> None:
    figure = draw_jumps(three_seeds, summarise(three_seeds), 2)
    assert not traces_of(figure)
    assert "Nothing emerged in seed 2." in [note.text for note in layout_of(figure).annotations]


def test_overlap_stands_beside_its_chance_level(three_seeds: RunRecords) -> None:
    figure = draw_overlap(three_seeds, summarise(three_seeds))
    np.testing.assert_allclose(find_trace(figure, "chance").y, chance_by_unit(three_seeds))
    there, absent = find_trace(figure, "there"), find_trace(figure, "not there")
    assert list(there.text) == ["seed 0, row 0", "seed 0, row 1"]
    assert list(there.y) == [1.0, 1.0]
    np.testing.assert_allclose(sorted(absent.x), [0.0, 0.3, 1.0, 1.3])


def test_names_are_escaped_for_plotly(build: Build) -> None:
    records = build(np.ones((1, 4, 2)), names=["<a href='http://x'>", "b"])
    summary = summarise(records)
    for figure in (
        draw_jumps(records, summary, 0),
        draw_overlap(records, summary),
        draw_unit_losses(records, summary, 0),
    ):
        assert "<a href" not in str(figure.to_dict())
        assert "&lt;a href" in str(figure.to_dict())
