"""A plan in a sentence and in a table."""

from rich.table import Table
from rich.text import Text

from saltus.measure.planning import MOST, Plan, PlanRow
from saltus.report.html.labels import say_length


def describe_plan(plan: Plan, question: str) -> str:
    """Such as `To tell a factor of 2 apart with 80% certainty: 16 seeds for each arm, 4,000 steps; ...`."""
    each = " for each arm" if plan.arms > 1 else ""
    if plan.answer is None:
        best = max(plan.curve, key=lambda row: row.success, default=None)
        told = f"; the best that was found is {best.success:.0%}" if best else ""
        return (
            f"To {question} with {plan.target:.0%} certainty no number of seeds up to {MOST:,}{each} is enough{told}."
        )
    answer = plan.answer
    text = f"To {question} with {plan.target:.0%} certainty: {_count(answer.seeds)}{each}, "
    text += f"{say_length(answer.budget)} steps"
    if plan.pilot is not None:
        text += f"; with as many as the pilot had ({plan.pilot.seeds}) it is {plan.pilot.success:.0%}"
    return f"{text}."


def tabulate_plan(plan: Plan) -> Table:
    """Success against seeds, then other budgets and other grids of evaluations."""
    table = Table("", "seeds", "budget, steps", "evaluated every", "success")
    if plan.pilot is not None:
        table.add_column("if the pilot were the truth")
    for name, rows in (("seeds", plan.curve), ("budgets", plan.budgets), ("grids", plan.grids)):
        for place, row in enumerate(rows):
            chosen = row == plan.answer
            table.add_row(
                Text(name if not place else "", style="bold"),
                *_list_cells(row, piloted=plan.pilot is not None),
                style="bold" if chosen else "",
            )
        if rows:
            table.add_section()
    return table


def _list_cells(row: PlanRow, *, piloted: bool) -> list[str]:
    grid = say_length(row.every) if row.every else "always"
    cells = [str(row.seeds), say_length(row.budget), grid, f"{row.success:.0%}"]
    return [*cells, f"{row.success_if_known:.0%}"] if piloted else cells


def _count(seeds: int) -> str:
    return "1 seed" if seeds == 1 else f"{seeds} seeds"
