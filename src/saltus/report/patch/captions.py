"""What to see in the figures of a patch, in sentences that are worked out from its records."""

import numpy as np

from saltus.report.html.labels import join, plural
from saltus.report.patch.figures import arrange_jump, has_own_donor
from saltus.report.patch.summary import (
    INTO_DONOR,
    PatchResult,
    format_change,
    format_effect,
    format_limit,
    format_share,
    name_head,
)
from saltus.specs.checkpoints import Precision

_ROUNDING: dict[Precision, float] = {"float32": 1e-6, "bfloat16": 1e-2, "float16": 1e-3}
"""Of a probability: some units in the last place of a number near 1 (2**-24, 2**-8, 2**-11)."""

MEANINGS = {
    "patch": "the donor's pattern",
    "self": "its own pattern",
    "shuffled": "the donor's, shuffled keys",
    "reverse": "the recipient's pattern",
    "zero": "zeros",
    "mean": "the mean over prompts",
    "resample": "another prompt's pattern",
    "uniform": "equal weight on all keys",
}
"""What each kind of effect puts in the place of a head's pattern."""


def caption_jump(result: PatchResult) -> str:
    """Of the target's probability around the jump."""
    spec, count = result.records.spec, len(result.records.prompts)
    donor = f"step {spec.donor:,}" + ("" if has_own_donor(result) else " of another seed")
    text = (
        f"Probability of the target on {plural(count, 'prompt')}: {result.recipient:.3f} in the recipient (step "
        f"{spec.recipient:,}) and {result.donor:.3f} in the donor ({donor}), a change of {format_change(result.gain)}."
    )
    steps, values = arrange_jump(result)
    means = values.mean(axis=1)
    before, after = (means[: steps.index(spec.recipient)], means[1 + int(np.searchsorted(steps, spec.donor)) :])
    if has_own_donor(result) and spec.recipient < spec.donor and len(before) and len(after):
        text += f" Before the two it is at most {before.max():.3f}, after them at least {after.min():.3f}."
    return f"{text} In brackets is the {result.gain.level:.0%} bootstrap interval over prompts, here and below."


def caption_recipient_maps(result: PatchResult, limit: float) -> str:
    """Of the effects on the recipient."""
    patch = result.maps.get("patch")
    if patch is None:
        return ""
    layer, head = np.unravel_index(int(np.nanargmax(patch)), patch.shape)
    effect = result.find_effect("patch", int(layer), int(head))
    text = "One head's pattern at a time is replaced in the recipient; the colour is the mean change of the target's "
    text += f"probability, up to {format_limit(limit)}. "
    if effect is not None and effect.estimate > 0.0:
        text += f"The largest gain is that of {name_head(int(layer), int(head))}, {format_change(effect)}"
        shuffled = result.find_effect("shuffled", int(layer), int(head))
        text += f"; with the keys of the pattern shuffled it is {format_change(shuffled)}. " if shuffled else ". "
    else:
        text += "No head raises it. "
    return text + _describe_self(result)


def caption_donor_maps(result: PatchResult, limit: float) -> str:
    """Of the effects on the donor."""
    text = "One head's pattern at a time is replaced in the donor; the colour is the mean change of the target's "
    text += f"probability, up to {format_limit(limit)}. "
    parts: list[str] = []
    for kind in INTO_DONOR:
        values = result.maps.get(kind)
        if values is None or not np.isfinite(values).any():
            continue
        layer, head = np.unravel_index(int(np.nanargmin(values)), values.shape)
        least = float(values[layer, head])
        if least < 0.0:
            parts.append(f"{format_effect(least)} with {MEANINGS[kind]} ({name_head(int(layer), int(head))})")
    if parts:
        text += f"The largest losses are {join(parts, most=5)}. "
    return f"{text}A head that was needed shows as a loss; one that others can stand in for does not."


def caption_shares(result: PatchResult) -> str:
    """Of the share of the gain that sets of heads recover."""
    greedy, screened, everything = (result.sets(kind) for kind in ("greedy", "screen", "all"))
    text = "Share of the donor's gain that the recipient gets with the patterns of several heads at once (dashed: all)."
    if greedy:
        best = max(greedy, key=lambda found: found.share.estimate)
        parts = [f"{plural(len(f.heads), 'head')} {format_share(f.share)}" for f in (greedy[0], best)]
        text += f" The best sets: {join(list(dict.fromkeys(parts)))}."
    if everything and result.heads > 1:
        text += f" All {result.heads:,} heads: {format_share(everything[0].share)}."
    if screened:
        first = len(screened[-1].heads)
        named = "head" if first == 1 else f"{first} heads"
        text += f" The first {named} of the screen: {format_share(screened[-1].share)}."
    if greedy:
        text += (
            " The best set is searched on the same prompts that it is judged on, which flatters it; the interval does "
            "not know of the search."
        )
    return text


def caption_screen(result: PatchResult) -> str:
    """Of the first-order estimates."""
    screen = result.effects.screen
    text = "One backward pass estimates the effects of all heads at once. "
    if result.exact < result.heads:
        text += f"The first {result.exact} of {result.heads:,} were then measured exactly, and nothing is said here of "
        text += "the others. "
    if np.isnan(screen.spearman):
        text += "Effects or estimates are the same for all heads, so their ranks cannot be compared. "
    else:
        text += f"The rank correlation over {plural(result.exact, 'head')} is {screen.spearman:.2f}; "
        shared = round(screen.overlap * screen.first)
        text += f"{shared} of the {plural(screen.first, 'head')} with the largest effect "
        text += f"{'is' if shared == 1 else 'are'} among the first {screen.first} of the estimates. "
    return f"{text}Points on the dashed line are estimated exactly."


def _describe_self(result: PatchResult) -> str:
    own = result.maps.get("self")
    if own is None or not np.isfinite(own).any():
        return ""
    largest = float(np.nanmax(np.abs(own)))
    if largest == 0.0:
        return "Putting a head's own pattern back changes exactly 0, as it must."
    if largest < _ROUNDING[result.records.spec.precision]:
        return f"Putting a head's own pattern back changes at most {largest:.0e}, which is rounding."
    return f"Putting a head's own pattern back should change nothing, but changes up to {largest:.0e}: a fault."
