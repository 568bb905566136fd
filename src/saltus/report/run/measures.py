"""What a run recorded, measure by measure: a list, every number at the end, and figures of the user's own measures."""

from collections.abc import Sequence
from math import prod

import numpy as np

from saltus.measure.alignment import best_head
from saltus.report.curves.tables import EMERGENCE_COLUMNS, show_emergence
from saltus.report.html.blocks import Column, FigureViews, Row, Table, View
from saltus.report.html.drawing import Trace, axis, colour_line, compose, thin, trace_steps
from saltus.report.html.labels import join, plural, protect, shorten
from saltus.report.html.step_scale import StepScale
from saltus.report.run.heads import chance_by_unit, heads_at_end
from saltus.report.run.summary import RunSummary
from saltus.train import measures
from saltus.train.measures import KEY, MEASURES
from saltus.train.records import RunRecords, list_axes

_MOST_PLACES = 12  # of a measure's axes, in a figure; more colours cannot be told apart


def list_columns(records: RunRecords, name: str) -> list[measures.Column]:
    """The columns of a table: those of its measure or, of a measure of the user's own, what its file says of them."""
    table = records.tables[name]
    known = {column.name: column for measure in MEASURES if measure.name == name for column in measure.columns}
    found: list[measures.Column] = []
    for field in table.schema:
        if field.name not in (*KEY, *list_axes(table)):
            notes = {
                key.decode(errors="replace"): text.decode(errors="replace")
                for key, text in (field.metadata or {}).items()
            }
            own = measures.Column(field.name, notes.get("meaning", ""), notes.get("unit_of_measure", ""))
            found.append(known.get(field.name, own))
    return found


def tabulate_measures(records: RunRecords) -> Table:
    """Every column that was recorded, with its unit of measure and its meaning."""
    rows = [
        Row((name, ", ".join(("seed", "step", *list_axes(table))), column.name, column.unit_of_measure, column.meaning))
        for name, table in records.tables.items()
        if len(table)
        for column in list_columns(records, name)
    ]
    names = [Column(name, style="name") for name in ("measure", "axes", "column", "unit")]
    return Table("What was recorded", [*names, Column("meaning", style="text")], rows, folded=True)


def tabulate_numbers(records: RunRecords, summary: RunSummary) -> Table:
    """A row for each seed and unit, and for each seed's whole task, with the measures of the last evaluation.

    A measure of the whole task is the mean over its queries, and its progress that of its curve.
    """
    columns = list_columns(records, "units")
    at_end = np.stack([records.cube("units", column.name)[:, -1] for column in columns], axis=-1)
    queries = np.bincount(records.facts.unit_of_query[records.facts.scored], minlength=len(summary.units))
    of_task = np.average(at_end, axis=1, weights=queries)  # [seed, column]
    of_task[:, [column.name == records.curves.measure for column in columns]] = [
        [curve.values[-1]] for curve in records.curves.wholes
    ]
    head, mass = best_head(heads_at_end(records, "truth_mass"))
    _, overlap = best_head(heads_at_end(records, "overlap"))
    chance, heads = chance_by_unit(records), records.spec.model.attention_heads
    rows: list[Row] = []
    for s, seed in enumerate(summary.seeds):
        whole = (seed.seed, seed.task.key.unit, *show_emergence(seed.task), *of_task[s].tolist(), *[None] * 4)
        rows.append(Row(whole, strong=True))
        for u, unit in enumerate(summary.units):
            best = "" if head[s, u] < 0 else f"{head[s, u] // heads}.{head[s, u] % heads}"
            measured = (*at_end[s, u].tolist(), best, float(mass[s, u]), float(overlap[s, u]), float(chance[u]))
            rows.append(Row((seed.seed, unit, *show_emergence(seed.units[u]), *measured)))
    shown = [Column(column.name, _label(column), digits=4 if column.unit_of_measure else 3) for column in columns]
    of_heads = (Column("head"), Column("truth_mass"), Column("overlap"), Column("chance_overlap", "chance"))
    return Table(
        "Every number",
        [Column("seed"), Column("unit", style="name"), *EMERGENCE_COLUMNS, *shown, *of_heads],
        rows,
        note=f"Emergence, {records.rule.describe(records.curves.measure)}, is between the last step without and the "
        f"first step with; losses and measures are those of step {summary.end:,}. The head is layer.head, from 0.",
        file=f"{summary.name}.csv",
    )


def draw_measures(records: RunRecords, seeds: Sequence[int]) -> list[FigureViews]:
    """A figure for each column of the user's own measures, with a view for each of the seeds with these indices."""
    own = [name for name, table in records.tables.items() if len(table) and name not in {m.name for m in MEASURES}]
    return [
        FigureViews(
            f"{name}-{column.name}",
            f"{name}: {_label(column)}",
            f"Lines of {column.name} over training steps, one for each place on its axes",
            {f"{option}": _draw_measure(records, name, column, index) for option, index in enumerate(seeds)},
            by=("seed",),
        )
        for name in own
        for column in list_columns(records, name)
    ]


def _draw_measure(records: RunRecords, name: str, column: measures.Column, index: int) -> View:
    """The seed at `index`, and dotted the mean over seeds, at each place on the axes."""
    table, values = records.tables[name], records.cube(name, column.name)
    axes, shape, steps = list_axes(table), values.shape[2:], records.evaluated_steps
    values = values.reshape(*values.shape[:2], -1)  # [seed, evaluation, place]
    shown = thin(prod(shape), _MOST_PLACES)
    scale, seed = StepScale(records.curves.end), records.seeds[index]
    traces: list[Trace] = []
    for number, place in enumerate(shown):
        at = np.unravel_index(place, shape) if axes else ()
        named = [_name_place(records, of, size, int(i)) for of, size, i in zip(axes, shape, at, strict=True)]
        title, (colour, dash) = protect(", ".join(named)), colour_line(number, len(shown))
        of_seed, of_mean = (title, f"{title}: mean") if axes else (f"seed {seed}", "mean")
        traces.append(trace_steps(steps, values[index, :, place], of_seed, colour, scale, line={"dash": dash}))
        if len(values) > 1:
            mean = trace_steps(steps, values[:, :, place].mean(axis=0), of_mean, colour, scale, opacity=0.6)
            traces.append(mean | {"line": mean["line"] | {"width": 1.2, "dash": "dot"}, "showlegend": not axes})
    meaning = column.meaning or column.name
    text = f"{meaning[:1].upper()}{meaning[1:]}, in seed {seed}"
    text += f"; dotted is the mean over {plural(len(values), 'seed')}." if len(values) > 1 else "."
    if len(shown) < prod(shape):
        text += f" {len(shown)} of {prod(shape)} places on the axes {join(axes)} are drawn, spread evenly."
    return compose(traces, height=380, xaxis=scale.axis, yaxis=axis(_label(column))), text


def _name_place(records: RunRecords, axis: str, size: int, index: int) -> str:
    units = records.facts.units
    return shorten(units[index]) if axis == "unit" and size == len(units) else f"{axis} {index}"


def _label(column: measures.Column) -> str:
    name = column.name.replace("_", " ")
    return f"{name} ({column.unit_of_measure})" if column.unit_of_measure else name
