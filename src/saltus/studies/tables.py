"""Tables of the page of results, in Markdown and CSV."""

import csv
import io
from collections.abc import Sequence

from saltus.curves import Emergence
from saltus.measure.outcomes import estimate_share
from saltus.measure.survival import estimate_survival, times_of
from saltus.studies.claims import Claim, Comparison, Table
from saltus.studies.gate import Arm, Check
from saltus.studies.results import Result, Results


def write_comparisons(rows: Sequence[Comparison]) -> str:
    """A Markdown table: theirs with its tolerance, ours, difference, seeds."""
    lines = [
        "| cell | theirs | read off within | ours, mean | ours, by seed | difference | seeds | scale | note |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        seeds = ", ".join("censored" if v is None else _number(v, row.digits) for v in row.ours)
        cells = (
            escape(row.cell),
            _number(row.theirs, row.digits),
            "" if row.theirs is None or row.tolerance is None else f"±{_number(row.tolerance, row.digits)}",
            _number(row.middle, row.digits),
            seeds,
            "" if row.difference is None else f"{row.difference:+z,.{row.digits}f}",
            str(len(row.ours)) if row.ours else "",
            row.scale or "not run",
            "; ".join(filter(None, ("fitted" if row.fitted else "", escape(row.note)))),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def write_table(table: Table) -> str:
    """A Markdown table under its title."""
    lines = [f"**{escape(table.title)}**\n", *([f"{table.note}\n"] if table.note else [])]
    lines += ["| " + " | ".join(map(escape, row)) + " |" for row in (table.columns, *table.rows)]
    lines.insert(-len(table.rows) or len(lines), "| --- " * len(table.columns) + "|")
    return "\n".join(lines) + "\n"


def write_claims(claims: Sequence[Claim]) -> str:
    """A Markdown table: claim, verdict, why."""
    lines = ["| claim | verdict | why |", "| --- | --- | --- |"]
    lines += [f"| {escape(claim.text)} | **{claim.verdict}** | {escape(claim.why)} |" for claim in claims]
    return "\n".join(lines) + "\n"


def write_gate(checks: Sequence[Check]) -> str:
    """The verdict of the gate in words, and a Markdown table: check, whether it holds, what was found."""
    failed = [check for check in checks if not check.passed]
    cells = dict.fromkeys(cell for check in failed for cell in check.cells)
    if not failed:
        verdict = f"This comparison passes the validity gate: all {len(checks)} checks hold."
    elif all(check.cells for check in failed):
        verdict = f"**This comparison fails the validity gate** for {', '.join(cells)}: its ranking says nothing there."
    else:
        verdict = "**This comparison fails the validity gate**: its ranking says nothing."
    lines = [f"{verdict}\n", "| check | holds | found |", "| --- | --- | --- |"]
    lines += [
        f"| {escape(check.name)} | {'yes' if check.passed else '**no**'} | {escape(check.why)} |" for check in checks
    ]
    return "\n".join(lines) + "\n"


def write_arms(arms: Sequence[Arm]) -> str:
    """A Markdown table with a line for each arm and cell: how many seeds solve it, with an exact interval, and when."""
    lines = [
        "| architecture | parameters | learning rate | initialisation | cell | seeds that solve it | median step "
        "| units, mean |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for arm in arms:
        for cell, result in arm.cells.items():
            line = (
                escape(arm.name),
                f"{arm.parameters[cell]:,}",
                *(f"{value:g}" for value in result.setting),
                escape(cell),
                _say_share(result.tasks),
                _say_median(result.tasks),
                f"{result.learned.mean():.1f} of {len(result.records.facts.units)}",
            )
            lines.append("| " + " | ".join(line) + " |")
    return "\n".join(lines) + "\n"


def write_emergence(results: Results) -> str:
    """A Markdown table with a line for each cell: units learned, and when, censored seeds counted as such."""
    lines = [
        "| cell | steps run | units learned, by seed | there at the end, by seed | median step of a unit "
        "| seeds with all | median step of all |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for result in results:
        line = (
            escape(result.name),
            f"{result.records.evaluated_steps[-1]:,}",
            f"{', '.join(map(str, result.learned))} of {len(result.records.facts.units)}{_say_diverged(result)}",
            ", ".join(map(str, result.there_at_end)),
            _say_median(result.units),
            _say_share(result.tasks),
            _say_median(result.tasks),
        )
        lines.append("| " + " | ".join(line) + " |")
    return "\n".join(lines) + "\n"


def write_seeds(results: Results) -> str:
    """CSV with a row for each run and seed: the keys of its cell, the loss at the end, and what was learned when.

    Censored seeds have no `first_step_with`; all that is known is `last_step_without`.
    """
    keys = list(dict.fromkeys(key for result in results for key in result.cell.key))
    columns = ["run", *keys, "scale", "seed", "steps_run", "final_train_loss"]
    columns += ["units_learned", "units_there_at_end", "units"]
    columns += ["last_step_without", "first_step_with", "lost_at", "diverged_at"]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for result in results:
        values = [result.cell.key.get(key, "") for key in keys]
        loss, learned, last = result.final_loss, result.learned, result.there_at_end
        for place, task in enumerate(result.tasks):
            row = [result.name, *values, result.scale, task.key.seed]
            row += [result.records.last_steps[int(task.key.seed)]]
            row += [repr(float(loss[place])), int(learned[place]), int(last[place]), len(result.records.facts.units)]
            row += ["" if step is None else step for step in (task.after, task.by, task.lost, task.diverged)]
            writer.writerow(row)
    return file.getvalue()


def _say_share(tasks: Sequence[Emergence]) -> str:
    """How many of the seeds have the whole task, with the exact interval of that probability."""
    share = estimate_share(sum(not task.censored for task in tasks), len(tasks))
    return f"{share.count} of {share.of}, {share.lower:.2f} to {share.upper:.2f}"


def _say_diverged(result: Result) -> str:
    gone = result.records.diverged
    return f" ({len(gone)} diverged)" if gone else ""


def _say_median(emergences: Sequence[Emergence]) -> str:
    """Kaplan and Meier's median, or that it lies beyond the budget."""
    curve = estimate_survival(*times_of(emergences))
    return f"> {curve.times[-1]:,.0f}" if curve.median is None else f"{curve.median:,.0f}"


def escape(text: str) -> str:
    """Text as it stands in a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:z,.{digits}f}"
