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
    teacher: S | None = None

    @property
    def taught(self) -> float:
        """Operations with the teacher's training over those without, at the median; 1 where there is no teacher."""
        cost, _ = price_median(self.result, self.teacher)
        return cost.with_teacher / cost.operations

    @property
    def verdict(self) -> Verdict:
        """*Reproduced* is sooner than control and placebo, *in part* than the control alone, or without a placebo."""
        if any(not check.passed for check in self.checks) or (self.has_placebo and self.against_placebo is None):
            return "open"
        if self.ratio.upper < 1.0:
            better = self.against_placebo is not None and self.against_placebo.upper < 1.0
            return "reproduced" if better else "in part"
        telling = self.ratio.lower > 1.0 or (self.ratio.lower > 0.5 and self.ratio.upper < 2.0)
        return "not reproduced" if telling else "open"

    @property
    def why(self) -> str:
        """The ratios, and what they can and cannot tell."""
        told = f"operations over the control's {say_estimate(self.ratio)}"
        if self.against_placebo is not None:
            told += f", over its placebo's {say_estimate(self.against_placebo)}"
        if failed := [check for check in self.checks if not check.passed]:
            return f"{told}. The gate fails: {'; '.join(f'{check.name} ({check.why})' for check in failed)}"
        if self.has_placebo and self.against_placebo is None:
            return f"{told}; its placebo was not run"
        if self.verdict == "in part":
            placebo = "not shown to be sooner than its placebo" if self.has_placebo else "there is no placebo"
            return f"{told}: sooner than the control, and {placebo}"
        if self.verdict == "open":
            return f"{told}: neither sooner nor as late is shown; it takes more seeds"
        return told


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
                say_estimate(scale_estimate(outcome.ratio, outcome.taught)) if outcome.taught != 1.0 else "",
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


def compare_cost(base: Tried[S], changed: Tried[S], teacher: S | None = None) -> Estimate:
    """Operations until half of the seeds have the whole task, of `changed` over `base`; seeds are paired by name.

    Those of a step are the mean until the median of each. The training of a teacher is not among them.
    """
    steps = contrast_arms(
        base.tasks.intervals(),
        changed.tasks.intervals(),
        Streams(0).generator("bootstrap"),
        seeds=([task.key.seed for task in base.tasks], [task.key.seed for task in changed.tasks]),
        paired={task.key.seed for task in base.tasks} == {task.key.seed for task in changed.tasks},
    ).median_ratio
    costs = [price_median(result, teacher)[0] for result in (base, changed)]
    each = [cost.operations / cost.steps for cost in costs]
    return scale_estimate(steps, each[1] / each[0])


def price_median(result: Tried[S], teacher: S | None = None) -> tuple[Cost, bool]:
    """The cost until half of the seeds have the whole task; of the whole budget, and True, where they do not."""
    found = bootstrap_emergences(result.tasks, Streams(0).generator("bootstrap"), draws=1)
    step = found.estimate.place_quantile(0.5)
    late = bool(np.isinf(step))
    return result.price(result.budget if late else max(step, 1.0), teacher), late


def scale_estimate(estimate: Estimate, factor: float) -> Estimate:
    """An estimate in another unit."""
    value = None if estimate.value is None else estimate.value * factor
    return Estimate(value, estimate.lower * factor, estimate.upper * factor, estimate.level)


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
