"""What a run found, as numbers and in a sentence: by seed and by unit."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from saltus.curves import Emergence, Emergences
from saltus.measure.bootstrap import bootstrap_emergences
from saltus.measure.groups import DRAWS
from saltus.measure.intervals import Estimate, bound_share
from saltus.measure.rises import Rises, summarise_rises
from saltus.report.curves.words import format_share, format_step, tell_limits
from saltus.report.html.labels import plural
from saltus.seeding import Streams
from saltus.train.records import RunRecords


@dataclass(frozen=True)
class SeedSummary:
    """When one seed came to what."""

    seed: int
    units: tuple[Emergence, ...]
    """[unit]"""
    task: Emergence
    """Of all units at once."""

    @property
    def emerged(self) -> list[Emergence]:
        """Of the units that emerged, whether or not they were lost again, soonest first."""
        return sorted((unit for unit in self.units if unit.by is not None), key=lambda unit: unit.by or 0)

    @property
    def learned(self) -> int:
        """How many units emerged, whether or not they were lost again."""
        return len(self.emerged)

    @property
    def lost(self) -> int:
        """How many units were lost at least once after they had emerged; they may have come back."""
        return sum(unit.lost is not None for unit in self.emerged)

    @property
    def first(self) -> Emergence | None:
        """Of the unit that emerged first; None if none did."""
        return self.emerged[0] if self.emerged else None

    @property
    def last(self) -> Emergence | None:
        """Of the unit that emerged last, whether or not all did; None if none did."""
        return self.emerged[-1] if self.emerged else None


@dataclass(frozen=True)
class RunSummary:
    """What a run found."""

    name: str
    seeds: tuple[SeedSummary, ...]
    units: tuple[str, ...]
    found: Emergences
    """Of every unit of every seed, and of the whole task."""
    noun: str
    """What a unit is called, such as `row`; `unit` where the names have no word in common."""
    end: int
    """The last evaluated step."""
    finished: bool
    diverged: Mapping[str, int]
    """By seed, the step at which it had diverged."""

    @cached_property
    def median(self) -> Estimate:
        """Step by which half of the seeds had the whole task, Turnbull's; inf if fewer did."""
        tasks = [seed.task for seed in self.seeds]
        return bootstrap_emergences(tasks, Streams(0).generator("bootstrap"), DRAWS).quantile()

    @property
    def parts(self) -> list[Emergence]:
        """Of the units of all seeds, without the whole task."""
        return [unit for seed in self.seeds for unit in seed.units]

    @property
    def solved(self) -> int:
        """Seeds that had all units at once."""
        return sum(not seed.task.censored for seed in self.seeds)

    @property
    def first_steps(self) -> list[int]:
        """Of each seed that learned anything, the first step with its first unit."""
        return [seed.first.by for seed in self.seeds if seed.first is not None and seed.first.by is not None]


def summarise(records: RunRecords) -> RunSummary:
    """What each seed learned and when."""
    found = records.curves.emergences()
    seeds: list[SeedSummary] = []
    for seed, of_seed in zip(records.seeds, found.by_seed().values(), strict=True):
        *units, task = of_seed  # the whole task comes last
        seeds.append(SeedSummary(seed, tuple(units), task))
    return RunSummary(
        name=records.spec.name,
        seeds=tuple(seeds),
        units=records.facts.units,
        found=found,
        noun=_name_units(records.facts.units),
        end=records.curves.end,
        finished=records.finished,
        diverged=records.diverged,
    )


def find_rises(records: RunRecords) -> Rises | None:
    """How abruptly the accuracy of the units rose that emerged, beside the probability of their targets."""
    sharp = records.curves_of_units("accuracy", "accuracy")
    smooth = records.curves_of_units("target_probability", "probability of the target")
    return summarise_rises(sharp, records.curves.parts.emergences(), smooth)


def find_there(records: RunRecords) -> NDArray[np.bool_]:
    """[seed, evaluation, unit] whether the unit is there at that evaluation, whatever holds later.

    A seed that has stopped stays as it was.
    """
    evaluations = len(records.evaluated_steps)
    own = [curve.there(records.rule) for curve in records.curves.parts]
    there = np.stack([np.pad(each, (0, evaluations - len(each)), mode="edge") for each in own])
    return there.reshape(len(records.seeds), -1, there.shape[-1]).transpose(0, 2, 1)


def describe_result(summary: RunSummary) -> str:
    """The result of a run in one plain sentence."""
    count, total = len(summary.seeds), len(summary.units)
    everything = f"all {total} {summary.noun}s" if total > 1 else f"the {summary.noun}"
    within = f"within {summary.end:,} steps" if summary.finished else f"in the {summary.end:,} steps run so far"
    if count == 1:
        start = f"The one seed learned {summary.seeds[0].learned} of {plural(total, summary.noun)} {within}"
    else:
        start = f"{summary.solved or 'None'} of {count} seeds learned {everything} {within}"
        if not summary.solved and summary.first_steps:
            start += f" (the best learned {max(seed.learned for seed in summary.seeds)})"
    if summary.diverged:
        told = ", ".join(f"seed {seed} at step {step:,}" for seed, step in summary.diverged.items())
        start += f"; {len(summary.diverged)} of {plural(count, 'seed')} diverged ({told})"
    firsts = summary.first_steps
    if not firsts:
        return f"{start}; no {summary.noun} emerged in any seed." if count > 1 else f"{start}."
    if count == 1:
        middle = f"the first came by step {firsts[0]:,}"
    elif min(firsts) == max(firsts):
        middle = f"the first {summary.noun} came by step {firsts[0]:,}"
    else:
        middle = f"the first {summary.noun} came by step {min(firsts):,} in the earliest seed and by step "
        middle += f"{max(firsts):,} in the latest, depending on the seed alone"
    if len(firsts) < count:
        middle += f" ({count - len(firsts)} of {count} seeds learned none)"
    losing = sum(seed.lost > 0 for seed in summary.seeds)
    tail = ""
    if losing:
        who = "it" if count == 1 else plural(losing, "seed")
        tail = f"; {who} lost at least one {summary.noun} again, if only for a while"
    return f"{start}; {middle}{tail}."


def describe_reliability(summary: RunSummary) -> str:
    """How far the result carries to other seeds: n, the share that solves, the median, what n cannot tell."""
    count = len(summary.seeds)
    if count == 1:
        return tell_limits(count)
    share, median = format_share(bound_share(summary.solved, count)), summary.median
    half = f"half do by step {format_step(median)}"
    if median.value is None or np.isinf(median.value):
        half = f"fewer than half do (the median is after step {median.lower:,.0f})"
    return (
        f"Of seeds like these {count}, {share} learn everything within {summary.end:,} steps, and {half}; brackets are "
        f"95% limits. {tell_limits(count)}"
    )


def describe_free(records: RunRecords, summary: RunSummary) -> str | None:
    """What the interventions give at the last evaluation, and what the weights do without; None if it is not known.

    Units are counted at that one evaluation, whatever held before.
    """
    if not len(records.tables.get("free", ())):
        return None
    at_end = {
        how: [records.cube(table, column)[:, -1] for column in ("loss", "progress")]  # [seed, unit]
        for how, table in (("With", "units"), ("without", "free"))
    }
    if len({loss.shape for loss, _ in at_end.values()}) > 1:  # seeds of a version before were never without
        return None
    told: list[str] = []
    for how, (loss, progress) in at_end.items():
        there = int((progress >= records.rule.level).sum())
        of = f"{progress.size:,} {summary.noun}s" + (" of all seeds" if len(summary.seeds) > 1 else "")
        told.append(f"{how} the intervention the loss is {loss.mean():.3f} nats and {there:,} of {of} are there")
    return f"{told[0]}; {told[1]}, at step {summary.end:,}."


def _name_units(names: Sequence[str]) -> str:
    words = {match[1] if (match := re.fullmatch(r"([a-z]+) \d+", name)) else "" for name in names}
    return words.pop() if len(words) == 1 and "" not in words else "unit"
