"""Figures of the losses of one run, each made from its records alone."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from saltus.curves import gather_curves
from saltus.report.curves.lines import draw_lines
from saltus.report.curves.raster import find_span, tone_of
from saltus.report.html.labels import name_seed, protect, shorten
from saltus.report.html.step_scale import StepScale
from saltus.report.run.summary import RunSummary
from saltus.train.records import RunRecords

_LOSS = "loss (nats for each prediction)"


def draw_losses(records: RunRecords, summary: RunSummary, options: Sequence[int]) -> go.Figure:
    """The loss over the whole sequence, a line for each seed, between chance and floor.

    `options` are the indices of the seeds that can be chosen; the line of the chosen one is emphasised.
    """
    facts, values = records.facts, records.cube("steps", "loss")[:, :, None]
    seeds = [str(seed) for seed in records.seeds]
    lines = gather_curves(summary.name, seeds, ["loss"], records.evaluated_steps, values)
    levels = _find_levels(float(facts.chance_loss.mean()), float(facts.floor_loss.mean()))
    names, metas = [name_seed(seed) for seed in seeds], [dict[str, int]() for _ in seeds]
    for option, index in enumerate(options):
        metas[index]["seed"] = option
    return draw_lines(lines, names, StepScale(summary.end), _LOSS, levels=levels, metas=metas)


def draw_unit_losses(records: RunRecords, summary: RunSummary, index: int) -> go.Figure:
    """The loss of each unit of the seed at `index`, soonest first, in the colours that they have in the raster."""
    facts, seed = records.facts, summary.seeds[index]
    order = sorted(range(len(summary.units)), key=lambda unit: (seed.units[unit].by or np.inf, unit))
    values = records.cube("units", "loss")[[index]][:, :, order]
    units = [summary.units[unit] for unit in order]
    found = [seed.units[unit] for unit in order]
    return draw_lines(
        gather_curves(summary.name, [str(seed.seed)], units, records.evaluated_steps, values),
        [protect(shorten(unit)) for unit in units],
        StepScale(summary.end),
        _LOSS,
        found=found,
        colours=[tone_of(emergence, find_span(summary.found)) for emergence in found],
        levels=_find_levels(
            float(facts.mean_by_unit(facts.chance_loss).mean()), float(facts.mean_by_unit(facts.floor_loss).mean())
        ),
    )


def _find_levels(chance: float, floor: float) -> list[tuple[str, float]]:
    """Chance and, where it is known, the floor."""
    levels = {"chance": chance, "floor": floor}
    return [(f"{name} {value:.3f}", value) for name, value in levels.items() if not np.isnan(value)]
