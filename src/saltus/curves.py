"""Curves and rules, the common language: whatever was trained or measured becomes curves, and curves become emergences.

A **curve** is one unit of one seed of one group over training. A **rule** turns it into an **emergence**: an interval
(last step without, first step with], or censored. Nothing that takes curves knows where they came from.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from saltus.errors import SaltusError
from saltus.shown import Shown


class Key(NamedTuple):
    """What a curve belongs to."""

    group: str
    """A size, an arm, a cell of a study: what seeds are compared within."""
    seed: str
    unit: str
    """What emerges: a row of a map, a whole task, a prompt, a set of prompts, a metric."""


NOBODY = Key("", "", "")
"""Of what belongs to nothing in particular."""


@dataclass(frozen=True)
class Rule:
    """When a unit counts as there: its value passes a level at `hold` evaluations in a row.

    Exactly one of `above` and `below` is given. With `share`, the level is that share of the way from the unit's chance
    to its ceiling, and a value is there once it has come so far; the ceiling may lie below chance, as a floor of a loss
    does. Then the direction follows from the two, and the level is given as `above`.
    """

    above: float | None = None
    """The unit is there at this value or a larger one."""
    below: float | None = None
    """The unit is there at a smaller value than this one."""
    share: bool = False
    """Whether the level is a share of the way from chance to ceiling."""
    hold: int = 1
    """Evaluations in a row."""
    errors: float = 0.0
    """Standard errors of the value by which it must be beyond the level."""

    def __post_init__(self) -> None:
        if (self.above is None) == (self.below is None):
            raise SaltusError(f"rule: above is {self.above} and below is {self.below}; give exactly one of the two")
        if not np.isfinite(self.level):
            raise SaltusError(f"rule: the level is {self.level}; it must be a finite number")
        if self.share and self.above is None:
            raise SaltusError(f"rule: below is {self.below} with share; a share of the way is given as above")
        if self.hold < 1:
            raise SaltusError(f"rule: hold is {self.hold}; it must be at least 1 evaluation")
        if not 0.0 <= self.errors < np.inf:
            raise SaltusError(f"rule: errors is {self.errors}; it must be a finite number of at least 0")

    @property
    def level(self) -> float:
        """The level, whichever side of it counts."""
        return float(self.above if self.above is not None else self.below or 0.0)

    def change(self, *, threshold: float | None = None, hold: int | None = None) -> "Rule":
        """The same rule at another level, on the same side, or with another hold; None leaves a value as it is."""
        rule = self if threshold is None else replace(self, **{"below" if self.above is None else "above": threshold})
        return rule if hold is None else replace(rule, hold=hold)

    def describe(self, measure: str = "value") -> str:
        """Such as `progress of at least 0.9 at 2 evaluations in a row`."""
        side = f"of at least {self.level:g}" if self.above is not None else f"below {self.level:g}"
        way = " of the way from chance to ceiling" if self.share else ""
        clear = f", by {self.errors:g} standard errors," if self.errors else ""
        return f"{measure} {side}{way}{clear}" + (f" at {self.hold} evaluations in a row" if self.hold > 1 else "")


@dataclass(frozen=True)
class Curve:
    """One unit of one seed of one group over training."""

    key: Key
    steps: NDArray[np.int64]
    """[evaluation] increasing, at least 0."""
    values: NDArray[np.float64]
    """[evaluation] NaN where nothing was measured at an evaluation that took place."""
    missing: tuple[int, ...] = ()
    """Steps that should be there and are not, increasing."""
    chance: float = float("nan")
    """The value of a unit of which nothing is known; NaN where that is not known."""
    ceiling: float = float("nan")
    """The best value that can be reached; NaN where that is not known."""
    standard_error: NDArray[np.float64] | None = None
    """[evaluation] of the values; None where that is not known."""
    diverged: int | None = None
    """First evaluated step from which on the training had diverged; None if it had not, or that is not known."""

    def __post_init__(self) -> None:
        if self.steps.ndim != 1 or not len(self.steps):
            raise ValueError(f"steps has shape {self.steps.shape}; allowed is one axis with at least one evaluation")
        if self.steps[0] < 0 or (np.diff(self.steps) <= 0).any():
            raise ValueError(f"steps are {self.steps}; they must be at least 0 and strictly increasing")
        for name, values in (("values", self.values), ("standard_error", self.standard_error)):
            if values is not None and values.shape != self.steps.shape:
                raise ValueError(
                    f"{name} has shape {values.shape}; it needs one value for each of the {len(self.steps)} steps"
                )

    def there(self, rule: Rule) -> NDArray[np.bool_]:
        """[evaluation] whether the value is beyond the rule's level; NaN is not.

        Raises:
            SaltusError: if the rule needs chance, ceiling or standard errors and the curve does not have them.

        """
        judged = self._judge(rule)
        return judged >= rule.level if rule.above is not None else judged < rule.level

    def known(self, rule: Rule) -> NDArray[np.bool_]:
        """[evaluation] whether it says anything by the rule: a number was measured, or the training had diverged."""
        gone = np.inf if self.diverged is None else self.diverged
        return ~np.isnan(self._judge(rule)) | (self.steps >= gone)

    def _judge(self, rule: Rule) -> NDArray[np.float64]:
        """[evaluation] the numbers that are held against the rule's level."""
        values, sign = self.values, 1.0 if rule.above is not None else -1.0
        way = self.ceiling - self.chance if rule.share else 1.0
        if not np.isfinite(way) or way == 0.0:
            raise SaltusError(
                f"{self.key.unit}: chance is {self.chance:g} and the ceiling {self.ceiling:g}, so a share of the "
                "way between them says nothing; give a level in the unit of the measure instead"
            )
        values = (values - self.chance) / way if rule.share else values
        if rule.errors:
            if self.standard_error is None:
                raise SaltusError(
                    f"{self.key.unit}: the rule asks for {rule.errors:g} standard errors and the curve has none; "
                    "leave them out of the rule"
                )
            values = values - sign * rule.errors * self.standard_error / abs(way)
        return values


@dataclass(frozen=True)
class Emergence:
    """When one unit of one seed emerged: somewhere in the interval (after, by]."""

    after: int
    """Last step known to be without the unit, in steps: the open left end of the interval.

    -1 if no evaluation was without it. With `by` at the first evaluation, the unit was there from the start.
    """
    by: int | None
    """First evaluated step with the unit, in steps: the closed right end; None if censored."""
    lost: int | None = None
    """First evaluated step of the first loss that held after the emergence, in steps; None if it was never lost."""
    missing: tuple[int, ...] = ()
    """Steps inside the interval, or after a censored one, that should have been measured: it is so much wider."""
    key: Key = NOBODY
    diverged: int | None = None
    """First evaluated step at which the training had diverged, in steps; None if it had not.

    What had not emerged by then never will: it is watched to the end and does not come, as one that is hopeless.
    """

    @property
    def censored(self) -> bool:
        """Whether training ended before the unit was confirmed to be there; all that is known is that it came later."""
        return self.by is None

    @property
    def unwatched(self) -> bool:
        """Whether it was not watched beyond step 0: nothing at all is known of when it comes."""
        return self.by is None and self.after <= 0 and self.diverged is None


@dataclass(frozen=True)
class Emergences(Shown, Sequence[Emergence]):
    """What a rule found in some curves, in their order."""

    found: tuple[Emergence, ...]
    rule: Rule
    measure: str = ""
    """What the rule was asked of, such as `accuracy`; empty where that is not known."""

    def __getitem__(self, place: int) -> Emergence:  # pyright: ignore[reportIncompatibleMethodOverride]  # no slices
        return self.found[place]

    def __len__(self) -> int:
        return len(self.found)

    def __iter__(self) -> Iterator[Emergence]:
        return iter(self.found)

    def group(self, name: str) -> "Emergences":
        """Those of one group."""
        return self._select(lambda key: key.group == name, f"group {name!r}", self.groups)

    def unit(self, name: str) -> "Emergences":
        """Those of one unit."""
        return self._select(lambda key: key.unit == name, f"unit {name!r}", self.units)

    def by_seed(self) -> dict[tuple[str, str], "Emergences"]:
        """By group and seed: what belongs to one run, and so is never independent."""
        return {
            run: replace(self, found=tuple(e for e in self.found if e.key[:2] == run))
            for run in dict.fromkeys((e.key.group, e.key.seed) for e in self.found)
        }

    @property
    def groups(self) -> list[str]:
        """Names of the groups, in their order."""
        return list(dict.fromkeys(e.key.group for e in self.found))

    @property
    def units(self) -> list[str]:
        """Names of the units, in their order."""
        return list(dict.fromkeys(e.key.unit for e in self.found))

    def intervals(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Left and right ends, both [emergence], of the intervals (left, right] in steps.

        The right end is infinite where censored. The left end is -1 where no evaluation was without the unit, so that
        a unit that was there at step 0 lies in (-1, 0].
        """
        left = np.array([e.after for e in self.found], dtype=np.float64)
        right = np.array([np.inf if e.by is None else e.by for e in self.found], dtype=np.float64)
        return left, right

    def _select(self, wanted: Callable[[Key], bool], what: str, there: Iterable[str]) -> "Emergences":
        found = tuple(e for e in self.found if wanted(e.key))
        if not found:
            raise SaltusError(f"there is no {what}; there are {', '.join(there) or 'none'}")
        return replace(self, found=found)


@dataclass(frozen=True)
class Curves(Shown, Sequence[Curve]):
    """Curves of one measure, with the rule by which they are read unless another one is given."""

    curves: tuple[Curve, ...]
    measure: str
    """What the values are, such as `accuracy`."""
    rule: Rule
    unit_of_measure: str = ""
    """Such as `nats`; empty for a share or a probability."""
    whole: str = ""
    """The unit that stands for all others of its seed together, such as `whole task`; empty where there is none."""
    notes: tuple[str, ...] = field(default=())
    """What a reader of the source has to say of it, as sentences."""

    def __getitem__(self, place: int) -> Curve:  # pyright: ignore[reportIncompatibleMethodOverride]  # no slices
        return self.curves[place]

    def __len__(self) -> int:
        return len(self.curves)

    def __iter__(self) -> Iterator[Curve]:
        return iter(self.curves)

    @property
    def groups(self) -> list[str]:
        """Names of the groups, in their order."""
        return list(dict.fromkeys(curve.key.group for curve in self.curves))

    @property
    def units(self) -> list[str]:
        """Names of the units, in their order."""
        return list(dict.fromkeys(curve.key.unit for curve in self.curves))

    @property
    def end(self) -> int:
        """The last step that any curve has."""
        return max((int(curve.steps[-1]) for curve in self.curves), default=0)

    @property
    def parts(self) -> Self:
        """All but those of the whole."""
        return replace(self, curves=tuple(c for c in self.curves if c.key.unit != self.whole))

    @property
    def wholes(self) -> Self:
        """Those of the whole alone, one for each seed."""
        return self.select(unit=self.whole)

    def seeds(self, group: str) -> list[str]:
        """Names of the seeds of a group, in their order."""
        return list(dict.fromkeys(curve.key.seed for curve in self.curves if curve.key.group == group))

    def select(self, *, group: str | None = None, seed: str | None = None, unit: str | None = None) -> Self:
        """The curves of one group, one seed, one unit; None is all of them. There may be none."""
        wanted = (group, seed, unit)
        chosen = tuple(c for c in self.curves if all(w in (None, k) for w, k in zip(wanted, c.key, strict=True)))
        return replace(self, curves=chosen)

    def until(self, step: int) -> Self:
        """The curves without what was measured after a step, so that curves of different budgets are read alike.

        Raises:
            SaltusError: if a curve has nothing until then.

        """
        if late := [curve for curve in self.curves if curve.steps[0] > step]:
            raise SaltusError(
                f"{late[0].key.unit}: step {step} was given, and the first evaluation is at {late[0].steps[0]}; "
                "give a step at or after it"
            )
        return replace(self, curves=tuple(_cut(curve, step) for curve in self))

    def emergences(self, rule: Rule | None = None) -> Emergences:
        """When each curve's unit emerged, by the curves' own rule or by another one."""
        rule = rule or self.rule
        return Emergences(tuple(find_emergence(curve, rule) for curve in self.curves), rule, self.measure)


def find_emergence(curve: Curve, rule: Rule) -> Emergence:
    """The first time that a curve passes the rule's level and stays there for `rule.hold` evaluations in a row.

    The interval ends at the first of the evaluations that hold, not at the one that confirms it. What has not emerged
    is censored at the last evaluation at which an emergence could still have been confirmed, which with a hold of 1 is
    the last of all: later crossings are unknown for every unit alike, whether or not it has crossed. With fewer
    evaluations than `hold` nothing is known at all, and the left end is -1. The same number of evaluations in a row
    without the unit makes a loss. An evaluation at which nothing was measured counts as one that is missing.
    """
    known = curve.known(rule)
    there, steps = curve.there(rule)[known], curve.steps[known]
    lacking = sorted({*curve.missing, *curve.steps[~known].tolist()})
    first = _find_first(there, rule.hold)
    if first is None:
        after = int(steps[-rule.hold]) if len(steps) >= rule.hold else -1
        missing = tuple(step for step in lacking if step > after)
        return Emergence(after, None, None, missing, curve.key, curve.diverged)
    loss = _find_first(~there[first:], rule.hold)
    after, by = int(steps[first - 1]) if first else -1, int(steps[first])
    return Emergence(
        after=after,
        by=by,
        lost=None if loss is None else int(steps[first + loss]),
        missing=tuple(step for step in lacking if after < step < by),
        key=curve.key,
        diverged=curve.diverged,
    )


def gather_curves(
    group: str,
    seeds: Sequence[str],
    units: Sequence[str],
    steps: NDArray[np.int64],
    values: ArrayLike,
    *,
    chance: ArrayLike = float("nan"),
    ceiling: ArrayLike = float("nan"),
    diverged: Mapping[str, int] | None = None,
) -> tuple[Curve, ...]:
    """The curves of seeds that were evaluated together, seed by seed.

    `steps` is [evaluation], `values` [seed, evaluation, unit]; `chance` and `ceiling` are numbers or [unit]; `diverged`
    has, for the seeds that did, the step at which they had.
    """
    gone = diverged or {}
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (len(seeds), len(steps), len(units)):
        raise ValueError(
            f"values has shape {array.shape}; allowed is [seed, evaluation, unit], here "
            f"{(len(seeds), len(steps), len(units))}"
        )
    low, high = (np.broadcast_to(np.asarray(level, dtype=np.float64), len(units)) for level in (chance, ceiling))
    return tuple(
        Curve(Key(group, seed, unit), steps, array[s, :, u], (), float(low[u]), float(high[u]), None, gone.get(seed))
        for s, seed in enumerate(seeds)
        for u, unit in enumerate(units)
    )


def _cut(curve: Curve, step: int) -> Curve:
    """A curve as far as it was known at a step."""
    done = curve.steps <= step
    errors = None if curve.standard_error is None else curve.standard_error[done]
    return replace(
        curve,
        steps=curve.steps[done],
        values=curve.values[done],
        missing=tuple(lacking for lacking in curve.missing if lacking <= step),
        standard_error=errors,
        diverged=None if curve.diverged is None or curve.diverged > step else curve.diverged,
    )


def _find_first(flags: NDArray[np.bool_], length: int) -> int | None:
    """Where the first `length` true values in a row begin, or None."""
    if len(flags) < length:
        return None
    runs = sliding_window_view(flags, length).all(axis=1)
    return int(runs.argmax()) if runs.any() else None
