"""What studies cost at full size: arithmetic from their descriptions, and the speed of the runs at hand."""

from collections.abc import Sequence
from statistics import median

from saltus.specs import RunSpec
from saltus.studies.flops import count_flops
from saltus.studies.results import Results
from saltus.studies.status import stand_finished
from saltus.studies.study import Study
from saltus.studies.tables import escape

DEVICE_FLOPS = 30e12
"""Sustained operations a second that are assumed of an H100-class device: a thirtieth of its dense bfloat16 peak."""


def write_costs(studies: Sequence[tuple[Study, Results]]) -> str:
    """A table with a row for each study, and one for all; a run that several studies share is counted once in it."""
    speed = _find_speed([results for _, results in studies])
    lines = [
        "## What a full study costs\n",
        "Operations are counted from the description: products alone, forward and twice that backward, up to each",
        "run's budget of steps although many runs end before it. CPU hours are at the median speed of the runs above;",
        f"minutes on an H100-class device assume {DEVICE_FLOPS / 1e12:.0f} TFLOP/s sustained, which was not measured.",
        "A run that several studies have is trained once, and counted once in the sums. Not run are the cells without",
        "a result at full size; their share is of the operations, and so of the hours.\n",
        "| study | cells | seeds | 10^15 operations | hours on this CPU | device minutes | largest run | not run |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    runs = [(study, list_specs(study), _list_missing(study, found)) for study, found in studies]
    lines += [_write_row(study.name, specs, missing, speed) for study, specs, missing in runs]
    beside = [each for each in runs if each[0].compare]
    for title, chosen in (("those with the authors' numbers", beside), ("all of these", runs)):
        if len(chosen) > 1:
            once = {spec.content_hash: spec for _, specs, _ in chosen for spec in specs}
            done = {spec.content_hash for _, specs, missing in chosen for spec in specs if spec not in missing}
            missing = [spec for name, spec in once.items() if name not in done]
            lines.append(_write_row(f"**{title}**", list(once.values()), missing, speed))
    return "\n".join(lines) + "\n"


def list_specs(study: Study) -> list[RunSpec]:
    """The runs of a study at full size that are known before anything is trained."""
    return [cell.run for cell in study.at()]


def _list_missing(study: Study, results: Results) -> list[RunSpec]:
    """Those of `list_specs` that have no result at full size."""
    there = {result.name for result in results if result.scale != "laptop"}
    return [spec for spec in list_specs(study) if spec.name not in there]


def _find_speed(made: Sequence[Results]) -> float | None:
    """Operations a second, the median over the runs that were made on a CPU."""
    speeds: list[float] = []
    for result in (result for results in made for result in results):
        spent = stand_finished(result.cell.run, result.records.summary or {})
        if spent.speed and spent.device == "cpu":
            speeds.append(spent.speed)
    return median(speeds) if speeds else None


def _count_work(spec: RunSpec) -> float:
    return count_flops(spec) * spec.seeds * spec.training.steps


def _write_row(title: str, specs: Sequence[RunSpec], missing: Sequence[RunSpec], speed: float | None) -> str:
    work, largest = sum(_count_work(spec) for spec in specs), max(specs, key=_count_work)
    hours = "" if speed is None else f"{work / speed / 3600:,.1f}"
    left = sum(_count_work(spec) for spec in missing)
    return (
        f"| {title} | {len(specs)} | {sum(spec.seeds for spec in specs):,} | {work / 1e15:,.2f} | {hours} "
        f"| {work / DEVICE_FLOPS / 60:,.1f} | {escape(largest.name)}: {_count_work(largest) / work:.0%} "
        f"| {f'{len(missing)}: {left / work:.0%}' if missing else ''} |"
    )
