"""What a scan found, and what to see in its figures, in sentences that are worked out from its records."""

import numpy as np
from numpy.typing import NDArray

from saltus.measure.survival import SurvivalCurve
from saltus.report.html.labels import join, name_seed, plural, shorten
from saltus.report.html.step_scale import StepScale
from saltus.report.scan.figures import choose_prompts
from saltus.report.scan.summary import CapabilityTraces, ScanSummary, SeedTrace


def describe_scan(summary: ScanSummary) -> str:
    """The result of a scan in a sentence or two."""
    known = [capability for capability in summary.capabilities if capability.measured]
    if not known:
        return f"No checkpoint of the {plural(summary.runs, 'run')} could be measured, so nothing is known yet."
    counts = [f"{shorten(capability.name)} emerged in {capability.emerged or 'none'}" for capability in known]
    counts = [counts[0], *(count.replace(" emerged in ", " in ") for count in counts[1:])]
    so_far = "" if summary.finished else " so far"
    text = f"Of {plural(known[0].measured, 'run')}, {join(counts, most=5)}{so_far}."
    return f"{text} {_find_disagreement(summary)}".strip()


def choose_size(summary: ScanSummary, capability: CapabilityTraces) -> int:
    """Index of the size whose seeds disagree most; the last of those that agree."""
    spreads = [_measure_spread(traces, summary.end) for traces in capability.traces]
    return max(range(len(spreads)), key=lambda index: (spreads[index], index))


def caption_sizes(summary: ScanSummary, capability: CapabilityTraces) -> str:
    """Of steps to emergence against size."""
    sizes = [size for size in capability.sizes if size.emerged + size.censored]
    if not sizes:
        return f"No checkpoint could be measured, so nothing is known of {shorten(capability.name)}."
    counts = [f"{size.emerged} of {size.emerged + size.censored} in {shorten(size.size)}" for size in sizes]
    text = (
        f"{shorten(capability.name)} is there where at least {summary.threshold:.0%} of "
        f"{plural(len(capability.prompts), 'prompt')} are right. Seeds in which it emerged: {join(counts, most=9)}. A "
        "dot is the first measured checkpoint with it, and the bar reaches down to the last one without. "
    )
    if any(size.censored for size in sizes):
        text += (
            "Triangles at the top are seeds that were without it at their last measured checkpoint; more is not known. "
        )
    text += "Diamonds are the mean as in the paper, of the middles of the intervals"
    if any(size.censored for size in sizes):
        text += f"; seeds without it count as step {summary.end:,}, the last of the suite"
        text += ", which can only make it too small" if _ended(summary, capability) else ""
    text += f". Squares are the Kaplan-Meier median of the dots with its {_level(sizes[0].curve)} band"
    unreached = [shorten(size.size) for size in sizes if size.median is None]
    text += f", at the top where half of the seeds did not get there ({join(unreached)})." if unreached else "."
    unmeasured = sum(size.unmeasured for size in capability.sizes)
    return text + (f" {plural(unmeasured, 'seed')} without a measured checkpoint are left out." if unmeasured else "")


def caption_trajectories(summary: ScanSummary, capability: CapabilityTraces, size: int) -> str:
    """Of the target's probability by seed."""
    text = (
        f"{_name_view(summary, capability, size)}: mean probability of the target over "
        f"{plural(len(capability.prompts), 'prompt')}. Each dot is a measured checkpoint, a ring the first one with "
        "the set."
    )
    rises = [
        (float(rise.max()), trace, int(rise.argmax()))
        for trace in capability.traces[size]
        if len(rise := np.diff(trace.probability))
    ]
    if not rises:
        return f"{text} {_nothing_measured(capability.traces[size])}".strip()
    rise, trace, at = max(rises, key=lambda found: found[0])
    if rise <= 0.0:
        return f"{text} No seed rises between two measured checkpoints."
    before, after = trace.probability[at], trace.probability[at + 1]
    return (
        f"{text} The largest rise between neighbouring dots is that of {name_seed(trace.seed)}, from {before:.2f} at "
        f"step {trace.steps[at]:,} to {after:.2f} at {trace.steps[at + 1]:,}."
    )


def caption_margins(summary: ScanSummary, capability: CapabilityTraces, size: int) -> str:
    """Of the margin over the foil by seed."""
    text = (
        f"{_name_view(summary, capability, size)}: log probability of the target less that of the foil, mean over the "
        "prompts that have one; at 0 (dashed) neither is preferred, which is chance."
    )
    lows = [
        (float(np.nanmin(trace.margin)), trace) for trace in capability.traces[size] if np.isfinite(trace.margin).any()
    ]
    if not lows:
        return text
    least, trace = min(lows, key=lambda found: found[0])
    below = sum(low < 0.0 for low, _ in lows)
    if not below:
        return f"{text} No seed is below it at a measured checkpoint."
    step = trace.steps[int(np.nanargmin(trace.margin))]
    return (
        f"{text} {below} of {plural(len(lows), 'seed')} prefer the foil at some measured checkpoint; the lowest margin "
        f"is {least:.2f} nats, {name_seed(trace.seed)} at step {step:,}."
    )


def caption_size_survival(summary: ScanSummary, capability: CapabilityTraces) -> str:
    """Of the survival curves by size."""
    known = [size for size in capability.sizes if size.curve is not None]
    if not known:
        return f"No checkpoint could be measured, so nothing is known of {shorten(capability.name)}."
    reached = [f"{shorten(size.size)} by step {size.median:,.0f}" for size in known if size.median is not None]
    text = f"Share of seeds still without {shorten(capability.name)}. "
    text += (
        f"Half of the seeds had it in {join(reached, most=9)}" if reached else "In no size did half of the seeds get it"
    )
    unreached = [shorten(size.size) for size in known if size.median is None]
    text += f"; not in {join(unreached, most=9)}." if reached and unreached else "."
    return (
        f"{text} Bands are {_level(known[0].curve)} for each step on its own; a seed without it leaves the count of "
        "those at risk after its last measured checkpoint, and the curve does not fall there."
    )


def caption_prompts(summary: ScanSummary, capability: CapabilityTraces, size: int) -> str:
    """Of the raster of prompts."""
    traces = [trace for trace in capability.traces[size] if trace.units]
    if not traces:
        return _nothing_measured(capability.traces[size])
    there = np.array([[found.emergence.by is not None for found in trace.units[:-1]] for trace in traces])
    text = (
        f"{_name_view(summary, capability, size)}: {there.sum()} of {there.size} cells emerged "
        f"({plural(len(traces), 'seed')}, {plural(there.shape[1], 'prompt')}), each at the first measured checkpoint "
        "that gave the target; the earliest and latest twentieth share the end colours. Hatched cells had not by the "
        "seed's last one. The last column is the set."
    )
    if len(traces) > 1:
        text += _name_extremes(there)
    lost = sum(found.emergence.lost is not None for trace in traces for found in trace.units[:-1])
    text += f" {plural(lost, 'cell')} {'was' if lost == 1 else 'were'} wrong again later (crosses)." if lost else ""
    shown = len(choose_prompts(capability))
    total = len(capability.prompts)
    return text + (f" {shown} of {total} prompts are drawn, spread evenly." if shown < total else "")


def _name_view(summary: ScanSummary, capability: CapabilityTraces, size: int) -> str:
    return f"{shorten(capability.name)} in {shorten(summary.sizes[size])}"


def _find_disagreement(summary: ScanSummary) -> str:
    """Where seeds of one size differ most."""
    best = max(
        (
            (_measure_spread(traces, summary.end), -number, -index)
            for number, capability in enumerate(summary.capabilities)
            for index, traces in enumerate(capability.traces)
        ),
        default=(0.0, 0, 0),
    )
    if best[0] <= 0.0:
        return ""
    capability, size = summary.capabilities[-best[1]], -best[2]
    wholes = [trace.whole.emergence for trace in capability.traces[size] if trace.whole]
    steps = sorted(found.by for found in wholes if found.by is not None)
    text = f"Seeds disagree most on {shorten(capability.name)} in {shorten(summary.sizes[size])}: "
    span = f"by step {steps[0]:,}" if steps[0] == steps[-1] else f"between step {steps[0]:,} and {steps[-1]:,}"
    text += f"{len(steps)} of {len(wholes)} had it {span}"
    return text + (
        f", {len(wholes) - len(steps)} not by the last checkpoint measured." if len(steps) < len(wholes) else "."
    )


def _measure_spread(traces: tuple[SeedTrace, ...], end: int) -> float:
    """How far apart, on the logarithmic axis, seeds emerged; one that did not is a decade late. 0 if none did."""
    scale = StepScale(end, log=True)
    bys = [trace.whole.emergence.by for trace in traces if trace.whole]
    if all(by is None for by in bys):
        return 0.0
    return float(np.ptp(scale.place([10 * end if by is None else by for by in bys])))


def _name_extremes(there: NDArray[np.bool_]) -> str:
    every, none = int(there.all(axis=0).sum()), int((~there).all(axis=0).sum())
    parts = [
        f"{plural(count, 'prompt')} emerged in {where} seed"
        for count, where in ((every, "every"), (none, "no"))
        if 0 < count < there.shape[1]
    ]
    return f" {join(parts)}." if parts else ""


def _ended(summary: ScanSummary, capability: CapabilityTraces) -> bool:
    """Whether every seed without it was measured at the last step."""
    wholes = [trace.whole.emergence for traces in capability.traces for trace in traces if trace.whole]
    return all(found.after >= summary.end for found in wholes if found.by is None)


def _nothing_measured(traces: tuple[SeedTrace, ...]) -> str:
    measured = any(len(trace.steps) for trace in traces)
    return "" if measured else "No checkpoint of this size could be measured."


def _level(curve: SurvivalCurve | None) -> str:
    return f"{curve.level:.0%}" if curve else ""
