"""May two architectures be compared? Checks that a comparison has to pass before its ranking means anything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from saltus.measure.outcomes import median_step
from saltus.studies.results import Result
from saltus.studies.tried import S, Setting, Tried

MATCHED = 0.1
"""Largest spread of parameters over arms that counts as matched, as a share of the smallest."""

NOISE = 0.01
"""Nats below chance at which an arm on targets of pure noise has seen what it must not see."""


@dataclass(frozen=True)
class Arm:
    """One architecture of a comparison, everything in it trained as in the others but for rate and initialisation."""

    name: str
    parameters: Mapping[str, int]
    """By cell, numbers that are trained in one seed."""
    cells: Mapping[str, Result]
    """By difficulty, the easiest first: the reported runs."""
    noise: Result | None
    """A run on targets of pure noise."""
    sweeps: Mapping[str, Mapping[Setting, Result]]
    """By cell, and by setting: the runs that decided its own, on other seeds and maps than the reported ones."""
    future: float | None
    """The largest influence of a token on a prediction before it, after training; None if not measured."""


@dataclass(frozen=True)
class Check:
    """One condition, and whether it holds."""

    name: str
    passed: bool
    why: str
    cells: tuple[str, ...] = ()
    """The cells for which it fails; a check that fails and names none fails for all cells."""

    def concerns(self, cell: str | None) -> bool:
        """Whether this check fails for a cell; None stands for all cells together."""
        return not self.passed and (not self.cells or cell is None or cell in self.cells)


def choose_steady(sweep: Mapping[Setting, Result]) -> Setting:
    """The setting with the most units learned over seeds, among those that no race has dropped.

    Of equal ones that whose worse neighbour in the rates learned most, because the fastest rate is often the last
    before training becomes unstable, so one at the edge of the sweep only where no other learned as much; then that by
    which half of all units came soonest; and where that says nothing, that with the lowest loss.
    """
    settings = sorted(sweep)
    scores = {setting: score_learning(sweep[setting]) for setting in settings}

    def rank(setting: Setting) -> tuple[int, float, float, float, float]:
        count, soonest = scores[setting]
        alike = [other for other in settings if other[1] == setting[1]]
        units = [-1.0, *(scores[other][0] for other in alike), -1.0]  # beyond its edge nothing is known
        place = alike.index(setting)
        loss = float(sweep[setting].records.cube("steps", "scored_loss")[:, -1].mean())
        return len(sweep[setting].tasks), count, min(units[place], units[place + 2]), soonest, -loss

    return max(settings, key=rank)


def score_learning(result: Tried[S]) -> tuple[float, float]:
    """What is larger is better: units learned, in the mean over seeds, and less the step by which half were there."""
    half = median_step(result.units)
    return float(result.learned.mean()), -inf if half is None else -float(half)


def check_comparison(arms: Sequence[Arm]) -> list[Check]:
    """Every check, in the order of a reader's questions."""
    return [
        _check_noise(arms),
        _check_future(arms),
        _check_size(arms),
        _check_tokens(arms),
        _check_sweeps(arms),
        _check_budget(arms),
        _check_difficulty(arms),
    ]


def _check_noise(arms: Sequence[Arm]) -> Check:
    gains = {arm.name: gain for arm in arms if arm.noise and (gain := _measure_gain(arm.noise)) is not None}
    missing = [arm.name for arm in arms if arm.name not in gains]
    why = ", ".join(f"{name} {gain:+.4f}" for name, gain in gains.items()) or "no arm was run"
    return Check(
        "targets of pure noise stay at chance",
        not missing and all(gain <= NOISE for gain in gains.values()),
        f"nats below chance: {why}" + (f"; not run, or without a finite loss: {', '.join(missing)}" if missing else ""),
    )


def _measure_gain(noise: Result) -> float | None:
    """Nats by which the best seed is below chance over the scored predictions at the end; None if all diverged."""
    facts = noise.records.facts
    chance = float(facts.chance_loss[facts.scored].mean())
    losses = noise.records.cube("steps", "scored_loss")[:, -1]
    finite = losses[np.isfinite(losses)]
    return chance - float(finite.min()) if finite.size else None


def _check_future(arms: Sequence[Arm]) -> Check:
    right = all(arm.future is not None and arm.future <= 0.0 for arm in arms)  # what is no number is not right
    values = ", ".join(f"{arm.name} {'not measured' if arm.future is None else f'{arm.future:.1e}'}" for arm in arms)
    return Check("no token moves a prediction before it", right, f"largest influence: {values}")


def _check_size(arms: Sequence[Arm]) -> Check:
    spreads: dict[str, float] = {}
    for cell in dict.fromkeys(cell for arm in arms for cell in arm.parameters):
        sizes = [arm.parameters[cell] for arm in arms if cell in arm.parameters]
        spreads[cell] = max(sizes) / min(sizes) - 1.0
    wrong = tuple(cell for cell, spread in spreads.items() if spread > MATCHED)
    return Check(
        f"parameters are matched within {MATCHED:.0%}",
        not wrong,
        "the largest has more than the smallest by "
        + ", ".join(f"{spread:.1%} ({cell})" for cell, spread in spreads.items()),
        wrong,
    )


def _check_tokens(arms: Sequence[Arm]) -> Check:
    """Each cell by its budget, whether or not a run ended before it."""
    seen = {
        cell: {arm.cells[cell].cell.run.batch * arm.cells[cell].budget for arm in arms if cell in arm.cells}
        for cell in arms[0].cells
    }
    wrong = [cell for cell, budgets in seen.items() if len(budgets) > 1] + [
        cell for arm in arms for cell in arms[0].cells.keys() ^ arm.cells.keys()
    ]
    return Check("tokens are matched", not wrong, f"cells that differ: {', '.join(wrong) or 'none'}", tuple(wrong))


def _check_sweeps(arms: Sequence[Arm]) -> Check:
    """Each arm has its own best setting, from three rates or more, on other seeds, and not at the edge of the rates."""
    problems: dict[str, str] = {}
    """What is wrong, and the cell that it is wrong for."""
    for arm in arms:
        for cell, reported in arm.cells.items():
            sweep, used, name = arm.sweeps[cell], reported.setting, f"{arm.name} ({cell})"
            rates = sorted({rate for rate, _ in sweep})
            if sweep and not any(score_learning(result)[0] for result in sweep.values()):
                problems[f"{name} learned nothing at any rate"] = cell
            if len(rates) < 3:
                problems[f"{name} was swept over {len(rates)} rates"] = cell
            elif used != (best := choose_steady(sweep)):
                problems[f"{name} is reported at {_say(used, sweep)}, its best is {_say(best, sweep)}"] = cell
            elif best[0] in (rates[0], rates[-1]):
                problems[f"{name} is best at the edge of its sweep, {_say(best, sweep)}"] = cell
            if reported.cell.run.master_seed in {swept.cell.run.master_seed for swept in sweep.values()}:
                problems[f"{name} was swept on the master seed that is reported"] = cell
    steps = {swept.budget for arm in arms for sweep in arm.sweeps.values() for swept in sweep.values()}
    return Check(
        "each arm has its own best learning rate",
        not problems,
        "; ".join(problems) or f"all swept apart, for {' or '.join(f'{n:,}' for n in sorted(steps))} steps",
        tuple(dict.fromkeys(problems.values())),
    )


def _say(setting: Setting, sweep: Mapping[Setting, Result]) -> str:
    """A rate, and the initialisation where several were tried."""
    rate, scale = setting
    return f"{rate:g}" + (f" and an initialisation of {scale:g}" if len({other for _, other in sweep}) > 1 else "")


def _check_budget(arms: Sequence[Arm]) -> Check:
    unsolved = [
        cell
        for cell in arms[0].cells
        if not any(not task.censored for arm in arms if cell in arm.cells for task in arm.cells[cell].tasks)
    ]
    return Check(
        "in each cell at least one arm solves the task within the budget",
        not unsolved,
        f"cells that nobody solves: {', '.join(unsolved) or 'none'}",
        tuple(unsolved),
    )


def _check_difficulty(arms: Sequence[Arm]) -> Check:
    """An arm that solves easy and hard cells in the same time does not search: it has seen the answer.

    Where no arm has a median step in two cells nothing is told, and what was not shown does not hold.
    """
    flat: list[str] = []
    told: list[str] = []
    compared = False
    for arm in arms:
        medians = {cell: median_step(result.tasks) for cell, result in arm.cells.items()}
        solved = {cell: step for cell, step in medians.items() if step is not None}
        told.append(f"{arm.name} " + (", ".join(f"{cell}: {step:,.0f}" for cell, step in solved.items()) or "none"))
        if len(solved) > 1:
            compared = True
            if np.ptp(list(solved.values())) <= 0.1 * min(solved.values()):
                flat.append(arm.name)
    found = f"no difference in {', '.join(flat)}; " if flat else ""
    return Check(
        "emergence varies with difficulty",
        compared and not flat,
        (found if compared else "not told, as no arm has a median step in two cells; ")
        + f"median step of the whole task, where half of the seeds had it: {'; '.join(told)}",
    )
