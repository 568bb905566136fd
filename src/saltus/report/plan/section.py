"""The page of a plan: the sentence, the figure of success against seeds, and the table of what was tried."""

from typing import Any

from plotly.graph_objects import Figure

from saltus.measure.planning import Plan, PlanRow
from saltus.report.html.blocks import Column, FigureViews, Row, Section, Table
from saltus.report.html.drawing import Trace, axis, compose, legend_above, level, scatter
from saltus.report.html.labels import say_length
from saltus.report.html.palette import LINES, STRONG
from saltus.report.terminal.plans import describe_plan


def describe_planning(plan: Plan, question: str) -> Section:
    """The section of a plan; `question` is what was asked, as in `describe_plan`."""
    budget = (plan.answer or max(plan.curve, key=lambda row: row.seeds)).budget
    alt = "Lines of the probability of success over the number of seeds, with a dashed line at the wanted one"
    text = f"At a budget of {say_length(budget)} steps. "
    text += "The ring is the cheapest design of all budgets that reaches the line."
    if plan.pilot is not None:
        text += " The solid line carries the pilot's uncertainty through; the dotted one takes the pilot for the truth."
    return Section(
        name="Plan",
        question="How many seeds does it take?",
        headline=describe_plan(plan, question),
        blocks=[
            FigureViews("power", "Success against seeds", alt, {"": (draw_power(plan), text)}),
            _tabulate(plan),
        ],
    )


def draw_power(plan: Plan) -> Figure:
    """Probability of success against seeds, at the budget of the answer."""
    tried = {row.seeds: row for row in (*plan.curve, *([] if plan.answer is None else [plan.answer]))}
    rows = [tried[seeds] for seeds in sorted(tried)]
    seeds = [row.seeds for row in rows]
    traces: list[Trace] = [scatter(seeds, [row.success for row in rows], "success", LINES[0])]
    if plan.pilot is not None:
        known = [row.success_if_known for row in rows]
        traces.append(scatter(seeds, known, "if the pilot were the truth", LINES[1], line={"dash": "dot"}))
        traces.append(_mark("as many seeds as the pilot", plan.pilot, {"size": 9, "symbol": "diamond"}))
    traces.append(level([seeds[0], seeds[-1]], plan.target, f"wanted: {plan.target:.0%}"))
    if plan.answer is not None:
        traces.append(_mark("the answer", plan.answer, {"size": 13, "symbol": "circle-open", "line": {"width": 2}}))
    name = "seeds of each arm" if plan.arms > 1 else "seeds"
    return compose(
        traces,
        height=400,
        xaxis=axis(name, type="log", tickvals=seeds, ticktext=[f"{n}" for n in seeds]),
        yaxis=axis("probability of success", range=[-0.03, 1.05], tickformat=".0%"),
        legend=legend_above(),
    )


def _mark(name: str, row: PlanRow, marker: dict[str, Any]) -> Trace:
    return scatter([row.seeds], [row.success], name, STRONG, mode="markers", marker=marker)


def _tabulate(plan: Plan) -> Table:
    """All that was tried; the answer stands out."""
    tried = (("seeds", plan.curve), ("budget", plan.budgets), ("grid of evaluations", plan.grids))
    rows = [
        Row(
            (what, row.seeds, _round(row.budget), _round(row.every), row.success, row.success_if_known),
            strong=row == plan.answer,
        )
        for what, of_kind in tried
        for row in of_kind
    ]
    columns = [Column("what_varies", style="name"), Column("seeds")]
    columns += [Column("budget"), Column("evaluated_every")]
    columns += [Column("success", digits=3), Column("success_if_known", digits=3)]
    note = "Seeds are of each arm, budgets and distances in steps; a distance of 0 is watching at all times."
    return Table("What was tried", columns, rows, note, file="plan.csv")


def _round(steps: float) -> float:
    """Whole numbers as such, which are shown without decimals."""
    return int(steps) if steps == int(steps) else steps
