"""What a monitored training came to, in numbers and in words."""

from dataclasses import dataclass, replace

import numpy as np

from saltus.curves import Curves, Emergence
from saltus.monitor.records import MonitorRecords, name_head
from saltus.report.curves.words import describe_emergence
from saltus.report.html.labels import join, plural, shorten


@dataclass(frozen=True)
class Sharpening:
    """One head that became sharp in one pattern."""

    unit: str
    """The head, such as `layer 1 head 3`."""
    found: Emergence
    steps: int | None
    """From the last probe at which it had at most half of what makes it sharp to the first at which it was sharp.

    A head cannot be seen to be faster than the probes are apart. None where no probe was early enough.
    """
    mass: float
    """At its last probe."""


def list_sharpened(records: MonitorRecords, pattern: str) -> list[Sharpening]:
    """The heads that became sharp in a pattern: those that took the fewest steps first, of these the sharpest."""
    curves = records.heads(pattern)
    half = replace(curves.rule, above=curves.rule.level / 2.0)
    sharpened: list[Sharpening] = []
    for curve, found in zip(curves, curves.emergences(), strict=True):
        if found.by is not None:
            below = curve.steps[~curve.there(half) & (curve.steps < found.by)]
            steps = found.by - int(below[-1]) if len(below) else None
            sharpened.append(Sharpening(curve.key.unit, found, steps, float(curve.values[-1])))
    return sorted(sharpened, key=lambda each: (np.inf if each.steps is None else each.steps, -each.mass))


def say_sharpening(sharpening: Sharpening) -> str:
    """Such as `sharp in (10, 20], within 10 steps`."""
    within = "" if sharpening.steps is None else f", within {plural(sharpening.steps, 'step')}"
    return f"sharp {_say_when(sharpening.found)}{within}"


def name_sharpest(records: MonitorRecords, pattern: str) -> str:
    """The head with the most mass on a pattern at the last probe that read it, such as `layer 1 head 3`."""
    masses = records.masses[..., records.spec.patterns.index(pattern)]  # [probe, layer, head]
    read = masses[np.isfinite(masses).any((1, 2))]
    layer, head = np.unravel_index(np.nanargmax(read[-1]), read.shape[1:])
    return name_head(int(layer), int(head))


def count_sharp(records: MonitorRecords, pattern: str) -> tuple[int, int]:
    """Heads that have a pattern at their last probe, by the rule for patterns without its hold; and all heads."""
    curves = records.heads(pattern)
    return sum(bool(curve.there(curves.rule)[-1]) for curve in curves), len(curves)


def describe_overhead(records: MonitorRecords) -> str:
    """Such as `1.3% of the training time went to probes (at most 2% allowed)`."""
    if not np.isfinite(records.overhead):
        return "no time of training has passed yet"
    bound = records.spec.at_most
    allowed = "without a bound" if bound is None else f"at most {bound:.2g} was allowed"
    last = records.rows[-1]
    return (
        f"probes took {last.spent:,.1f} s and the training {last.training:,.1f} s, a share of {records.overhead:.2g} "
        f"({allowed})"
    )


def describe_findings(records: MonitorRecords) -> str:
    """What emerged and what sharpened, in a sentence or two."""
    if not records.rows:
        return "Nothing has been measured yet."
    parts = [*_list_findings(records.curves, "emerged"), *_list_findings(records.strongest, "had its first head")]
    if not parts:
        held = f", at {records.rule.hold} probes in a row" if records.rule.hold > 1 else ""
        return f"Nothing has emerged by step {records.rows[-1].step:,}{held}."
    return f"{join(parts, most=6)}."


def _list_findings(curves: Curves, verb: str) -> list[str]:
    found = [emergence for emergence in curves.emergences() if emergence.by is not None]
    return [f"{shorten(e.key.unit)} {verb} {_say_when(e)}" for e in found]


def _say_when(emergence: Emergence) -> str:
    text = describe_emergence(emergence)
    return text if text.startswith("at ") else f"in {text}"
