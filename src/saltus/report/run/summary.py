"""What a run found, as numbers: by seed, by unit, and as a table for the terminal."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table
from rich.text import Text

from saltus.measure.alignment import best_head, chance_overlap
from saltus.measure.emergence import Emergence, find_all, find_task_emergence
from saltus.measure.survival import estimate_survival, times_of
from saltus.tasks.base import TaskFacts
from saltus.train.records import RunRecords

_BLOCKS = " ▁▂▃▄▅▆▇█"
_BAR_WIDTH = 14


@dataclass(frozen=True)
class SeedSummary:
    """One seed at the end of what was recorded."""

    seed: int
    units: tuple[Emergence, ...]
    """[unit]"""
    task: Emergence
    """Of all units at once."""
    first: Emergence | None
    """Of the unit that emerged first; None if none did."""
    last: Emergence | None
    """Of the unit that emerged last, whether or not all did; None if none did."""
    learned: int
    """Units that emerged, whether or not they were lost again."""
    lost: int
    """Units that were lost at least once after they had emerged; they may have come back."""
    loss: float
    """At the last evaluation, in nats for each prediction of the whole sequence."""
    scored_loss: float
    """At the last evaluation, in nats for each scored prediction."""
    accuracy: float
    """At the last evaluation, over the scored predictions."""


@dataclass(frozen=True)
class UnitSummary:
    """One unit over all seeds."""

    name: str
    emerged: int
    """Seeds in which it emerged."""
    median: float | None
    """Kaplan-Meier median over seeds, in steps; None if more than half were without it to the end."""
    chance: float
    """Expected overlap of heads that look at random; see `chance_by_unit`."""


@dataclass(frozen=True)
class RunSummary:
    """What a run found."""

    name: str
    seeds: tuple[SeedSummary, ...]
    units: tuple[UnitSummary, ...]
    noun: str
    """What a unit is called, such as `row`; `unit` where the names have no word in common."""
    end: int
    """The last evaluated step."""
    finished: bool
    median: float | None
    """Kaplan-Meier median of the whole task over seeds, in steps; None if more than half never had it."""

    @property
    def solved(self) -> int:
        """Seeds that had all units at once."""
        return sum(not seed.task.censored for seed in self.seeds)

    @property
    def first_steps(self) -> list[int]:
        """Of each seed that learned anything, the first step with its first unit."""
        return [seed.first.by for seed in self.seeds if seed.first is not None and seed.first.by is not None]


@dataclass(frozen=True)
class UnitNumbers:
    """Every number about one unit of one seed; the measures are those of the last evaluation."""

    seed: int
    unit: str
    emergence: Emergence
    loss: float
    accuracy: float
    head: str
    """The head with the most attention on the true keys, as `layer.head`; empty if there is none."""
    mass: float
    """That head's attention on the true keys, from 0 to 1."""
    overlap: float
    """Of the head with the largest overlap, which may be another one, from 0 to 1."""
    chance: float
    """See `chance_by_unit`."""


def summarise(records: RunRecords) -> RunSummary:
    """What each seed learned and when, and how many seeds learned each unit."""
    steps, progress = records.evaluated_steps, records.cube("units", "progress")
    found = find_all(steps, progress, records.spec.emergence)
    tasks = find_task_emergence(steps, progress, records.spec.emergence)
    loss, scored, accuracy = (records.cube("steps", name)[:, -1] for name in ("loss", "scored_loss", "accuracy"))
    seeds: list[SeedSummary] = []
    for index, (seed, units, task) in enumerate(zip(list_seeds(records), found, tasks, strict=True)):
        emerged = sorted((unit for unit in units if unit.by is not None), key=lambda unit: unit.by or 0)
        seeds.append(
            SeedSummary(
                seed=seed,
                units=tuple(units),
                task=task,
                first=emerged[0] if emerged else None,
                last=emerged[-1] if emerged else None,
                learned=len(emerged),
                lost=sum(unit.lost is not None for unit in emerged),
                loss=float(loss[index]),
                scored_loss=float(scored[index]),
                accuracy=float(accuracy[index]),
            )
        )
    chance = chance_by_unit(records)
    units = tuple(
        UnitSummary(
            name=name,
            emerged=sum(not seed[index].censored for seed in found),
            median=_median([seed[index] for seed in found]),
            chance=float(chance[index]),
        )
        for index, name in enumerate(records.facts.units)
    )
    return RunSummary(
        name=records.spec.name,
        seeds=tuple(seeds),
        units=units,
        noun=_name_units(records.facts.units),
        end=int(steps[-1]),
        finished=records.finished,
        median=_median(tasks),
    )


def list_seeds(records: RunRecords) -> list[int]:
    """The seeds of a run, in the order of the axis of `RunRecords.cube`."""
    return [int(seed) for seed in np.unique(records.steps["seed"].to_numpy())]


def list_numbers(records: RunRecords, summary: RunSummary) -> list[UnitNumbers]:
    """One row for each seed and unit."""
    loss, accuracy = (records.cube("units", name)[:, -1] for name in ("loss", "accuracy"))  # [seed, unit]
    head, mass = best_head(heads_at_end(records, "truth_mass"))
    _, overlap = best_head(heads_at_end(records, "overlap"))
    heads = records.spec.model.attention_heads
    return [
        UnitNumbers(
            seed=seed.seed,
            unit=unit.name,
            emergence=seed.units[u],
            loss=float(loss[s, u]),
            accuracy=float(accuracy[s, u]),
            head="" if head[s, u] < 0 else f"{head[s, u] // heads}.{head[s, u] % heads}",
            mass=float(mass[s, u]),
            overlap=float(overlap[s, u]),
            chance=unit.chance,
        )
        for s, seed in enumerate(summary.seeds)
        for u, unit in enumerate(summary.units)
    ]


def heads_at_end(records: RunRecords, column: str) -> NDArray[np.float64]:
    """A column of `heads` at the last evaluation, heads of all layers on one axis: [seed, head, unit].

    One head of NaN where attention was not measured.
    """
    if not records.measured_attention:
        return np.full((records.spec.seeds, 1, len(records.facts.units)), np.nan)
    values = records.cube("heads", column)[:, -1]
    return values.reshape(len(values), -1, values.shape[-1])


def chance_by_unit(records: RunRecords) -> NDArray[np.float64]:
    """[unit] overlap with the truth that the luckiest of the model's heads would have if heads looked at random.

    The mean of `chance_overlap` over the unit's queries. Where a unit has several queries this is above the true chance
    level, since no single head is the luckiest at each of them: the comparison is a strict one. NaN where no query of
    the unit has a true key, and where attention was not measured.

    Where the truth varies from sequence to sequence the overlap is a mean over sequences, in which luck averages out.
    The level is then that of a head that looks at a candidate key whatever the content is, s of so many candidates.
    """
    if not records.measured_attention:
        return np.full(len(records.facts.units), np.nan)
    return _chance_by_unit(records.facts, records.spec.model.layers * records.spec.model.attention_heads)


def describe_result(summary: RunSummary) -> str:
    """The result of a run in one plain sentence."""
    count, total = len(summary.seeds), len(summary.units)
    everything = f"all {total} {summary.noun}s" if total > 1 else f"the {summary.noun}"
    within = f"within {summary.end:,} steps" if summary.finished else f"in the {summary.end:,} steps run so far"
    if count == 1:
        start = f"The one seed learned {summary.seeds[0].learned} of {total} {summary.noun}s {within}"
    else:
        start = f"{summary.solved or 'None'} of {count} seeds learned {everything} {within}"
        if not summary.solved and summary.first_steps:
            start += f" (the best learned {max(seed.learned for seed in summary.seeds)})"
    firsts = summary.first_steps
    if not firsts:
        return f"{start}; no {summary.noun} emerged in any seed." if count > 1 else f"{start}."
    if count == 1:
        middle = f"the first came by step {firsts[0]:,}"
    elif min(firsts) == max(firsts):
        middle = f"the first {summary.noun} came by step {firsts[0]:,}"
    else:
        middle = f"the first {summary.noun} came between step {min(firsts):,} and {max(firsts):,}, "
        middle += "depending on the seed alone"
    if len(firsts) < count:
        middle += f" ({count - len(firsts)} of {count} seeds learned none)"
    losing = sum(seed.lost > 0 for seed in summary.seeds)
    tail = ""
    if losing:
        who = "it" if count == 1 else f"{losing} seed{'s' if losing > 1 else ''}"
        tail = f"; {who} lost at least one {summary.noun} again, if only for a while"
    return f"{start}; {middle}{tail}."


def emergence_table(records: RunRecords) -> Table:
    """One line for each seed, for a terminal of 80 columns: first and last unit, the whole task, units over time."""
    summary = summarise(records)
    total, noun = len(summary.units), summary.noun
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
        title=Text(describe_result(summary)),
        title_justify="left",
        title_style="bold",
        caption=Text(f"Intervals are (last step without, first step with]. The bar is the share of {noun}s over time."),
        caption_justify="left",
    )
    table.add_column("seed", justify="right")
    table.add_column(Text(f"first {noun}"), justify="right", no_wrap=True)
    table.add_column(Text(f"last {noun}"), justify="right")
    table.add_column(Text(f"all {total} {noun}s"))
    table.add_column(Text(f"0 to {summary.end}"), no_wrap=True, min_width=_BAR_WIDTH)
    bars = _draw_bars(records)
    for seed, bar in zip(summary.seeds, bars, strict=True):
        table.add_row(
            str(seed.seed),
            "-" if seed.first is None else format_interval(seed.first),
            "-" if seed.last is None else format_interval(seed.last),
            _describe_task(seed, total, noun),
            Text(bar, style="green" if not seed.task.censored else "yellow"),
        )
    return table


def format_interval(emergence: Emergence) -> str:
    """An emergence as `(1180, 1200]`, or `> 2000` where it is censored."""
    if emergence.by is None:
        return f"> {max(emergence.after, 0)}"
    return f"({emergence.after}, {emergence.by}]" if emergence.after >= 0 else f"at {emergence.by}"


def _describe_task(seed: SeedSummary, total: int, noun: str) -> Text:
    text = Text(format_interval(seed.task), style="green" if not seed.task.censored else "")
    if seed.task.censored:
        text.append(f" ({seed.learned} of {total} {noun}s)", style="dim")
    return text


def _draw_bars(records: RunRecords) -> list[str]:
    """[seed] the share of units that are there, at steps spread evenly over training, as block characters."""
    there = records.cube("units", "progress") >= records.spec.emergence.threshold  # [seed, evaluation, unit]
    steps = records.evaluated_steps
    at = np.searchsorted(steps, np.linspace(0, steps[-1], _BAR_WIDTH + 1)[1:], side="right") - 1
    share = there[:, at].mean(axis=2)
    level = np.ceil(share * (len(_BLOCKS) - 1)).astype(int)
    level -= (level == len(_BLOCKS) - 1) & (share < 1.0)  # the full block is for all units alone
    return ["".join(_BLOCKS[value] for value in row) for row in level]


def _median(emergences: Sequence[Emergence]) -> float | None:
    return estimate_survival(*times_of(emergences)).median


def _name_units(names: Sequence[str]) -> str:
    words = {match[1] if (match := re.fullmatch(r"([a-z]+) \d+", name)) else "" for name in names}
    return words.pop() if len(words) == 1 and "" not in words else "unit"


def _chance_by_unit(facts: TaskFacts, heads: int) -> NDArray[np.float64]:
    needed, candidates = facts.needed, facts.candidates.sum(axis=1)

    @cache
    def chance(visible: int, sparsity: int) -> float:
        return chance_overlap(visible, sparsity, heads)

    result = np.full(len(facts.units), np.nan)
    if facts.varies:
        share = needed / np.maximum(1, candidates)
        for unit in range(len(facts.units)):
            result[unit] = share[facts.unit_of_query == unit].mean()
        return result
    for unit in range(len(facts.units)):
        queries = np.flatnonzero((facts.unit_of_query == unit) & (needed > 0))
        if len(queries):
            result[unit] = np.mean([chance(int(query) + 1, int(needed[query])) for query in queries])
    return result
