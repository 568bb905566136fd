"""What the figures and sentences on a patch say is what its records say."""

from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from numpy.typing import NDArray
from tests.report.traces import find_trace, layout_of, traces_of

from saltus.lm.patching.effects import Interval
from saltus.lm.patching.records import PatchRecords
from saltus.report.html.blocks import Panel
from saltus.report.patch import figures as patch_figures
from saltus.report.patch.captions import caption_jump, caption_recipient_maps, caption_screen, caption_shares
from saltus.report.patch.maps import pack_maps
from saltus.report.patch.summary import describe_verdict, format_change, summarise_patch

Patch = Callable[..., PatchRecords]


def test_the_verdict_names_the_smallest_set_and_its_rival(patch: Patch) -> None:
    result = summarise_patch(patch([[0.3, 0.0], [0.0, 0.2]]))
    assert describe_verdict(result) == (
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
    many = describe_verdict(summarise_patch(patch([[0.1, 0.0, 0.1]], greedy=[0.2, 0.3], everything=0.9)))
    assert many.startswith(
        "So few heads did not recover the gain (from 0.100 to 0.700): the patterns of the best 2 heads"
    )
    assert "all 3 heads together 90% [90%, 90%], so the patterns do bring it, of more heads." in many
    lucky = describe_verdict(summarise_patch(patch([[0.3, 0.2, 0.0]], random=0.9)))
    assert "180% at most, so this set stands out little." in lucky
    turning = describe_verdict(summarise_patch(patch([[0.1, 0.0, 0.1]], greedy=[0.2, 0.35, 0.3], everything=0.3)))
    assert "the patterns of the best 2 heads bring back 35%" in turning
    alone = describe_verdict(summarise_patch(patch([[0.1]], greedy=[0.2], everything=0.2)))
    assert "the pattern of the best head brings back 20%" in alone
    assert "all 1" not in alone
    nothing = describe_verdict(summarise_patch(patch([[0.0, 0.0]], gain=-0.05, greedy=[])))
    assert "no gain that patterns could bring" in nothing


def test_the_jump_marks_recipient_and_donor_among_all_steps(patch: Patch) -> None:
    result = summarise_patch(patch([[0.3, 0.0]], trajectory=(3000, 6000)))
    figure = patch_figures.draw_jump(result)
    assert list(layout_of(figure).xaxis.ticktext) == ["3,000", "4,000", "5,000", "6,000"]
    np.testing.assert_allclose(find_trace(figure, "mean over the prompts").y, [0.1, 0.1, 0.7, 0.7])
    recipient, donor = find_trace(figure, "recipient"), find_trace(figure, "donor")
    assert (recipient.x, donor.x) == ((1,), (2,))
    np.testing.assert_allclose([recipient.y[0], donor.y[0]], [0.1, 0.7])
    assert "Before the two it is at most 0.100, after them at least 0.700." in caption_jump(result)


def test_a_donor_of_another_seed_is_a_level(patch: Patch) -> None:
    result = summarise_patch(patch([[0.3, 0.0]], trajectory=(), donor_seed="<b>7"))
    figure = patch_figures.draw_jump(result)
    np.testing.assert_allclose(find_trace(figure, "donor: seed &lt;b&gt;7, step 5,000").y, [0.7, 0.7])
    assert list(layout_of(figure).xaxis.ticktext) == ["4,000"]


def test_maps_share_colours_that_are_symmetric_about_nothing(patch: Patch) -> None:
    result = summarise_patch(patch([[0.3, -0.1], [0.0, 0.05]]))
    limit = patch_figures.find_limit(result, ("patch", "self", "shuffled"))
    assert limit == pytest.approx(0.3)
    figure = patch_figures.draw_map(result, "shuffled", limit)
    colours = layout_of(figure).coloraxis
    assert (colours.cmin, colours.cmax) == (-limit, limit)
    assert colours.colorscale[2][0] == 0.5
    np.testing.assert_allclose(traces_of(figure)[0].z, 0.05 * np.array([[0.3, -0.1], [0.0, 0.05]]), atol=1e-12)
    own = patch_figures.draw_map(result, "self", limit)
    np.testing.assert_array_equal(traces_of(own)[0].z, np.zeros((2, 2)))


def test_the_caption_says_whether_self_is_exactly_nothing(patch: Patch) -> None:
    records = patch([[0.3, 0.0]])
    assert "changes exactly 0, as it must" in caption_recipient_maps(summarise_patch(records), 0.3)
    kinds = np.array(records.effects["kind"].to_pylist())
    column = records.effects.schema.get_field_index("probability")
    for change, said in ((1e-9, "changes at most 1e-09, which is rounding"), (1e-3, "changes up to 1e-03: a fault")):
        values = records.effects["probability"].to_numpy() + np.where(kinds == "self", change, 0.0)
        wrong = replace(records, effects=records.effects.set_column(column, "probability", pa.array(values)))
        assert said in caption_recipient_maps(summarise_patch(wrong), 0.3)
        half = replace(wrong, spec=wrong.spec.model_copy(update={"precision": "bfloat16"}))
        assert "which is rounding" in caption_recipient_maps(summarise_patch(half), 0.3)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((0.42, 0.31, 0.52), "+0.420 [+0.310, +0.520]"),
        ((0.0001, -0.0002, 0.02), "+0.000 [+0.000, +0.020]"),  # no zero has a sign that rounding gave it
        ((2.4e-4, -1e-5, 5e-4), "+2e-04 [-1e-05, +5e-04]"),
        ((0.0, 0.0, 0.0), "+0.000 [+0.000, +0.000]"),
    ],
)
def test_a_change_has_the_digits_that_it_needs(values: tuple[float, float, float], said: str) -> None:
    assert format_change(Interval(*values, 0.95)) == said


def test_small_effects_are_told_by_their_digits(patch: Patch) -> None:
    result = summarise_patch(patch([[3e-4, 0.0]]))
    caption = caption_recipient_maps(result, patch_figures.find_limit(result, ("patch",)))
    assert "up to ±3e-04. " in caption
    assert "is that of layer 0, head 0, +3e-04 [+" in caption


def test_shares_stand_beside_random_heads(patch: Patch) -> None:
    result = summarise_patch(patch([[0.3, 0.2, 0.0]], swing=0.1, prompts=8))
    figure = patch_figures.draw_shares(result)
    np.testing.assert_allclose(find_trace(figure, "best set found").y, [0.5, 0.85], atol=0.01)
    np.testing.assert_allclose(find_trace(figure, "all heads").y, [0.95], atol=0.01)
    np.testing.assert_allclose(
        find_trace(figure, "random heads, a dot for each draw").y, 0.05 * np.arange(5) / 2, atol=0.01
    )
    whiskers = next(trace for trace in traces_of(figure) if trace.name == "interval")
    low, high = whiskers.y[:2]
    assert 0.4 < low < 0.5 < high < 0.6
    assert "2 heads 85%" in caption_shares(result)


def test_the_screen_lies_at_its_estimates(patch: Patch) -> None:
    result = summarise_patch(patch([[0.3, 0.2], [0.1, -0.1]]))
    dots = find_trace(patch_figures.draw_screen(result), "a head")
    np.testing.assert_allclose(dots.x, 0.8 * np.asarray(dots.y))
    assert list(dots.customdata[:2]) == ["layer 0, head 0", "layer 0, head 1"]
    assert list(dots.text) == ["0.0", "0.1", "1.0", "1.1"]
    assert "rank correlation over 4 heads is 1.00; 4 of the 4 heads" in caption_screen(result)


def unpack(panel: Panel, tokens: int) -> NDArray[np.uint8]:
    return np.frombuffer(b64decode(panel.weights), dtype=np.uint8).reshape(tokens, tokens)


def test_attention_is_packed_by_head_and_model(patch: Patch) -> None:
    packed = pack_maps(summarise_patch(patch([[0.3, 0.2], [0.1, -0.1]])))
    assert packed is not None
    maps, prompts = packed
    assert prompts[1] == "1: When Mary and John went, John gave it to (1) → ␣Mary"
    (name, (recipient, donor)), _ = maps.views[1].groups
    assert name == "layer 0, head 0: alone +0.300 [+0.284, +0.316]"
    assert (recipient.title, donor.title) == ("recipient", "donor")
    assert maps.views[0].keys == ["When", "␣Mary", "␣and", "␣John", "⏎", "␣to"]
    np.testing.assert_array_equal(unpack(donor, 6), 255 * np.eye(6))
    # 255 times the root of a quarter
    np.testing.assert_array_equal(unpack(recipient, 6)[3], [128, 128, 128, 128, 0, 0])


def test_long_prompts_are_cropped_to_their_end(patch: Patch) -> None:
    tokens = [f" {number}" for number in range(200)]
    packed = pack_maps(summarise_patch(patch([[0.3, 0.2]], tokens=tokens)))
    assert packed is not None
    maps, _ = packed
    view = maps.views[0]
    assert (len(view.keys), view.keys[-1], view.rows[-1]) == (96, "␣199", "query 199 (␣199)")
    assert "the last 96 tokens of longer prompts" in maps.caption
    recipient, donor = view.groups[0][1]
    np.testing.assert_array_equal(unpack(donor, 96), 255 * np.eye(96))
    np.testing.assert_array_equal(unpack(recipient, 96)[-1], np.full(96, 18))  # 255 times the root of 1 / 200


def test_a_head_that_was_not_kept_has_an_empty_panel(patch: Patch) -> None:
    records = patch([[0.3, 0.2]])
    kept = records.patterns.filter((pc.field("model") == "donor") | (pc.field("head") == 0))
    packed = pack_maps(summarise_patch(replace(records, patterns=kept)))
    assert packed is not None
    panels = [panel for _, panels in packed[0].views[0].groups for panel in panels]
    assert [bool(panel.weights) for panel in panels] == [True, True, False, True]
