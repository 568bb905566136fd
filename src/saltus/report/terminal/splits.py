"""A variance split in a sentence and in a table."""

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from saltus.measure.intervals import Estimate
from saltus.measure.variance import Part, VarianceSplit
from saltus.report.curves.words import format_share
from saltus.report.html.labels import plural


def describe_split(split: VarianceSplit, words: Mapping[Part, str]) -> str:
    """What has how much of the variance, of how many, and what cannot be told; `words` is what a part is called."""
    largest = max(split.shares, key=lambda part: split.shares[part].value or 0.0)
    counts = [plural(split.maps, words["map"]), plural(split.seeds, words["seed"]), plural(split.rows, words["row"])]
    text = (
        f"{', '.join(counts)}, {split.events} of {split.units} emerged: the largest part of the variance of log steps "
        f"is {_name(largest, split, words)}, {format_share(split.shares[largest])}."
    )
    if split.agreement is not None:
        value, low, high = (f"{v:.2f}" for v in (split.agreement.value, split.agreement.lower, split.agreement.upper))
        text += f" Between two seeds of one {words['map']} the log steps of {words['row']}s correlate by {value} "
        text += f"[{low}, {high}]."
    if split.maps == 1:
        text += f" One {words['map']} cannot tell how much {words['map']}s differ."
    elif split.confounded:
        text += f" Each {words['map']} has one seed, so the two cannot be told apart."
    if not split.converged:
        text += f" The chains do not agree (R-hat {split.r_hat:.2f}): trust none of these intervals."
    return text


def tabulate_split(split: VarianceSplit, words: Mapping[Part, str]) -> Table:
    """A line for each part."""
    table = Table("part", "spread of log steps [95%]", "share of the variance [95%]")
    table.caption = Text(f"R-hat {split.r_hat:.2f}, 4 chains. A lower limit of 0% or 1% stands for: may be nothing.")
    for part, spread in split.spreads.items():
        table.add_row(Text(_name(part, split, words)), _say(spread), format_share(split.shares[part]))
    return table


def _name(part: Part, split: VarianceSplit, words: Mapping[Part, str]) -> str:
    """What a part stands for in this design: what the data cannot tell from it is in it."""
    if part == "seed" and split.confounded:
        return f"{words['map']} and {words['seed']}"
    if part == "rest":
        return words["rest"] if "seed" in split.spreads else f"{words['seed']}, and the rest"
    return words[part]


def _say(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} [{estimate.lower:.2f}, {estimate.upper:.2f}]"
