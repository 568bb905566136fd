"""From values to curves: the metric is chosen, repeated steps are resolved, and what is wrong or missing is said."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import isfinite, nan
from typing import NamedTuple

import numpy as np

from saltus.curves import Curve, Curves, Key, Rule
from saltus.errors import SaltusError
from saltus.ingest.chance import find_chance, is_share
from saltus.ingest.grid import add_missing, say_missing_seeds, sort_naturally
from saltus.ingest.ledger import Ledger
from saltus.specs.reading import ReadSpec

USUAL_RULE = Rule(above=0.5, hold=2)
"""By which curves are read where no rule was given."""

_SHOWN = 12


class Value(NamedTuple):
    """One value at one step."""

    step: int
    written: float
    """When; of what comes twice the latest counts."""
    value: float
    error: float
    source: str
    """The file."""


class Origin(NamedTuple):
    """Whose values these are, and by which metric."""

    group: str
    seed: str
    unit: str
    """Empty where the metric says it all."""
    metric: str


Values = Mapping[Origin, Sequence[Value]]


@dataclass(frozen=True)
class Choice:
    """What becomes curves: some metrics of units, or metrics that are units themselves."""

    metrics: tuple[str, ...]
    of_units: bool

    @property
    def measure(self) -> str:
        """What the curves are curves of."""
        return self.metrics[0] if len(self.metrics) == 1 else "value"

    def takes(self, origin: Origin) -> bool:
        """Whether values are of it."""
        return origin.metric in self.metrics and bool(origin.unit) == self.of_units

    def name(self, origin: Origin) -> str:
        """The unit of a curve."""
        if not self.of_units:
            return origin.metric
        return origin.unit if len(self.metrics) == 1 else f"{origin.unit} {origin.metric}"


def gather(values: Values, spec: ReadSpec, rule: Rule | None, ledger: Ledger) -> Curves:
    """The curves of all values, by group, seed and unit.

    Raises:
        SaltusError: if nothing is left to read.

    """
    choice = choose_metrics(values, spec, ledger)
    named = {origin: choice.name(origin) for origin in values if choice.takes(origin)}
    kept = {origin: values[origin] for origin, unit in named.items() if is_wanted(unit, spec)}
    if not kept:
        raise SaltusError(
            f"only: {_list(spec.only)} was given, and no unit has such a name; there are {_list([*named.values()])}"
        )
    percent = {metric for metric in choice.metrics if _is_percent(kept, metric)}
    for metric in sorted(percent):
        ledger.add(
            "metric is in percent and was divided by 100", "metrics are in percent and were divided by 100", metric
        )
        for source in _list_small(kept, metric):
            ledger.add(
                "file has a metric in percent that is never above 1 there; if it holds shares, read it apart",
                "files have a metric in percent that is never above 1 there; if they hold shares, read them apart",
                f"{source}: {metric}",
            )
    drawn = [
        curve
        for origin, own in kept.items()
        if (curve := _draw(origin, named[origin], own, 100.0 if origin.metric in percent else 1.0, spec, ledger))
    ]
    if not drawn:
        raise SaltusError(f"there is no value that counts; {'; '.join(ledger.sentences[:_SHOWN])}")
    drawn.sort(key=lambda curve: [sort_naturally(name) for name in curve.key])
    rule = rule or USUAL_RULE
    curves = add_missing(_leave_out(drawn, rule, ledger), ledger)
    say_missing_seeds(curves, ledger)
    return Curves(tuple(curves), choice.measure, rule, notes=ledger.sentences)


def is_wanted(unit: str, spec: ReadSpec) -> bool:
    """Whether a unit is among those that are asked for."""
    patterns = [re.sub(r"[?[]", r"[\g<0>]", wanted) for wanted in spec.only]  # only a star stands for something else
    return not spec.only or any(fnmatchcase(unit, pattern) for pattern in patterns)


def choose_metrics(values: Values, spec: ReadSpec, ledger: Ledger) -> Choice:
    """The metrics that were asked for; otherwise the most frequent one of units, or all where there are no units.

    Raises:
        SaltusError: if none of those that were asked for is there.

    """
    of_units: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for origin, own in values.items():
        (of_units if origin.unit else others)[origin.metric] += len(own)
    if spec.value:
        there = {*of_units, *others}
        if lacking := [name for name in spec.value if name not in there]:
            raise SaltusError(f"value: {_list(lacking)} was given; there are {_list(sorted(there))}")
        return Choice(spec.value, any(name in of_units for name in spec.value))
    if not of_units:
        return Choice(tuple(others), of_units=False)
    chosen = min(of_units, key=lambda metric: (-of_units[metric], not is_share(metric), metric))
    for metric, count in sorted(((of_units + others) - Counter({chosen: of_units[chosen]})).items()):
        one = "metric was not read; choose it with value"
        ledger.tell(one, "metrics were not read; choose among them with value", f"{metric} ({count:,} values)")
    return Choice((chosen,), of_units=True)


def _draw(
    origin: Origin, unit: str, values: Sequence[Value], divisor: float, spec: ReadSpec, ledger: Ledger
) -> Curve | None:
    """One curve of its values in any order, what is repeated or out of range said; None if no value is left.

    What is no measurement is a missing step, and not a value without the unit: it ends no interval.
    """
    where = f"{origin.group}, seed {origin.seed}, {unit}"
    latest: dict[int, Value] = {}
    for value in sorted(values, key=lambda each: (each.step, each.written)):
        if value.step in latest:
            ledger.add(
                "value came again at the same step, and the latest counts",
                "values came again at the same step, and the latest counts",
                f"{where}, step {value.step:,}",
            )
        latest[value.step] = value
    share, missing = is_share(origin.metric), list[int]()
    for step, found in list(latest.items()):
        wrong = ""
        if not isfinite(found.value):
            wrong = "not finite"
        elif share and not 0.0 <= found.value / divisor <= 1.0:
            wrong = f"outside 0 to 1, where {origin.metric} lies,"
        if wrong:
            missing.append(step)
            del latest[step]
            ledger.add(
                f"value is {wrong} and counts as not measured",
                f"values are {wrong} and count as not measured",
                f"{where}, step {step:,}: {found.value:g}",
            )
    if not latest:
        return None
    errors = np.array([value.error / divisor for value in latest.values()])
    errors[~(np.isfinite(errors) & (errors >= 0.0))] = nan
    chance = find_chance(origin.unit, origin.metric)
    return Curve(
        Key(origin.group, origin.seed, unit),
        np.array([*latest], dtype=np.int64),
        np.array([value.value / divisor for value in latest.values()]),
        tuple(missing),
        chance=nan if (level := spec.chance if chance is None else chance) is None else level,
        ceiling=1.0 if share else nan if spec.ceiling is None else spec.ceiling,
        standard_error=None if np.isnan(errors).all() else errors,
    )


def _leave_out(curves: Sequence[Curve], rule: Rule, ledger: Ledger) -> list[Curve]:
    """The curves that the rule can read.

    Raises:
        SaltusError: if it can read none.

    """
    kept: list[Curve] = []
    lacking: dict[str, str] = {}
    for curve in curves:
        way = curve.ceiling - curve.chance
        if rule.share and (not isfinite(way) or way == 0.0):
            what = "known level of chance or no known ceiling, of which the rule needs a share"
            remedy = "give chance and ceiling, or a rule without a share"
        elif rule.errors and curve.standard_error is None:
            what = "standard errors, which the rule needs"
            remedy = "give them in a column NAME_stderr, or a rule without them"
        else:
            kept.append(curve)
            continue
        lacking[what] = remedy
        one = f"curve has no {what}, and is left out"
        ledger.add(one, f"curves have no {what}, and are left out", ", ".join(curve.key))
    if not kept:
        raise SaltusError(
            f"the rule reads none of the {len(curves)} curves, which have no {' and no '.join(lacking)}; "
            f"{'; '.join(lacking.values())}"
        )
    return kept


def _is_percent(values: Values, metric: str) -> bool:
    """Whether a metric that is a share is given in percent.

    Then half of what is not 0, as much is before a skill comes, lies above 1, and all of it up to 100.
    """
    numbers = np.array([v.value for origin, own in values.items() if origin.metric == metric for v in own])
    numbers = numbers[np.isfinite(numbers) & (numbers != 0.0)]
    return is_share(metric) and bool(len(numbers) and np.median(numbers) > 1.0 and numbers.max() <= 100.0)


def _list_small(values: Values, metric: str) -> list[str]:
    """The files in which a metric is above 0, and nowhere above 1."""
    most: dict[str, float] = {}
    for origin, own in values.items():
        for value in own if origin.metric == metric else ():
            if isfinite(value.value):
                most[value.source] = max(most.get(value.source, 0.0), value.value)
    return [source for source, value in most.items() if 0.0 < value <= 1.0]


def _list(names: Sequence[str]) -> str:
    shown = [*dict.fromkeys(names)]
    return ", ".join(shown[:_SHOWN]) + (f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else "")
