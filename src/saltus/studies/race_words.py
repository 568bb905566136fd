"""What is said of a race: a sentence on how far it has come, and its section of the page of results."""

from math import exp

import numpy as np

from saltus.curves import Emergences
from saltus.measure.outcomes import median_step
from saltus.measure.race import Drop, History, find_cut, measure_outcomes
from saltus.specs import RunSpec
from saltus.studies.race import Find, Heat


def describe_race(heat: Heat, history: History) -> str:
    """Such as `the race: round 3, 5 of 12 cells left, heads-4 leads; 8 seeds of each to step 500 next`."""
    left = len(heat.cells) - len(history.drops)
    place = f"{heat.name}: {len(history.rounds)} rounds, {left} of {len(heat.cells)} cells left"
    leads = f", {history.leader} leads" if history.leader else ""
    if history.ended:
        return f"{place}{leads}; {history.ended}"
    order = history.waiting[0]
    return f"{place}{leads}; next {order.seeds} seeds of each, watched to step {order.until:,.0f}"


def describe_standings(heat: Heat, history: History) -> dict[str, str]:
    """Where each cell stands, by name, such as `leads`, `left`, or `dropped in round 2: 1.5 times as slow, ...`."""
    reached = {order.arm for order in history.reached}
    standings = {cell.name: "left" if cell.name in reached else "not begun" for cell in heat.cells}
    if history.leader:
        standings[history.leader] = "the best" if history.ended == "the best is known" else "leads"
    for number, each in enumerate(history.rounds, 1):
        standings |= {drop.arm: f"dropped in round {number}: {_say_excess(drop, heat)}" for drop in each.drops}
    return standings


def write_race(heat: Heat, find: Find) -> str:
    """Markdown: how it ended, what was dropped when and why, what it cost, and whether the full grid agrees."""
    history = heat.follow(find)
    rules = heat.race.rules(heat.cells[0].run.seeds, 1.0)
    margin = f"a ratio of {rules.margin:g}" if rules.by == "median step" else f"{rules.margin:g} of the seeds"
    text = [
        f"**{heat.name[0].upper()}{heat.name[1:]} by {rules.by}**: {_say_end(history)}. A cell that is the best by "
        f"{margin} is dropped with a probability of at most {rules.error:g}, over all rounds"
        f"{', where the spread of log steps is the same in all cells' if rules.by == 'median step' else ''}.\n",
        "| round | cells | seeds of each | watched to step | leader | dropped |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for number, each in enumerate(history.rounds, 1):
        order = each.orders[0]
        dropped = "; ".join(f"{drop.arm} ({_say_excess(drop, heat)})" for drop in each.drops) or (
            "none" if each.leader else "not compared"
        )
        cells = (number, len(each.orders), order.seeds, f"{order.until:,.0f}", each.leader or "", dropped)
        text.append("| " + " | ".join(map(str, cells)) + " |")
    spent = sum(_count_steps(cell.run, find) or 0 for cell in heat.reach(history.reached).values())
    return "\n".join([*text, f"\n{_say_cost(heat, history, find, spent)}\n"])


def _say_end(history: History) -> str:
    if history.ended is None:
        return f"it has not ended; {history.leader} leads" if history.leader else "it has not ended"
    if history.ended == "the best is known":
        return f"the best is known, {history.leader}"
    if history.leader is None:
        return "the seeds are spent, and none has solved"
    return f"the seeds are spent before the best is known, and {history.leader} leads"


def _say_excess(drop: Drop, heat: Heat) -> str:
    if heat.race.by == "solve share":
        return f"{drop.excess:+.2f} of the seeds unsolved, limit {drop.limit:.2f}"
    return f"{exp(drop.excess):.2f} times as slow, limit {exp(drop.limit):.2f}"


def _count_steps(spec: RunSpec, find: Find) -> int | None:
    """Steps of all seeds together; None if it was not trained."""
    records = find(spec)
    return None if records is None else sum(records.last_steps.values())


def _say_cost(heat: Heat, history: History, find: Find, spent: int) -> str:
    """Seed-steps, beside those of the full grid and its best cell where that was trained too."""
    costs = [_count_steps(cell.run, find) for cell in heat.cells]
    grid = [cost for cost in costs if cost is not None]
    if len(grid) < len(costs):
        whole = sum(cell.run.seeds * cell.run.training.steps for cell in heat.cells)
        return (
            f"It took {spent:,} seed-steps; all seeds of all cells have up to {whole:,}. The full grid was not trained."
        )
    best, scores = _pick(heat, find)
    agrees = "which agrees" if best == history.leader else "**which does not agree**"
    told = ", ".join(f"{name} {score}" for name, score in scores.items())
    end = (
        "In it no seed has solved either."
        if best is None
        else f"The best of the full grid is {best}, {agrees}. Its cells, the best first: {told}."
    )
    return (
        f"It took {spent:,} seed-steps, {spent / sum(grid):.0%} of the {sum(grid):,} of the full grid "
        f"({heat.cells[0].run.seeds} seeds of each of {len(heat.cells)} cells to the budget), which was trained too. "
        f"{end}"
    )


def _pick(heat: Heat, find: Find) -> tuple[str | None, dict[str, str]]:
    """The best cell of the full grid by the race's own measure, None if no seed has solved, and what is said of each
    cell, the best first.
    """
    every = {cell.name: _find_tasks(cell.run, find) for cell in heat.cells}
    ends = {name: tasks.intervals() for name, tasks in every.items()}
    cut = find_cut(list(ends.values()), heat.budget) if heat.race.by == "median step" else None
    level = heat.budget if cut is None else cut
    means: dict[str, float] = {}
    told: dict[str, str] = {}
    for name, (left, right) in ends.items():
        means[name] = float(measure_outcomes(left, right, level, heat.race.by).mean())
        median = median_step(every[name])
        solved = f"{np.isfinite(right).sum()} of {len(right)}"
        told[name] = f"({solved}, median {'beyond the budget' if median is None else f'{median:,.0f}'})"
    order = sorted(means, key=lambda name: means[name])
    solved = any(not task.censored for tasks in every.values() for task in tasks)
    return order[0] if solved else None, {name: told[name] for name in order}


def _find_tasks(spec: RunSpec, find: Find) -> Emergences:
    """When each seed of a run that was trained had the whole task."""
    records = find(spec)
    assert records is not None
    return records.curves.wholes.emergences()
