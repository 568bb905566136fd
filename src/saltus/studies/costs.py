"""What studies cost at full size: arithmetic from their descriptions, and the speed of the runs at hand."""

from collections.abc import Sequence
from math import log

from saltus.specs import RunSpec
from saltus.studies.flops import count_flops
from saltus.studies.results import Results
from saltus.studies.status import find_speed, list_speeds, stand_finished
from saltus.studies.study import Study
from saltus.studies.tables import escape

DEVICE_FLOPS = 30e12
"""Sustained operations a second that are assumed of an H100-class device: a thirtieth of its dense bfloat16 peak."""


def write_costs(studies: Sequence[tuple[Study, Results]]) -> str:
    """A table with a row for each study, and one for all; a run that several studies share is counted once in it."""
    made = [stand_finished(each.cell.run, each.records.summary or {}) for _, results in studies for each in results]
    speeds = list_speeds(made, "cpu")
    lines = [
        "## What a full study costs\n",
        "Operations are counted from the description: products alone, forward and twice that backward, up to each",
        "run's budget of steps although many runs end before it. CPU hours are at the speed of those runs above whose",
        "steps are nearest in size, since a step of many operations spends less time on other things; device",
        f"minutes on an H100-class device assume {DEVICE_FLOPS / 1e12:.0f} TFLOP/s sustained, which was not measured.",
        "A run that several studies have is trained once, and counted once in the sums. What follows from results is",
        "counted once these are there. Not run are the cells without a result at full size; their share is of the",
        "operations.\n",
        "| study | cells | seeds | 10^15 operations | hours on this CPU | device minutes | largest run | not run "
        "| hours of these |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    listed = [(study, list_specs(study, found), found) for study, found in studies]
    runs = [(study, specs, _list_missing(specs, found)) for study, specs, found in listed]
    lines += [_write_row(study.name, specs, missing, speeds) for study, specs, missing in runs]
    beside = [each for each in runs if each[0].compare]
    for title, chosen in (("those with the authors' numbers", beside), ("all of these", runs)):
        if len(chosen) > 1:
            once = {spec.content_hash: spec for _, specs, _ in chosen for spec in specs}
            done = {spec.content_hash for _, specs, missing in chosen for spec in specs if spec not in missing}
            missing = [spec for name, spec in once.items() if name not in done]
            lines.append(_write_row(f"**{title}**", list(once.values()), missing, speeds))
    return "\n".join(lines) + "\n"


def list_specs(study: Study, results: Results) -> list[RunSpec]:
    """The runs of a study at full size: those known before anything is trained, and those that follow from results."""
    first = {cell.name: cell.run for cell in study.at()}
    small = {result.name for result in results if result.scale == "laptop"}
    following = [cell.run for cell in results.planned if cell.name not in {*first, *small}]
    return [*first.values(), *following]


def _list_missing(specs: Sequence[RunSpec], results: Results) -> list[RunSpec]:
    """Those that have no result at full size."""
    there = {result.name for result in results if result.scale != "laptop"}
    return [spec for spec in specs if spec.name not in there]


def _say_hours(specs: Sequence[RunSpec], speeds: Sequence[tuple[float, float]]) -> str:
    if not (specs and speeds):
        return ""
    hours = sum(_count_work(spec) / find_speed(speeds, log(count_flops(spec))) for spec in specs) / 3600
    return f"{hours:,.1f}"


def _count_work(spec: RunSpec) -> float:
    return count_flops(spec) * spec.seeds * spec.training.steps


def _write_row(
    title: str, specs: Sequence[RunSpec], missing: Sequence[RunSpec], speeds: Sequence[tuple[float, float]]
) -> str:
    work, largest = sum(_count_work(spec) for spec in specs), max(specs, key=_count_work)
    left = sum(_count_work(spec) for spec in missing)
    return (
        f"| {title} | {len(specs)} | {sum(spec.seeds for spec in specs):,} | {work / 1e15:,.2f} "
        f"| {_say_hours(specs, speeds)} | {work / DEVICE_FLOPS / 60:,.1f} "
        f"| {escape(largest.name)}: {_count_work(largest) / work:.0%} "
        f"| {f'{len(missing)}: {left / work:.0%}' if missing else ''} | {_say_hours(missing, speeds)} |"
    )
