"""What a scan found, and what to see in its figures, in sentences that are worked out from its records."""

import numpy as np

from saltus.curves import Emergence, Rule
from saltus.report.curves.words import caption_raster, format_step, tell_limits
from saltus.report.html.labels import join, name_seed, plural, shorten
from saltus.report.html.step_scale import StepScale
from saltus.report.scan.figures import MOST_PROMPTS
from saltus.report.scan.summary import CapabilitySummary, ScanSummary, of_size


def describe_scan(summary: ScanSummary) -> str:
    """The result of a scan in a sentence or two."""
    known = [capability for capability in summary.capabilities if capability.sets]
    if not known:
        return f"No checkpoint of the {plural(summary.runs, 'run')} could be measured, so nothing is known yet."
    counts = [f"{shorten(capability.name)} emerged in {capability.emerged or 'none'}" for capability in known]
    counts = [counts[0], *(count.replace(" emerged in ", " in ") for count in counts[1:])]
    so_far = "" if summary.finished else " so far"
    text = f"Of {plural(len(known[0].sets), 'run')}, {join(counts, most=5)}{so_far}."
    return f"{text} {_find_disagreement(summary)}".strip()


def choose_size(summary: ScanSummary, capability: CapabilitySummary) -> int:
    """Index of the size whose seeds disagree most; the last of those that agree."""
    spreads = [_measure_spread(of_size(capability.sets, size), summary.end) for size in summary.sizes]
    return max(range(len(spreads)), key=lambda index: (spreads[index], index))


def caption_sizes(summary: ScanSummary, capability: CapabilitySummary, rule: Rule) -> str:
    """Of steps to emergence against size, where at least one checkpoint was measured."""
    groups = [(group, group.median) for group in capability.groups if group.median]
    counts = [
        f"{group.emerged} of {group.measured} in {shorten(group.group)} (median step {format_step(median)})"
        for group, median in groups
    ]
    held = f" at {rule.hold} checkpoints in a row" if rule.hold > 1 else ""
    prompts, criterion = plural(len(capability.prompts), "prompt"), capability.criterion
    there = f"at least {rule.level:.0%} of {prompts} {'is' if len(capability.prompts) == 1 else 'are'} right"
    if criterion.kind == "loss":
        there = f"the mean loss over {prompts} is below {criterion.limit:g} nats"
    elif criterion.by_mean:
        there = f"on the mean over {prompts} {criterion.describe()}"
    elif criterion.kind != "top-1":
        there += f" ({criterion.describe()})"
    text = (
        f"{shorten(capability.name)} is there where {there}{held}. Seeds in which it emerged: "
        f"{join(counts, most=9)}. A dot is the first measured checkpoint with it, and the bar reaches down to the last "
        "one without. "
    )
    censored = [emergence for emergence in capability.sets if emergence.censored]
    if censored:
        text += (
            "Triangles at the top are seeds that were without it at their last measured checkpoint; more is not known. "
        )
    text += "Diamonds are the mean as in the paper, of the middles of the intervals"
    if censored:
        text += f"; seeds without it count as step {summary.end:,}, the last of the suite"
        ended = all(emergence.after >= summary.end for emergence in censored)
        text += ", which can only make it too small" if ended else ""
    text += ". Squares are Turnbull's median, which takes the bars as they are, with its 95% limits"
    unreached = [shorten(group.group) for group, median in groups if median.value == np.inf]
    text += f", at the top where half of the seeds did not get there ({join(unreached)})." if unreached else "."
    text += f" {tell_limits(min(group.measured for group, _ in groups))}"
    unmeasured = sum(group.unmeasured for group in capability.groups)
    return text + (f" {plural(unmeasured, 'seed')} without a measured checkpoint are left out." if unmeasured else "")


def caption_trajectories(capability: CapabilitySummary, size: str) -> str:
    """Of the target's probability by seed."""
    text = (
        f"{_name_view(capability, size)}: mean probability of the target over "
        f"{plural(len(capability.prompts), 'prompt')}. Each dot is a measured checkpoint, a ring the first one with "
        "the set."
    )
    rises = [
        (float(rise.max()), curve, int(rise.argmax()))
        for curve in capability.probability.select(group=size)
        if len(rise := np.diff(curve.values))
    ]
    if not rises:
        return text
    rise, curve, at = max(rises, key=lambda found: found[0])
    if rise <= 0.0:
        return f"{text} No seed rises between two measured checkpoints."
    before, after = curve.values[at], curve.values[at + 1]
    return (
        f"{text} The largest rise between neighbouring dots is that of {name_seed(curve.key.seed)}, from {before:.2f} "
        f"at step {curve.steps[at]:,} to {after:.2f} at {curve.steps[at + 1]:,}."
    )


def caption_margins(capability: CapabilitySummary, size: str) -> str:
    """Of the margin over the foil, or of a text the gain within a passage, by seed."""
    text = f"{_name_view(capability, size)}: "
    if capability.is_text:
        text += "loss early in a passage less loss late in it, mean over passages; at 0 (dashed) what was read before "
        text += "is of no use."
        what, low = "predict worse late in a passage", "difference"
    else:
        text += "log probability of the target less that of the foil, mean over the prompts that have one; at 0 "
        text += "(dashed) neither is preferred, which is chance."
        what, low = "prefer the foil", "margin"
    curves = [curve for curve in capability.margin.select(group=size) if np.isfinite(curve.values).any()]
    lows = [(float(np.nanmin(curve.values)), curve) for curve in curves]
    least, curve = min(lows, key=lambda found: found[0])
    below = sum(low < 0.0 for low, _ in lows)
    if not below:
        return f"{text} No seed is below it at a measured checkpoint."
    return (
        f"{text} {below} of {plural(len(lows), 'seed')} {what} at some measured checkpoint; the lowest {low} "
        f"is {least:.2f} nats, {name_seed(curve.key.seed)} at step {curve.steps[int(np.nanargmin(curve.values))]:,}."
    )


def caption_prompts(capability: CapabilitySummary, size: str) -> str:
    """Of the raster of prompts."""
    names = {prompt.unit: f"prompt {prompt.number}" for prompt in capability.prompts}
    text = (
        f"{_name_view(capability, size)}: a prompt counts once it is right at two measured checkpoints in a row. "
        f"{caption_raster(of_size(capability.parts, size), 'prompt', names)} The "
        "earliest and latest twentieth share the end colours. The last column is the set."
    )
    total = len(capability.prompts)
    return text + (f" {MOST_PROMPTS} of {total} prompts are drawn, spread evenly." if total > MOST_PROMPTS else "")


def _name_view(capability: CapabilitySummary, size: str) -> str:
    return f"{shorten(capability.name)} in {shorten(size)}"


def _find_disagreement(summary: ScanSummary) -> str:
    """Where seeds of one size differ most."""
    sets = [(c, size, of_size(c.sets, size)) for c in summary.capabilities for size in summary.sizes]
    capability, size, found = max(sets, key=lambda found: _measure_spread(found[2], summary.end))
    if _measure_spread(found, summary.end) <= 0.0:
        return ""
    steps = sorted(emergence.by for emergence in found if emergence.by is not None)
    text = f"Seeds disagree most on {shorten(capability.name)} in {shorten(size)}: "
    span = f"by step {steps[0]:,}" if steps[0] == steps[-1] else f"between step {steps[0]:,} and {steps[-1]:,}"
    text += f"{len(steps)} of {len(found)} had it {span}"
    return text + (
        f", {len(found) - len(steps)} not by the last checkpoint measured." if len(steps) < len(found) else "."
    )


def _measure_spread(found: list[Emergence], end: int) -> float:
    """How far apart, on the logarithmic axis, seeds emerged; one that did not is a decade late. 0 if none did."""
    scale = StepScale(end, log=True)
    if all(emergence.censored for emergence in found):
        return 0.0
    return float(np.ptp(scale.place([10 * end if e.by is None else e.by for e in found])))
