"""What became of a change: operations until it comes, over those of the control and of the placebo, and a verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np

from saltus.measure.bootstrap import bootstrap_emergences
from saltus.measure.contrasts import contrast_arms
from saltus.measure.intervals import Estimate
from saltus.seeding import Streams
from saltus.studies.claims import Table, Verdict
from saltus.studies.flops import Cost
from saltus.studies.gate import Check
from saltus.studies.tried import S, Tried


@dataclass(frozen=True)
class Outcome(Generic[S]):
    """One change beside the control and its placebo."""

    arm: str
    result: Tried[S]
    ratio: Estimate
    """Operations until half of the seeds have the whole task, over the control's."""
    against_placebo: Estimate | None
    """The same over the placebo's; None if it was not run."""
    has_placebo: bool
    """Whether there is to be one."""
    checks: tuple[Check, ...]
    with_teacher: Estimate | None = None
    """Over the control's, with the training of its teacher; None if it has no teacher that was trained."""

    @property
    def verdict(self) -> Verdict:
        """*Reproduced* is sooner than control and placebo, and with its teacher's training sooner than the control too.

        *In part* is sooner than the control alone.
        """
        if any(not check.passed for check in self.checks) or (self.has_placebo and self.against_placebo is None):
            return "open"
        if self.ratio.upper < 1.0:
            return "in part" if self._list_lacks() else "reproduced"
        telling = self.ratio.lower > 1.0 or (self.ratio.lower > 0.5 and self.ratio.upper < 2.0)
        return "not reproduced" if telling else "open"

    @property
    def why(self) -> str:
        """The ratios, and what they can and cannot tell."""
        told = f"operations over the control's {say_estimate(self.ratio)}"
        if self.against_placebo is not None:
            told += f", over its placebo's {say_estimate(self.against_placebo)}"
        if self.with_teacher is not None:
            told += f", with its teacher's training {say_estimate(self.with_teacher)} of the control's"
        if failed := [check for check in self.checks if not check.passed]:
            return f"{told}. The gate fails: {'; '.join(f'{check.name} ({check.why})' for check in failed)}"
        if self.has_placebo and self.against_placebo is None:
            return f"{told}; its placebo was not run"
        if self.verdict == "in part":
            return f"{told}: sooner than the control, and {', and '.join(self._list_lacks())}"
        if self.verdict == "open":
            return f"{told}: neither sooner nor as late is shown; it takes more seeds"
        return told

    def _list_lacks(self) -> list[str]:
        """What is not shown of a change that is sooner than the control."""
        lacks: list[str] = []
        if self.against_placebo is None:
            lacks.append("there is no placebo")
        elif self.against_placebo.upper >= 1.0:
            lacks.append("not shown to be sooner than its placebo")
        if self.with_teacher is not None and self.with_teacher.upper >= 1.0:
            lacks.append("not shown to be sooner where its teacher has to be trained first")
        return lacks


def tabulate_trial(
    arms: Sequence[Tried[S]], outcomes: Sequence[Outcome[S]], teacher: S | None = None
) -> Sequence[Table]:
    """Every arm with its setting and three costs; every change against control and placebo; what the gate says."""
    costs = Table(
        "What it costs until half of the seeds have the whole task",
        ("arm", "rate", "initialisation", "seeds with it", "step", "tokens", "operations", "with the teacher's"),
        [_list_costs(result, teacher) for result in arms],
        "Medians by Turnbull's estimate. Operations: those of the products, forward and backward, by arithmetic on "
        "the description; what an intervention adds is counted.",
    )
    effects = Table(
        "Operations until half of the seeds have it, as a multiple",
        ("change", "of the control's", "of its placebo's", "with the teacher's training, of the control's"),
        [
            (
                outcome.arm,
                say_estimate(outcome.ratio),
                "none" if outcome.against_placebo is None else say_estimate(outcome.against_placebo),
                "" if outcome.with_teacher is None else say_estimate(outcome.with_teacher),
            )
            for outcome in outcomes
        ],
        "Below 1 is sooner. Brackets: 95%, from a bootstrap over seeds, paired where both have the same ones.",
    )
    gate = Table(
        "Whether arms may be compared",
        ("change", "check", "holds", "found"),
        [
            (outcome.arm, check.name, "yes" if check.passed else "no", check.why)
            for outcome in outcomes
            for check in outcome.checks
        ],
    )
    return [costs, *([effects, gate] if outcomes else [])]


def compare_cost(
    base: Tried[S], changed: Tried[S], teacher: S | None = None, *, with_teacher: bool = False
) -> Estimate:
    """Operations until half of the seeds have the whole task, of `changed` over `base`; seeds are paired by name.

    Every interval is taken in operations, since the first steps of a run may be cheaper than its last. The training of
    a teacher is among them only with `with_teacher`.
    """
    names = [[task.key.seed for task in result.tasks] for result in (base, changed)]
    return contrast_arms(
        _count_ends(base, teacher, with_teacher),
        _count_ends(changed, teacher, with_teacher),
        Streams(0).generator("bootstrap"),
        seeds=(names[0], names[1]),
        paired=set(names[0]) == set(names[1]),
    ).median_ratio


def _count_ends(result: Tried[S], teacher: S | None, with_teacher: bool) -> tuple[list[float], list[float]]:
    """Both ends of the interval of each seed, [seed], in operations."""

    def count(step: float) -> float:
        if not 0.0 <= step < np.inf:  # before the first evaluation, or never
            return step
        cost = result.price(step, teacher)
        return cost.with_teacher if with_teacher else cost.operations

    left, right = result.tasks.intervals()
    return [count(step) for step in left.tolist()], [count(step) for step in right.tolist()]


def price_median(result: Tried[S], teacher: S | None = None) -> tuple[Cost, bool]:
    """The cost until half of the seeds have the whole task; of the whole budget, and True, where they do not."""
    found = bootstrap_emergences(result.tasks, Streams(0).generator("bootstrap"), draws=1)
    step = found.estimate.place_quantile(0.5)
    late = bool(np.isinf(step))
    return result.price(result.budget if late else max(step, 1.0), teacher), late


def say_estimate(estimate: Estimate) -> str:
    """Such as `0.52 [0.41, 0.70]`; `at most 0.21` where half of the seeds of what is compared with never have it."""
    value, lower, upper = estimate.value, estimate.lower, estimate.upper
    if value == 0.0 and np.isfinite(upper):
        return f"at most {upper:.2f}"
    if value == np.inf and lower > 0.0:
        return f"at least {lower:.2f}"
    told = f"{value:.2f}" if value and np.isfinite(value) else "unknown"
    return f"{told} [{lower:.2f}, {'no limit' if np.isinf(upper) else f'{upper:.2f}'}]"


def _list_costs(result: Tried[S], teacher: S | None) -> tuple[str, ...]:
    tasks, (rate, scale) = result.tasks, result.setting
    cost, late = price_median(result, teacher)
    beyond = "> " if late else ""
    solved = sum(not task.censored for task in tasks)
    return (
        f"{result.key['arm']}{' (placebo)' if result.key['part'] == 'placebo' else ''}",
        f"{rate:g}",
        f"{scale:g}",
        f"{solved} of {len(tasks)}",
        f"{beyond}{cost.steps:,.0f}",
        f"{beyond}{cost.tokens:,.0f}",
        f"{beyond}{cost.operations:.3g}",
        f"{beyond}{cost.with_teacher:.3g}" if cost.with_teacher > cost.operations else "",
    )
