"""Questions asked of curves, whoever made them: compare arms, fit steps against size, plan seeds and budgets."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import get_args

import numpy as np
from rich.console import Console

from saltus.api.folders import Folder, FolderWithoutCurves, refuse_other, require_once
from saltus.arguments import AnyPath, Arms
from saltus.curves import Curves, Emergences
from saltus.errors import SaltusError
from saltus.ingest.folder import CurvesFolder
from saltus.lm.scanning.folder import ScanFolder
from saltus.measure.comparison import ArmComparison, compare_emergences
from saltus.measure.outlook import fit_outlook, guess_outlook
from saltus.measure.planning import Plan, check_question, plan_comparison, plan_median, plan_share, plan_sighting
from saltus.measure.sizes import SizeFit, fit_sizes
from saltus.monitor.folder import MonitorFolder
from saltus.report.html.page import write_report
from saltus.report.plan.section import describe_planning
from saltus.report.terminal.plans import describe_plan, tabulate_plan
from saltus.report.terminal.tables import tabulate_comparison
from saltus.seeding import Streams
from saltus.train.folder import RunFolder

Source = Folder | Curves | Emergences
"""What has emergences, or gives them by a rule."""

_SHOWN = 8


def compare(
    *sources: Source,
    by: Arms | None = None,
    unit: str | None = None,
    paired: bool = False,
    threshold: float | None = None,
    hold: int | None = None,
    master_seed: int = 0,
    console: Console | None = None,
) -> ArmComparison:
    """Compare when a unit emerged: each source is an arm, or of a single source each group.

    `by` says which of the two, whatever the number of sources; a group that several of them have is then one arm. A
    monitored training is one seed of its group, and the seeds of a group are one arm unless `by` is folder.

    `unit` is the whole task if it is not given; a source without one needs it named. `paired` says that seeds of the
    same name are the same seed. `threshold` and `hold` stand in for those of the sources' rules, which have to be one
    rule of one measure then. Where a `console` is given the tables are printed.

    Raises:
        SaltusError: if there are not two arms with the unit, `by` is neither, or sources are read by different rules.

    """
    if by not in (None, *get_args(Arms)):
        raise SaltusError(f"by: {by!r} was given; allowed are {' and '.join(get_args(Arms))}")
    arms: dict[str, Emergences] = {}
    grouped = by == "group" or (by is None and len(sources) == 1)
    for source, found in zip(sources, _find_alike("compare", sources, unit, threshold, hold), strict=True):
        one_by_one = by == "folder" or not (grouped or isinstance(source, MonitorFolder))
        for name in [_name(source, found)] if one_by_one else found.groups:
            if one_by_one:
                arms[name if name not in arms else f"{name} ({len(arms) + 1})"] = found
            elif name in arms:
                arms[name] = _join_seeds(arms[name], found.group(name))
            else:
                arms[name] = found.group(name)
    require_once("compare", sources)
    compared = compare_emergences(arms, Streams(master_seed).generator("bootstrap"), paired=paired)
    if console is not None:
        for table in tabulate_comparison(compared):
            console.print(table)
        for pair in compared.pairs:
            console.print(f"{pair.sentence}.", markup=False, highlight=False)
        if compared.unwatched:
            console.print(_tell_unwatched(compared.unwatched), markup=False, highlight=False)
    return compared


def fit(
    *sources: Source,
    unit: str | None = None,
    threshold: float | None = None,
    hold: int | None = None,
    console: Console | None = None,
) -> SizeFit:
    """Fit the step of emergence against the size that the name of each group says, such as 160m in pythia-160m.

    `unit`, `threshold` and `hold` are those of `compare`. Where a `console` is given the sentence is printed.

    Raises:
        SaltusError: if a name says no size, there is one size alone, the steps set no slope, or the sources are read by
            different rules.

    """
    found = [e for each in _find_alike("fit", sources, unit, threshold, hold) for e in each]
    fitted = fit_sizes(found)
    if console is not None:
        console.print(f"{fitted.sentence}.", markup=False, highlight=False)
        if fitted.unwatched:
            console.print(_tell_unwatched(fitted.unwatched), markup=False, highlight=False)
    return fitted


def plan(
    pilot: Source | None = None,
    *,
    ratio: float | None = None,
    width: float | None = None,
    factor: float | None = None,
    see: bool = False,
    guess: tuple[float, float, float] | None = None,
    every: float | None = None,
    power: float | None = None,
    budgets: Sequence[float] = (),
    unit: str | None = None,
    group: str | None = None,
    master_seed: int = 0,
    to: AnyPath | None = None,
    console: Console | None = None,
) -> Plan:
    """How many seeds and how long a budget the next study needs, from a pilot or a guess, for one question.

    Args:
        pilot: emergences of a pilot, or what gives them.
        ratio: tell two arms apart whose median steps have this ratio.
        width: bound the share of seeds that solve by an interval at most so wide.
        factor: place the median step within this factor.
        see: see the capability at least once.
        guess: median step, standard deviation of natural log steps, share of seeds that ever solve; instead of a pilot.
        every: steps between evaluations; those of the pilot if not given, or a twentieth of the guessed median.
        power: wanted probability of success; .8, or .95 to see it once.
        budgets: in steps, to be tried; looked for if there are none.
        unit: of the pilot, as in `compare`.
        group: of the pilot, whose seeds alone are alike; it may be left out where there is one.
        master_seed: of the simulation.
        to: an HTML file for the sentence, a figure of success against seeds, and the table.
        console: where the sentence and the table are printed, if anywhere.

    Raises:
        SaltusError: if there is not exactly one question, neither a pilot nor a guess, or a pilot of several groups.

    """
    asked = [name for name, value in (("ratio", ratio), ("width", width), ("factor", factor)) if value is not None]
    asked += ["see"] if see else []
    if len(asked) != 1:
        raise SaltusError(f"plan: {', '.join(asked) or 'no question'} was given; ask one of ratio, width, factor, see")
    if (pilot is None) == (guess is None):
        raise SaltusError("plan: give a pilot or a guess (median step, spread of log steps, share), one of the two")
    if pilot is None and (chosen := [name for name, value in (("unit", unit), ("group", group)) if value is not None]):
        raise SaltusError(f"plan: {chosen[0]} was given with a guess; it chooses in a pilot, so leave it out")
    generator = Streams(master_seed).generator("bootstrap")
    wanted = (0.95 if see else 0.8) if power is None else power
    try:
        # before the pilot is fitted, which takes a while
        share = {} if width is None else {"width": width}
        check_question(ratio=ratio, factor=factor, every=every, budgets=budgets, power=wanted, **share)
        seeds, unwatched = (None, 0) if pilot is None else _read_pilot(pilot, unit, group)
        outlook = guess_outlook(*(guess or ())) if seeds is None else fit_outlook(*seeds.intervals(), generator)
        grid = None if seeds is None else _find_grid(seeds)
        step = float(outlook.estimate.median[0] / 20 if grid is None else grid) if every is None else every
        if ratio is not None:
            found = plan_comparison(outlook, ratio, step, generator, power=wanted, budgets=budgets)
        elif width is not None:
            found = plan_share(outlook, width, step, certainty=wanted, budgets=budgets)
        elif factor is not None:
            found = plan_median(outlook, factor, step, generator, certainty=wanted, budgets=budgets)
        else:
            found = plan_sighting(outlook, step, certainty=wanted, budgets=budgets)
    except ValueError as error:
        raise SaltusError(f"plan: {error}") from None
    question = {
        "ratio": f"tell a factor of {ratio} apart",
        "width": f"bound the share of seeds that solve within {width}",
        "factor": f"place the median step within a factor of {factor}",
        "see": "see it at least once",
    }[asked[0]]
    if to is not None:
        write_report([describe_planning(found, question)], Path(to))
    if console is not None:
        console.print(describe_plan(found, question), markup=False, highlight=False)
        console.print(tabulate_plan(found))
        if unwatched:
            console.print(_tell_unwatched(unwatched), markup=False, highlight=False)
    return found


def find_emergences(
    source: Source, *, unit: str | None = None, threshold: float | None = None, hold: int | None = None
) -> Emergences:
    """When one unit emerged in a source: the whole if `unit` is not given.

    Raises:
        SaltusError: if the source has no curves, or several units and none of them is the whole.

    """
    found, whole = read_emergences(source, unit=unit, threshold=threshold, hold=hold)
    unit = unit or whole or None
    if unit is not None:
        return found.unit(unit)
    if len(found.units) > 1:
        raise SaltusError(f"unit: none was given, and there are {_list_some(found.units)}; name one")
    return found


def read_emergences(
    source: Source, *, unit: str | None = None, threshold: float | None = None, hold: int | None = None
) -> tuple[Emergences, str]:
    """When every unit emerged in a source, or those among which `unit` is; and the whole, empty where there is none.

    Raises:
        SaltusError: if the source has no curves, or is no longer curves and another rule is asked for.

    """
    if isinstance(source, FolderWithoutCurves):
        raise SaltusError(f"{source.path} is a {source.kind}, which has no curves; give runs, scans or curves")
    match source:
        case Emergences():
            if asked := [name for name, value in (("threshold", threshold), ("hold", hold)) if value is not None]:
                raise SaltusError(
                    f"{' and '.join(asked)} was given with emergences, which are read already; give their curves"
                )
            return source, ""
        case Curves():
            curves = source
        case ScanFolder():
            records = source.records().select_unit(unit)
            read = records.reread(records.rule.change(threshold=threshold, hold=hold))
            return read.find_emergences(), read.curves.whole
        case MonitorFolder():
            curves = source.records().find_curves(unit)
        case RunFolder() | CurvesFolder():
            curves = source.records().curves
        case _:
            raise refuse_other(source)
    return curves.emergences(curves.rule.change(threshold=threshold, hold=hold)), curves.whole


def _find_alike(
    command: str, sources: Sequence[Source], unit: str | None, threshold: float | None, hold: int | None
) -> list[Emergences]:
    """When one unit emerged in each source, by one rule of one measure.

    Raises:
        SaltusError: if measures or rules differ: then so do the steps, whatever the trainings were.

    """
    every = [find_emergences(source, unit=unit, threshold=threshold, hold=hold) for source in sources]
    check_alike(command, sources, every)
    return every


def check_alike(command: str, sources: Sequence[Source], every: Sequence[Emergences]) -> None:
    """Refuse emergences of several measures, or by several rules, in which steps mean different things.

    Raises:
        SaltusError: if they are.

    """
    named = [(_name(source, found), found) for source, found in zip(sources, every, strict=True)]
    for (a, one), (b, other) in combinations(named, 2):
        if one.measure and other.measure and one.measure != other.measure:
            raise SaltusError(
                f"{command}: {a} has {one.measure} and {b} has {other.measure}, whose steps mean different things; "
                "give sources of one measure"
            )
        if one.rule != other.rule:
            rules = [each.rule.describe(each.measure or "a value") for each in (one, other)]
            raise SaltusError(
                f"{command}: {a} is read by {rules[0]}, and {b} by {rules[1]}; give one threshold and one hold for "
                "all, or curves that are read by one rule"
            )


def list_rows(source: Source, found: Emergences, whole: str) -> Emergences:
    """Those of the smallest units: not of a whole, nor of a set of prompts."""
    if isinstance(source, ScanFolder):
        rows = {question.unit for question in source.records().questions if question.prompt is not None}
    else:
        rows = {unit for unit in found.units if unit != whole}
    return replace(found, found=tuple(emergence for emergence in found if emergence.key.unit in rows))


def _read_pilot(source: Source, unit: str | None, group: str | None) -> tuple[Emergences, int]:
    """The seeds of a pilot of which something is known, and how many others there are.

    Raises:
        SaltusError: if there are several groups and none is named, or no seed has emerged.

    """
    found = find_emergences(source, unit=unit)
    if group is not None:
        found = found.group(group)
    elif len(found.groups) > 1:
        raise SaltusError(
            f"group: none was given, and the pilot has {_list_some(found.groups)}; name one, since only its seeds are "
            "alike"
        )
    watched = replace(found, found=tuple(e for e in found if not e.unwatched))
    if not any(not e.censored for e in watched):
        raise SaltusError(
            f"plan: none of the pilot's {len(found)} seeds emerged, so it says nothing of how long; guess"
        )
    return watched, len(found) - len(watched)


def _find_grid(seeds: Emergences) -> float | None:
    """The usual distance between evaluations where seeds emerged, in steps; None where all were there at step 0."""
    left, right = seeds.intervals()
    known = np.isfinite(right)
    return float(np.median((right - np.maximum(left, 0.0))[known])) or None


def _tell_unwatched(units: int) -> str:
    one = units == 1
    return (
        f"{units:,} {'unit was' if one else 'units were'} not watched for long enough to say anything, and "
        f"{'takes' if one else 'take'} no part."
    )


def _list_some(names: Sequence[str]) -> str:
    return f"{len(names)}: {', '.join(names[:_SHOWN])}" + (", ..." if len(names) > _SHOWN else "")


def _name(source: Source, found: Emergences) -> str:
    return source.path.name if not isinstance(source, Curves | Emergences) else ", ".join(found.groups)


def _join_seeds(some: Emergences, more: Emergences) -> Emergences:
    """The seeds of a group that are in two sources.

    Raises:
        SaltusError: if one seed is in both.

    """
    if twice := sorted({e.key for e in some} & {e.key for e in more}):
        raise SaltusError(
            f"group {twice[0].group} has the seed {twice[0].seed} in two of the folders; give each seed once, or "
            "compare by folder"
        )
    return replace(some, found=(*some, *more))
