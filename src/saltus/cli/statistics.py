"""Commands that ask questions of curves: compare, fit, split, plan and pool."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import saltus
from saltus.arguments import DEFAULT_ROOT, Arms
from saltus.cli.folders import Hold, Threshold
from saltus.cli.options import Out, OwnCode, print_path
from saltus.errors import SaltusError

Names = Annotated[list[str], typer.Argument(help="Folders, or the beginnings of names of some in --out.")]
Unit = Annotated[
    str | None, typer.Option(help="What emerges, such as 'row 3' or a capability; the whole task if not given.")
]


def compare(
    names: Names,
    by: Annotated[
        Arms | None, typer.Option(help="What an arm is; of several folders each, of a single one each group.")
    ] = None,
    unit: Unit = None,
    paired: Annotated[bool, typer.Option("--paired", help="Seeds of the same name are the same seed.")] = False,
    threshold: Threshold = None,
    hold: Hold = None,
    out: Out = DEFAULT_ROOT,
) -> None:
    """Compare when it emerged: each folder is an arm, or each group, such as the size in a scan."""
    folders = [saltus.api.find(name, out) for name in names]
    saltus.api.compare(*folders, by=by, unit=unit, paired=paired, threshold=threshold, hold=hold, console=Console())


def fit(
    names: Names, unit: Unit = None, threshold: Threshold = None, hold: Hold = None, out: Out = DEFAULT_ROOT
) -> None:
    """Fit the step against the size that the names of groups say, such as 160m: a slope with its interval."""
    folders = [saltus.api.find(name, out) for name in names]
    saltus.api.fit(*folders, unit=unit, threshold=threshold, hold=hold, console=Console())


def split(
    names: Names,
    unit: Annotated[str | None, typer.Option(help="One unit alone, such as 'row 3' or 'whole task'.")] = None,
    threshold: Threshold = None,
    hold: Hold = None,
    out: Out = DEFAULT_ROOT,
) -> None:
    """Split the variance of emergence steps: how much is the map, the seed and the row, with intervals."""
    folders = [saltus.api.find(name, out) for name in names]
    saltus.api.split(*folders, unit=unit, threshold=threshold, hold=hold, console=Console())


def plan(
    name: Annotated[str | None, typer.Argument(help="The folder of a pilot, or the beginning of its name.")] = None,
    ratio: Annotated[float | None, typer.Option(help="Tell two arms apart whose medians have this ratio.")] = None,
    width: Annotated[
        float | None, typer.Option(help="Bound the share of seeds that solve to so wide an interval.")
    ] = None,
    factor: Annotated[float | None, typer.Option(help="Place the median step within this factor.")] = None,
    see: Annotated[bool, typer.Option("--see", help="See the capability at least once.")] = False,
    median: Annotated[float | None, typer.Option(help="Without a pilot: the median step that is guessed.")] = None,
    spread: Annotated[
        float | None, typer.Option(help="Without a pilot: standard deviation of natural log steps; 0.45 if not given.")
    ] = None,
    share: Annotated[
        float | None, typer.Option(help="Without a pilot: share of seeds that ever solve; 1 if not given.")
    ] = None,
    every: Annotated[float | None, typer.Option(help="Steps between evaluations.")] = None,
    power: Annotated[float | None, typer.Option(help="Wanted probability of success.")] = None,
    budget: Annotated[list[float] | None, typer.Option(help="A budget in steps; may be given again.")] = None,
    unit: Unit = None,
    group: Annotated[str | None, typer.Option(help="The group of the pilot, where it has several.")] = None,
    to: Annotated[Path | None, typer.Option(help="An HTML file to write, with a figure of success by seeds.")] = None,
    out: Out = DEFAULT_ROOT,
) -> None:
    """Say how many seeds and steps the next study needs, from a pilot or a guess."""
    guessed = [word for word, value in (("spread", spread), ("share", share)) if value is not None]
    if guessed and median is None:
        raise SaltusError(
            f"plan: {guessed[0]} was given without median; a pilot has its own, so leave it out, or give a median in "
            "place of the pilot"
        )
    saltus.api.plan(
        saltus.api.find(name, out) if name else None,
        ratio=ratio,
        width=width,
        factor=factor,
        see=see,
        guess=None if median is None else (median, 0.45 if spread is None else spread, 1.0 if share is None else share),
        every=every,
        power=power,
        budgets=tuple(budget or ()),
        unit=unit,
        group=group,
        to=to,
        console=Console(),
    )
    if to is not None:
        print_path(Console(), "plan", to.resolve())


def pool(
    name: Annotated[str, typer.Argument(help="A folder, or the beginning of the name of one in --out.")],
    seeds: Annotated[list[int] | None, typer.Option(help="K, seeds to pool; may be given again.")] = None,
    threshold: Threshold = None,
    hold: Hold = None,
    own_code: OwnCode = False,
    out: Out = DEFAULT_ROOT,
) -> None:
    """Say what share of the units K finished seeds cover together, and what the mean of their logits knows."""
    saltus.api.pool(
        saltus.api.find(name, out),
        sizes=tuple(seeds or ()),
        threshold=threshold,
        hold=hold,
        own_code=own_code,
        console=Console(),
    )
