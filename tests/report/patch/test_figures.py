"""What the figures and sentences on a patch study say is what its records say."""

from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pytest
from saltus.lm.records import PatchRecords

from saltus.report.patch import figures as patch_figures
from saltus.report.patch.captions import caption_jump, caption_recipient_maps, caption_screen, caption_shares
from saltus.report.patch.maps import pack_maps
from saltus.report.patch.summary import describe_verdict, summarise_patch

Patch = Callable[..., PatchRecords]


def find_trace(figure: go.Figure, name: str) -> Any:
    (trace,) = [trace for trace in cast("Any", figure).data if trace.name == name]
    return trace


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
    turning = describe_verdict(summarise_patch(patch([[0.1, 0.0, 0.1]], greedy=[0.2, 0.35, 0.3], everything=0.3)))
    assert "the patterns of the best 2 heads bring back 35%" in turning
    alone = describe_verdict(summarise_patch(patch([[0.1]], greedy=[0.2], everything=0.2)))
    assert "the pattern of the best head brings back 20%" in alone
    assert "all 1" not in alone
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
    column = records.effects.schema.get_field_index("probability")
    for change, said in ((1e-9, "changes at most 1e-09, which is rounding"), (1e-3, "changes up to 1e-03: a fault")):
        values = records.effects["probability"].to_numpy() + np.where(kinds == "self", change, 0.0)
        wrong = replace(records, effects=records.effects.set_column(column, "probability", pa.array(values)))
        assert said in caption_recipient_maps(summarise_patch(wrong), 0.3)


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
    recipient = np.frombuffer(b64decode(maps.prompts[0].recipient[0]), dtype=np.uint8).reshape(96, 96)
    np.testing.assert_array_equal(recipient[-1], np.full(96, 18))  # 255 times the root of 1 / 200
